//! What became of the operations.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies are kept to three digits, up to this.
const LATENCY_MAX: Duration = Duration::from_mins(10);

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The write is committed, or the read found its key.
    Done,
    /// The read found no key.
    Missing,
    /// The service said no, with this code.
    Refused(String),
}

/// One answered operation.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) kind: Kind,
    pub(super) took: Duration,
    pub(super) outcome: Outcome,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Write,
    Read,
}

/// All answers so far.
#[derive(Debug)]
pub(super) struct Tally {
    /// Latencies in nanoseconds of what succeeded.
    pub(super) writes: Histogram<u64>,
    pub(super) reads: Histogram<u64>,
    /// Reads that found no key; they count as reads too.
    pub(super) missing: u64,
    /// Refused operations by code.
    pub(super) refused: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        let most = u64::try_from(LATENCY_MAX.as_nanos()).unwrap_or(u64::MAX);
        let empty = || Histogram::new_with_bounds(100, most, 3).expect("bounds in order and three digits");
        Self { writes: empty(), reads: empty(), missing: 0, refused: BTreeMap::new() }
    }

    /// Operations that have an answer, whatever it is.
    pub(super) fn answered(&self) -> u64 {
        self.writes.len() + self.reads.len() + self.refused.values().sum::<u64>()
    }

    /// Counts `answers` and leaves it empty.
    pub(super) fn add(&mut self, answers: &mut Vec<Answered>) {
        for Answered { kind, took, outcome } in answers.drain(..) {
            match outcome {
                Outcome::Done => {}
                Outcome::Missing => self.missing += 1,
                Outcome::Refused(code) => {
                    *self.refused.entry(code).or_default() += 1;
                    continue;
                }
            }
            let histogram = match kind {
                Kind::Write => &mut self.writes,
                Kind::Read => &mut self.reads,
            };
            histogram.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
    }
}
