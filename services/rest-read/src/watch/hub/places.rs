//! The places of streams and long polls: how many there may be, and whether there is any.

use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Bounds the watches of a process.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    max: usize,
    taken: Notify,
}

/// The place of a watch. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Place(#[expect(dead_code, reason = "it is kept until it is dropped")] OwnedSemaphorePermit);

impl Places {
    pub(crate) fn new(max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(max)), max, taken: Notify::new() }
    }

    /// A place, if one is free.
    pub(crate) fn take(&self) -> Option<Place> {
        let place = Arc::clone(&self.free).try_acquire_owned().ok()?;
        self.taken.notify_one();
        Some(Place(place))
    }

    /// The most watches.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// How many watches there are.
    pub(crate) fn used(&self) -> usize {
        self.max - self.free.available_permits()
    }

    /// Waits until there is a watch. Cancel-safe.
    pub(crate) async fn in_use(&self) {
        while self.used() == 0 {
            self.taken.notified().await;
        }
    }
}
