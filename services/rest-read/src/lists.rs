//! The queue of lists: pages that wait for one of a few connections of their own, so that gets never wait for them.

mod lister;
pub(crate) mod page;

use std::sync::Arc;

use bytes::Bytes;
use chassis::peer::Peer;
use db::{Range, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::backlog::Backlog;
use crate::config::Limits;
use crate::error::LookupError;
use crate::gets::health::State;
use crate::lists::lister::{Ask, Inlet, Lister};
use crate::metrics::Metrics;

/// Where pages are asked for. When the last clone is dropped, the listers end.
#[derive(Debug, Clone)]
pub(crate) struct Lists {
    queue: mpsc::Sender<Ask>,
    state: Arc<State>,
    /// Pages not written yet. Not that of the gets, which would wait for clients that do not read their pages.
    backlog: Arc<Backlog>,
    limits: Limits,
}

impl Lists {
    /// A queue without listers, and the end its pages come out of. `state` is of the database that they read.
    pub(crate) fn new(limits: &Limits, state: &Arc<State>) -> (Self, Inlet) {
        let (queue, received) = mpsc::channel(limits.queue_lists_max.max(1));
        let backlog = Backlog::new(limits.backlog_bytes_max);
        let lists = Self { queue, state: Arc::clone(state), backlog, limits: *limits };
        (lists, Arc::new(tokio::sync::Mutex::new(received)))
    }

    /// A queue with its listers on `tasks`. They connect when there is something to read.
    pub(crate) fn start(
        store: &Store,
        limits: &Limits,
        state: &Arc<State>,
        tasks: &TaskTracker,
        metrics: &Metrics,
    ) -> Self {
        let (lists, inlet) = Self::new(limits, state);
        for _ in 0..limits.listers {
            let (store, state, metrics) = (store.clone(), Arc::clone(state), metrics.clone());
            tasks.spawn(Lister::new(store, Arc::clone(&inlet), state, metrics).run());
        }
        lists
    }

    /// Pages not written yet.
    pub(crate) fn backlog(&self) -> &Arc<Backlog> {
        &self.backlog
    }

    /// The body of a page of `range` for the client `peer`, read from one snapshot that is taken after this call.
    ///
    /// Answered within the timeout. Dropping the future takes the question back.
    pub(crate) async fn page(
        &self,
        range: Range,
        items_max: usize,
        peer: Option<&Arc<Peer>>,
    ) -> Result<Bytes, LookupError> {
        let deadline = Instant::now() + self.limits.op_timeout;
        let overloaded = |_| LookupError::Overloaded;
        timeout_at(deadline, self.backlog.room()).await.map_err(overloaded)?;
        let mut charge = self.backlog.charge();
        loop {
            let body = self.read(range.clone(), items_max, deadline).await?;
            if charge.grow(body.len()) {
                return Ok(charge.attach(body, peer));
            }
            // Kept while it waits, it would be there all the same: it is read again.
            let bytes = body.len();
            drop((body, charge));
            charge = timeout_at(deadline, self.backlog.reserve(bytes)).await.map_err(overloaded)?;
        }
    }

    async fn read(&self, range: Range, items_max: usize, deadline: Instant) -> Result<Vec<u8>, LookupError> {
        let selects = self.state.selects();
        let (reply, answer) = oneshot::channel();
        match self.queue.try_send(Ask { range, items_max, deadline, reply }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(self.state.full()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(LookupError::Internal),
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            // Dropped without an answer: its lister met the deadline first.
            Ok(Err(_)) | Err(_) => Err(self.state.late(selects, &self.backlog)),
        }
    }
}

#[cfg(test)]
mod tests;
