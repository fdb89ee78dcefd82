//! The health of the read side. Readiness, the reason of a refusal and the gauges are derived from it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use db::Error;
use tokio::time::sleep;

use crate::backlog::Backlog;
use crate::error::ReadError;

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Counters that gets, lists and their readers share.
#[derive(Debug)]
pub(crate) struct Health {
    /// Keys in the queue of gets.
    waiting: AtomicUsize,
    /// Readers that have a connection.
    connected: AtomicUsize,
    /// SELECTs that succeeded, those of lists included.
    selects: AtomicU64,
    /// Replies to gets that are not written to their clients yet.
    pub(crate) backlog: Arc<Backlog>,
    /// The last error of a reader.
    last_error: Mutex<String>,
}

/// Failures in a row on one connection.
#[derive(Debug, Default)]
pub(crate) struct Failures(u32);

impl Health {
    pub(crate) fn new(backlog_bytes_max: usize) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            connected: AtomicUsize::new(0),
            selects: AtomicU64::new(0),
            backlog: Backlog::new(backlog_bytes_max),
            last_error: Mutex::new("not tried yet".into()),
        }
    }

    /// Keys in the queue of gets.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Counts `keys` that enter the queue of gets. An error if more than `keys_max` would be in it.
    pub(crate) fn enqueue(&self, keys: usize, keys_max: usize) -> Result<(), ReadError> {
        let waiting = self.waiting.fetch_add(keys, Ordering::Relaxed);
        if waiting + keys > keys_max {
            self.dequeue(keys);
            return Err(self.full(ReadError::TooManyGets));
        }
        Ok(())
    }

    /// Counts `keys` that leave the queue of gets.
    pub(crate) fn dequeue(&self, keys: usize) {
        self.waiting.fetch_sub(keys, Ordering::Relaxed);
    }

    /// Readers that have a connection.
    pub(crate) fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }

    fn is_connected(&self) -> bool {
        self.connected() > 0
    }

    /// Whether gets can be answered; the error says why not.
    pub(crate) fn ready(&self) -> Result<(), String> {
        if self.is_connected() {
            return Ok(());
        }
        let last_error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        Err(format!("no connection to the database: {last_error}"))
    }

    /// SELECTs that succeeded so far.
    pub(crate) fn selects(&self) -> u64 {
        self.selects.load(Ordering::Relaxed)
    }

    /// Why a queue is full: `overloaded`, or the database is unreachable.
    pub(crate) fn full(&self, overloaded: ReadError) -> ReadError {
        if self.is_connected() { overloaded } else { ReadError::Unavailable }
    }

    /// Why a request missed its deadline: `overloaded`, or the database is unreachable. `selects` is the count of SELECTs when
    /// the request arrived, `backlog` the one that the request waited for.
    pub(crate) fn late(&self, selects: u64, backlog: &Backlog, overloaded: ReadError) -> ReadError {
        let works = self.selects() != selects || backlog.is_full();
        if works { self.full(overloaded) } else { ReadError::Unavailable }
    }

    /// Counts a SELECT that succeeded.
    pub(crate) fn selected(&self) {
        self.selects.fetch_add(1, Ordering::Relaxed);
    }

    /// Remembers the error of a reader.
    pub(crate) fn record_error(&self, why: String) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Counts a connection for as long as the guard lives.
    pub(crate) fn connection(self: &Arc<Self>) -> impl Drop + use<> {
        struct Connected(Arc<Health>);
        impl Drop for Connected {
            fn drop(&mut self) {
                self.0.connected.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.connected.fetch_add(1, Ordering::Relaxed);
        Connected(Arc::clone(self))
    }
}

impl Failures {
    /// Waits before the next attempt. A lost connection is opened again at once; after that the pause doubles.
    pub(crate) async fn pause(&self) {
        sleep(backoff(self.0)).await;
    }

    /// Counts and logs a failure to `act` ("read", "list"). Only the first failure in a row is a warning.
    pub(crate) fn add(&mut self, act: &str, error: &Error) {
        self.0 = self.0.saturating_add(1);
        match error {
            Error::Internal(_) => tracing::error!(%error, "cannot {act}"),
            Error::Unavailable(_) | Error::Refused(_) | Error::NotReady(_) | Error::Conflict(_) => {
                match self.0 {
                    1 => tracing::warn!(%error, "cannot {act}, trying again"),
                    failures => tracing::debug!(%error, failures, "still cannot {act}"),
                }
            }
        }
    }

    /// An attempt succeeded.
    pub(crate) fn clear(&mut self) {
        self.0 = 0;
    }
}

fn backoff(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => BACKOFF_MIN.saturating_mul(1 << (more - 2).min(10)).min(BACKOFF_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_a_second() {
        let millis = [0, 1, 2, 3, 4, 7, 40, u32::MAX].map(|failures| backoff(failures).as_millis());
        assert_eq!(millis, [0, 0, 50, 100, 200, 1000, 1000, 1000]);
    }
}
