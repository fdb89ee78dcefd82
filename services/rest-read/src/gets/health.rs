//! What gets and readers know of each other, and what follows from it: is the service ready, and why is a get refused?

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::backlog::Backlog;
use crate::error::LookupError;

/// What a lookup and its readers know of each other. Outlives neither.
#[derive(Debug)]
pub(crate) struct State {
    /// Keys in the queue.
    waiting: AtomicUsize,
    /// Readers that have a connection.
    connected: AtomicUsize,
    /// SELECTs that succeeded, those of lists included.
    selects: AtomicU64,
    /// Found values not written yet.
    pub(crate) backlog: Arc<Backlog>,
    /// Why a reader last had no connection.
    trouble: Mutex<String>,
}

impl State {
    pub(crate) fn new(backlog_bytes_max: usize) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            connected: AtomicUsize::new(0),
            selects: AtomicU64::new(0),
            backlog: Backlog::new(backlog_bytes_max),
            trouble: Mutex::new("not tried yet".into()),
        }
    }

    /// Keys in the queue.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Counts `keys` that enter the queue, if no more than `keys_max` are in it then. Whether they fit.
    pub(crate) fn enqueue(&self, keys: usize, keys_max: usize) -> bool {
        let fits = self.waiting.fetch_add(keys, Ordering::Relaxed) + keys <= keys_max;
        if !fits {
            self.dequeue(keys);
        }
        fits
    }

    /// Counts `keys` that leave the queue.
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

    /// Whether gets can be answered; if not, why.
    pub(crate) fn ready(&self) -> Result<(), String> {
        if self.is_connected() {
            return Ok(());
        }
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        Err(format!("no connection to the database: {trouble}"))
    }

    /// SELECTs that succeeded so far.
    pub(crate) fn selects(&self) -> u64 {
        self.selects.load(Ordering::Relaxed)
    }

    /// Why there is no room in a queue.
    pub(crate) fn full(&self) -> LookupError {
        if self.is_connected() { LookupError::Overloaded } else { LookupError::Unavailable }
    }

    /// Why what was asked was not answered by its deadline; `selects` is the count when it was asked, `backlog` what it
    /// waited for.
    pub(crate) fn late(&self, selects: u64, backlog: &Backlog) -> LookupError {
        let works = self.selects() != selects || backlog.is_full();
        if self.is_connected() && works { LookupError::Overloaded } else { LookupError::Unavailable }
    }

    pub(crate) fn selected(&self) {
        self.selects.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn troubled(&self, why: String) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Counts a connection for as long as the guard lives.
    pub(crate) fn connection(self: &Arc<Self>) -> impl Drop + use<> {
        struct Connected(Arc<State>);
        impl Drop for Connected {
            fn drop(&mut self) {
                self.0.connected.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.connected.fetch_add(1, Ordering::Relaxed);
        Connected(Arc::clone(self))
    }
}
