//! What an import finds, by kind: the first ones are named, and all are counted.

use std::fmt::Write as _;

use chassis::process::terminal::say;
use indicatif::HumanCount;

use crate::cli::client::{Failure, one_line};
use crate::cli::progress::Progress;

/// How many of a kind are named.
const NAMED_MAX: u64 = 20;

/// Findings of one kind.
#[derive(Debug)]
pub(super) struct Reports {
    kind: &'static str,
    count: u64,
}

impl Reports {
    pub(super) fn new(kind: &'static str) -> Self {
        Self { kind, count: 0 }
    }

    /// Counts one. The first ones are printed.
    pub(super) fn add(&mut self, what: &str, progress: &Progress) {
        self.count += 1;
        match self.count {
            ..=NAMED_MAX => progress.say(&format!("keywire: {}: {}", self.kind, one_line(what))),
            count if count == NAMED_MAX + 1 => {
                progress.say(&format!("keywire: {}: more, which are only counted", self.kind));
            }
            _ => {}
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Adds the number to the last line, if there is one.
    pub(super) fn append_to(&self, summary: &mut String) {
        if self.count > 0 {
            write!(summary, ", {} {}", HumanCount(self.count), self.kind).expect("a text has room");
        }
    }
}

/// Prints the last line. An error if anything was found.
pub(super) fn finish(summary: &str, all: &[&Reports], progress: &Progress) -> Result<(), Failure> {
    let summary = format!("{summary} in {:.1} s", progress.elapsed().as_secs_f64());
    progress.clear();
    if all.iter().any(|reports| reports.count > 0) {
        return Err(Failure::Refused(summary));
    }
    say(format_args!("keywire: {summary}"));
    Ok(())
}
