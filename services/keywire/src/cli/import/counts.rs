//! How many lines, or rows, an import has written, refused and skipped.

use indicatif::HumanCount;

use crate::cli::progress::counted;

/// What an import processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// A line of a file: a write message.
    Line,
    /// A row of a table, as a write message.
    Row,
}

/// How many lines were settled.
#[derive(Debug, Default)]
pub(super) struct LineCounts {
    pub(super) written: u64,
    pub(super) refused: u64,
    /// Lines whose entry had expired before they were written.
    pub(super) expired: u64,
    /// Rows whose key was there already, and was not to be overwritten.
    pub(super) existing: u64,
}

impl Unit {
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Row => "row",
        }
    }
}

impl LineCounts {
    /// How many lines have a final outcome.
    pub(super) fn settled(&self) -> u64 {
        self.written + self.refused + self.expired + self.existing
    }

    /// The counts and the duration in words.
    pub(super) fn summary(&self, unit: Unit, seconds: f64) -> String {
        let mut parts = vec![format!("{} written", counted(self.written, unit.noun()))];
        let others = [(self.refused, "refused"), (self.expired, "expired"), (self.existing, "there already")];
        for (count, what) in others {
            if count > 0 {
                parts.push(format!("{} {what}", HumanCount(count)));
            }
        }
        format!("{} in {seconds:.1} s", parts.join(", "))
    }
}
