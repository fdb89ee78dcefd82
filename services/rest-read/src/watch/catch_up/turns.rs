//! Turns of catch-ups: only a few run at the same time, because each keeps a snapshot of the database open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Catch-ups of one kind take turns, first come, first served.
#[derive(Debug)]
pub(super) struct Turns {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Counts a catch-up that waits.
struct Waiting<'t>(&'t AtomicUsize);

impl Turns {
    pub(super) fn new(running_max: usize) -> Arc<Self> {
        Arc::new(Self { free: Arc::new(Semaphore::new(running_max)), waiting: AtomicUsize::new(0) })
    }

    /// Waits for a turn. Dropping the permit ends the turn.
    pub(super) async fn next(&self) -> OwnedSemaphorePermit {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        Arc::clone(&self.free).acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Whether a catch-up waits for its turn.
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
