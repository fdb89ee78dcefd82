//! Permits of streams and long polls: they bound how many there are, and tell whether there is any.

use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The permits of a process: one for each stream and each long poll.
#[derive(Debug)]
pub(crate) struct Permits {
    free: Arc<Semaphore>,
    max: usize,
    /// Notified when a permit is taken.
    taken: Notify,
}

/// The permit of one stream or long poll. Dropping it gives the permit back.
#[derive(Debug)]
pub(crate) struct Permit(
    #[expect(dead_code, reason = "dropping it gives the permit back")] OwnedSemaphorePermit,
);

impl Permits {
    pub(crate) fn new(max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(max)), max, taken: Notify::new() }
    }

    /// Takes a permit. `None`: all are in use.
    pub(crate) fn take(&self) -> Option<Permit> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        self.taken.notify_one();
        Some(Permit(permit))
    }

    /// The number of permits, free or in use.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// The number of permits in use.
    pub(crate) fn used(&self) -> usize {
        self.max - self.free.available_permits()
    }

    /// Waits until at least one permit is in use. Cancel-safe.
    pub(crate) async fn in_use(&self) {
        while self.used() == 0 {
            self.taken.notified().await;
        }
    }
}
