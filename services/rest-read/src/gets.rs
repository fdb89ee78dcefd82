//! Gets: those that wait at the same time are read by one SELECT.

mod queue;
mod reader;
mod select;

use std::sync::Arc;
use std::time::Duration;

use db::{Key, Store};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::config::ReadLimits;
use crate::error::ReadError;
use crate::gets::queue::{GetQueue, GetSender, queue};
use crate::gets::reader::ReaderTask;
use crate::gets::select::{FoundEntries, Get, GetOutcome};
use crate::health::{GetKind, Health};
use crate::metrics::Metrics;

/// Accepts gets. The readers end when the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Gets {
    queue: GetSender,
    lookup_queue_max: usize,
    op_timeout: Duration,
    health: Arc<Health>,
    _closes: Arc<DropGuard>,
}

impl Gets {
    /// Gets without readers, the receiving end of their queue, and a token that is cancelled when the last clone is dropped.
    pub(crate) fn new(limits: &ReadLimits) -> (Self, GetQueue, CancellationToken) {
        let health = Arc::new(Health::new(limits.backlog_bytes_max));
        let (sender, received) = queue(limits.lookup_keys_max, limits.readers, &health);
        let closed = CancellationToken::new();
        let gets = Self {
            queue: sender,
            lookup_queue_max: limits.lookup_queue_max,
            op_timeout: limits.op_timeout,
            health,
            _closes: Arc::new(closed.clone().drop_guard()),
        };
        (gets, received, closed)
    }

    /// Gets whose readers run on `tasks`. The database may be unreachable: gets wait for it until their deadline.
    pub(crate) fn start(store: &Store, limits: &ReadLimits, tasks: &TaskTracker, metrics: &Metrics) -> Self {
        let (gets, queue, closed) = Self::new(limits);
        let (returner, queue) = (queue.returner(), Arc::new(tokio::sync::Mutex::new(queue)));
        for _ in 0..limits.readers {
            let (store, queue, metrics) = (store.clone(), Arc::clone(&queue), metrics.clone());
            let (returner, health) = (returner.clone(), Arc::clone(&gets.health));
            let closed = closed.clone();
            tasks.spawn(ReaderTask { store, queue, returner, health, metrics, closed }.run());
        }
        gets
    }

    /// Reads `keys`, at least one and all distinct, by one SELECT that is sent after this call.
    ///
    /// Ends within the timeout of an operation. Dropping the future withdraws the get.
    pub(crate) async fn get(&self, mut keys: Vec<Key>) -> Result<FoundEntries, ReadError> {
        let deadline = Instant::now() + self.op_timeout;
        let kind = GetKind::of(keys.len());
        let backlog = &self.health.of(kind).backlog;
        let mut charge = backlog.charge();
        loop {
            let selects = self.health.selects();
            self.health.enqueue(kind, keys.len(), self.lookup_queue_max)?;
            let (reply, outcome) = oneshot::channel();
            if !self.queue.send(Get::new(keys, charge, reply)) {
                return Err(ReadError::Internal);
            }
            let outcome = match timeout_at(deadline, outcome).await {
                Ok(Ok(outcome)) => outcome?,
                Ok(Err(_)) => return Err(ReadError::Internal),
                Err(_) => return Err(self.health.late(selects, ReadError::TooManyGets)),
            };
            let bytes = match outcome {
                GetOutcome::Done(result) => return Ok(result),
                GetOutcome::NoRoom(unread, no_room) => {
                    keys = unread;
                    no_room.bytes
                }
            };
            let reserved = timeout_at(deadline, backlog.reserve(bytes)).await;
            charge = reserved.map_err(|_| ReadError::TooManyGets)?;
        }
    }

    pub(crate) fn health(&self) -> &Arc<Health> {
        &self.health
    }
}

#[cfg(test)]
mod tests;
