//! Lists: pages are read on a few connections of their own, so that gets never wait for them.

mod lister;
mod page;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chassis::peer::Peer;
use db::{Range, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::backlog::{Backlog, Charge};
use crate::config::ReadLimits;
use crate::damage::DamageLog;
use crate::error::ReadError;
use crate::health::Health;
use crate::lists::lister::{ListerTask, PageQueue, PageRequest};
use crate::lists::turns::Turns;
use crate::metrics::Metrics;
use crate::owner::Owner;

/// A request for the first page of a range.
#[derive(Debug, Clone)]
pub(crate) struct PageQuery {
    pub(crate) range: Range,
    pub(crate) items_max: usize,
    /// Whether the items have their values.
    pub(crate) with_values: bool,
}

/// Accepts lists. The listers end when the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Lists {
    queue: mpsc::Sender<PageRequest>,
    /// One turn for each lister.
    turns: Turns,
    /// The turn to wait for room in the backlog. Without it a list would have to wait for all lists of an owner whose clients read
    /// slowly.
    room: Turns,
    health: Arc<Health>,
    /// Pages that are not written to their clients yet. In the backlog of the gets they would keep gets waiting.
    backlog: Arc<Backlog>,
    op_timeout: Duration,
}

impl Lists {
    /// Lists without listers, and the receiving end of their queue. `health` is that of the database which they read.
    pub(crate) fn new(limits: &ReadLimits, health: &Arc<Health>) -> (Self, PageQueue) {
        let (queue, received) = mpsc::channel(limits.listers.max(1));
        let lists = Self {
            queue,
            turns: Turns::new(limits.listers, limits.list_queue_max),
            room: Turns::new(1, limits.list_queue_max),
            health: Arc::clone(health),
            backlog: Backlog::new(limits.backlog_bytes_max),
            op_timeout: limits.op_timeout,
        };
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

    /// Returns the body of the page that `query` requests, for the client `peer`. The page is read from one snapshot that is taken after
    /// this call. While lists wait, owners take turns.
    ///
    /// Ends within the timeout of an operation. Dropping the future withdraws the request.
    pub(crate) async fn page(
        &self,
        query: PageQuery,
        owner: &Owner,
        peer: Option<&Arc<Peer>>,
    ) -> Result<Bytes, ReadError> {
        let deadline = Instant::now() + self.op_timeout;
        let mut charge = self.backlog.charge();
        loop {
            let body = self.read(query.clone(), owner, deadline).await?;
            if charge.grow(body.len()) {
                return Ok(charge.attach(body, peer));
            }
            // The page is dropped before the wait for room, because it takes the memory that it would wait for. It is read again
            // when there is room.
            let bytes = body.len();
            drop((body, charge));
            let reserved = timeout_at(deadline, self.reserve(bytes, owner)).await;
            charge = reserved.ok().flatten().ok_or(ReadError::TooManyLists)?;
        }
    }

    /// Waits until a page of `bytes` has room. `None`: too many lists wait for that.
    async fn reserve(&self, bytes: usize, owner: &Owner) -> Option<Charge> {
        let _turn = self.room.next(owner).await?;
        Some(self.backlog.reserve(bytes).await)
    }

    async fn read(&self, query: PageQuery, owner: &Owner, deadline: Instant) -> Result<Vec<u8>, ReadError> {
        let selects = self.health.lists.selects();
        let late = || self.health.late_list(selects);
        let turn = timeout_at(deadline, self.turns.next(owner)).await.map_err(|_| late())?;
        let turn = turn.ok_or_else(|| self.health.full_of_lists())?;
        let (reply, body) = oneshot::channel();
        // The channel has room: it has a place for each turn.
        let sent = self.queue.send(PageRequest { query, deadline, reply, turn }).await;
        sent.map_err(|_| ReadError::Internal)?;
        match timeout_at(deadline, body).await {
            Ok(Ok(body)) => body,
            // A lister that reaches the deadline first drops the request.
            Ok(Err(_)) | Err(_) => Err(late()),
        }
    }
}

#[cfg(test)]
mod tests;
