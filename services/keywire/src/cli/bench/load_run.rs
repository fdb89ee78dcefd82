//! One run of the load: its options, its keys, its schedule and its results.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cli::progress::Progress;

use super::args::BenchArgs;
use super::keys::Keys;
use super::report;
use super::results::Results;
use super::schedule::Schedule;

/// The state that all clients of a run share. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct LoadRun {
    pub(super) args: Arc<BenchArgs>,
    pub(super) keys: Arc<Keys>,
    pub(super) schedule: Arc<Schedule>,
    results: Arc<Mutex<Results>>,
}

impl LoadRun {
    pub(super) fn new(args: BenchArgs, keys: Keys, schedule: Schedule) -> Self {
        let results = Arc::new(Mutex::new(Results::new()));
        Self { args: Arc::new(args), keys: Arc::new(keys), schedule: Arc::new(schedule), results }
    }

    /// Calls `access` with the results so far.
    pub(super) fn results<T>(&self, access: impl FnOnce(&mut Results) -> T) -> T {
        access(&mut self.results.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The progress line of the run. Its total is a number of operations or of milliseconds.
    pub(super) fn progress(&self) -> Progress {
        if self.args.json {
            return Progress::hidden();
        }
        let millis = Duration::from_secs_f64(self.args.seconds).as_millis();
        let total = self.args.count.map_or(u64::try_from(millis).unwrap_or(u64::MAX), NonZeroU64::get);
        Progress::new(Some(total))
    }

    /// Updates the progress line.
    pub(super) fn show(&self, progress: &Progress, elapsed: Duration) {
        let (done, text) = self.results(|results| (results.replies(), report::so_far(results, elapsed)));
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        progress.at(if self.args.count.is_some() { done } else { millis }, || text);
    }
}
