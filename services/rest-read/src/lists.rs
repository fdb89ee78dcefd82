//! Lists: pages are read on a few connections of their own, so that gets never wait for them.

mod lister;
mod page;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chassis::peer::Peer;
use db::{Range, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::backlog::Backlog;
use crate::config::ReadLimits;
use crate::damage::DamageLog;
use crate::error::ReadError;
use crate::health::Health;
use crate::lists::lister::{ListerTask, PageQueue, PageRequest};
use crate::metrics::Metrics;

/// Accepts lists. The listers end when the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Lists {
    queue: mpsc::Sender<PageRequest>,
    health: Arc<Health>,
    /// Pages that are not written to their clients yet. In the backlog of the gets they would keep gets waiting.
    backlog: Arc<Backlog>,
    op_timeout: Duration,
}

impl Lists {
    /// Lists without listers, and the receiving end of their queue. `health` is that of the database which they read.
    pub(crate) fn new(limits: &ReadLimits, health: &Arc<Health>) -> (Self, PageQueue) {
        let (queue, received) = mpsc::channel(limits.list_queue_max.max(1));
        let backlog = Backlog::new(limits.backlog_bytes_max);
        let lists = Self { queue, health: Arc::clone(health), backlog, op_timeout: limits.op_timeout };
        (lists, Arc::new(tokio::sync::Mutex::new(received)))
    }

    /// Lists whose listers run on `tasks`. A lister connects when there is a page to read.
    pub(crate) fn start(
        store: &Store,
        limits: &ReadLimits,
        health: &Arc<Health>,
        tasks: &TaskTracker,
        metrics: &Metrics,
    ) -> Self {
        let (lists, queue) = Self::new(limits, health);
        let damage = Arc::new(DamageLog::new("list"));
        for _ in 0..limits.listers {
            let (store, health, metrics) = (store.clone(), Arc::clone(health), metrics.clone());
            let (queue, damage) = (Arc::clone(&queue), Arc::clone(&damage));
            tasks.spawn(ListerTask::new(store, queue, health, metrics, damage).run());
        }
        lists
    }

    /// A function that tells the bytes of pages that are not written yet.
    pub(crate) fn unread(&self) -> impl Fn() -> usize + Send + Sync + use<> {
        let backlog = Arc::clone(&self.backlog);
        move || backlog.bytes()
    }

    /// The body of the first page of `range` for the client `peer`, read from one snapshot that is taken after this call.
    ///
    /// Ends within the timeout of an operation. Dropping the future withdraws the request.
    pub(crate) async fn page(
        &self,
        range: Range,
        items_max: usize,
        peer: Option<&Arc<Peer>>,
    ) -> Result<Bytes, ReadError> {
        let deadline = Instant::now() + self.op_timeout;
        let overloaded = |_| ReadError::TooManyLists;
        let mut charge = self.backlog.charge();
        loop {
            let body = self.read(range.clone(), items_max, deadline).await?;
            if charge.grow(body.len()) {
                return Ok(charge.attach(body, peer));
            }
            // The page is dropped before the wait for room, because it takes the memory that it would wait for. It is read again
            // when there is room.
            let bytes = body.len();
            drop((body, charge));
            charge = timeout_at(deadline, self.backlog.reserve(bytes)).await.map_err(overloaded)?;
        }
    }

    async fn read(&self, range: Range, items_max: usize, deadline: Instant) -> Result<Vec<u8>, ReadError> {
        let selects = self.health.lists.selects();
        let (reply, body) = oneshot::channel();
        match self.queue.try_send(PageRequest { range, items_max, deadline, reply }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(self.health.full_of_lists()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(ReadError::Internal),
        }
        match timeout_at(deadline, body).await {
            Ok(Ok(body)) => body,
            // A lister that reaches the deadline first drops the request.
            Ok(Err(_)) | Err(_) => Err(self.health.late_list(selects)),
        }
    }
}

#[cfg(test)]
mod tests;
