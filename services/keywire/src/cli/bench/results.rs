//! The results of a run: latencies of finished operations, and counts of refused ones.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// A larger latency counts as this one. Latencies have three significant digits.
const LATENCY_MAX: Duration = Duration::from_mins(10);

/// The result of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OpResult {
    /// The set is committed, or the get found its key.
    Done,
    /// The get found no key.
    Missing,
    /// The server refused the operation, with this code.
    Refused(String),
}

/// An operation whose reply has come.
#[derive(Debug)]
pub(super) struct FinishedOp {
    pub(super) kind: LoadKind,
    /// From the moment it fell due to its reply.
    pub(super) latency: Duration,
    pub(super) result: OpResult,
}

/// The kind of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoadKind {
    Set,
    Get,
}

/// The results so far.
#[derive(Debug)]
pub(super) struct Results {
    /// Latencies in nanoseconds of the operations that succeeded.
    pub(super) writes: Histogram<u64>,
    pub(super) reads: Histogram<u64>,
    /// Reads that found no key. They count as reads too.
    pub(super) missing: u64,
    /// The number of refused operations for each code.
    pub(super) refused: BTreeMap<String, u64>,
}

impl Results {
    pub(super) fn new() -> Self {
        let most = u64::try_from(LATENCY_MAX.as_nanos()).unwrap_or(u64::MAX);
        let empty = || Histogram::new_with_bounds(100, most, 3).expect("bounds in order and three digits");
        Self { writes: empty(), reads: empty(), missing: 0, refused: BTreeMap::new() }
    }

    /// The number of replies.
    pub(super) fn replies(&self) -> u64 {
        self.writes.len() + self.reads.len() + self.refused.values().sum::<u64>()
    }

    /// Adds `finished` and leaves it empty.
    pub(super) fn add(&mut self, finished: &mut Vec<FinishedOp>) {
        for FinishedOp { kind, latency, result } in finished.drain(..) {
            match result {
                OpResult::Done => {}
                OpResult::Missing => self.missing += 1,
                OpResult::Refused(code) => {
                    *self.refused.entry(code).or_default() += 1;
                    continue;
                }
            }
            let histogram = match kind {
                LoadKind::Set => &mut self.writes,
                LoadKind::Get => &mut self.reads,
            };
            histogram.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        }
    }
}
