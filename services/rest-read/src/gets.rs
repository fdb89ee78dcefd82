//! The queue of gets: what waits together is read by one SELECT.

pub(crate) mod health;
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

use crate::backlog::Charge;
use crate::config::Limits;
use crate::error::LookupError;
use crate::gets::health::State;
use crate::gets::queue::{GetSender, Inlet, queue};
use crate::gets::reader::ReadLoop;
use crate::gets::select::{Answer, Ask, Read};
use crate::metrics::Metrics;

/// Where gets are asked. When the last clone is dropped, the readers end.
#[derive(Debug, Clone)]
pub(crate) struct Lookup {
    queue: GetSender,
    state: Arc<State>,
    op_timeout: Duration,
    _gone: Arc<DropGuard>,
}

impl Lookup {
    /// A lookup without readers, the end its gets come out of, and a token that is cancelled when it is gone.
    pub(crate) fn new(limits: &Limits) -> (Self, Inlet, CancellationToken) {
        let state = Arc::new(State::new(limits.backlog_bytes_max));
        let (queue, inlet) = queue(limits, &state);
        let gone = CancellationToken::new();
        let guard = Arc::new(gone.clone().drop_guard());
        let lookup = Self { queue, state, op_timeout: limits.op_timeout, _gone: guard };
        (lookup, inlet, gone)
    }

    /// A lookup with its readers on `tasks`. The database may be away: gets wait for it until their deadline.
    pub(crate) fn start(store: &Store, limits: &Limits, tasks: &TaskTracker, metrics: &Metrics) -> Self {
        let (lookup, inlet, gone) = Self::new(limits);
        let inlet = Arc::new(tokio::sync::Mutex::new(inlet));
        for _ in 0..limits.readers {
            let (store, inlet, metrics) = (store.clone(), Arc::clone(&inlet), metrics.clone());
            let state = Arc::clone(&lookup.state);
            tasks.spawn(ReadLoop { store, inlet, state, metrics, gone: gone.clone() }.run());
        }
        lookup
    }

    /// Reads `keys`, distinct and at least one, by one SELECT that is sent after this call.
    ///
    /// Answered within the timeout. Dropping the future takes the get back.
    pub(crate) async fn get(&self, mut keys: Vec<Key>) -> Result<Answer, LookupError> {
        let deadline = Instant::now() + self.op_timeout;
        let mut charge = self.state.backlog.charge();
        loop {
            let no_room = match self.read(keys, charge, deadline).await? {
                Read::Answer(answer) => return Ok(answer),
                Read::NoRoom(asked, no_room) => {
                    keys = asked;
                    no_room
                }
            };
            let room = timeout_at(deadline, self.state.backlog.reserve(no_room.bytes)).await;
            charge = room.map_err(|_| LookupError::Overloaded)?;
        }
    }

    async fn read(&self, keys: Vec<Key>, charge: Charge, deadline: Instant) -> Result<Read, LookupError> {
        let selects = self.state.selects();
        let (reply, answer) = oneshot::channel();
        self.queue.send(Ask::new(keys, charge, reply), &self.state)?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => Err(LookupError::Internal),
            Err(_) => Err(self.state.late(selects, &self.state.backlog)),
        }
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }
}

#[cfg(test)]
mod tests;
