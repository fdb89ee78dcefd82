//! A process of a run: its lanes and its reads share one store clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::clock::StoreClock;

/// A process of a run.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) clock: StoreClock,
    /// The store clock when a read last looked at the clocks, in microseconds since 1970.
    known: Arc<AtomicU64>,
}

impl Process {
    pub(super) fn new() -> Self {
        Self { clock: StoreClock::new(), known: Arc::default() }
    }

    /// Takes note of the store clock, which a read has just looked at.
    pub(super) fn knows(&self, time: u64) {
        self.known.fetch_max(time, Ordering::Relaxed);
    }

    /// Whether a read that sees the store at the time `now` may find what an earlier read found expired. A clock that is set forward
    /// and back between two looks at it does not count.
    pub(super) fn goes_back_to(&self, now: u64) -> bool {
        now < self.known.load(Ordering::Relaxed)
    }
}
