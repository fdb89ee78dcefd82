//! The queue of gets: which of them go into the next SELECT.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::config::Limits;
use crate::error::LookupError;
use crate::gets::health::State;
use crate::gets::select::Ask;

/// The sending end of the queue.
#[derive(Debug, Clone)]
pub(crate) struct GetSender {
    /// Gets of one key.
    single: mpsc::UnboundedSender<Ask>,
    /// Gets of more, which would keep those of one waiting.
    many: mpsc::UnboundedSender<Ask>,
    keys_max: usize,
}

/// The receiving end of the queue, shared by the readers.
#[derive(Debug)]
pub(crate) struct Inlet {
    single: mpsc::UnboundedReceiver<Ask>,
    many: mpsc::UnboundedReceiver<Ask>,
    /// Taken from the queue, but for the next SELECT.
    next: Option<Ask>,
    state: Arc<State>,
    select_keys_max: usize,
}

/// The two ends of a queue. `state` counts the keys in it.
pub(crate) fn queue(limits: &Limits, state: &Arc<State>) -> (GetSender, Inlet) {
    let ((single, singles), (many, manies)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let sender = GetSender { single, many, keys_max: limits.queue_keys_max };
    let (state, select_keys_max) = (Arc::clone(state), limits.select_keys_max);
    (sender, Inlet { single: singles, many: manies, next: None, state, select_keys_max })
}

impl GetSender {
    /// Queues `ask`, unless the queue is full.
    pub(crate) fn send(&self, ask: Ask, state: &State) -> Result<(), LookupError> {
        if !state.enqueue(ask.len(), self.keys_max) {
            return Err(state.full());
        }
        let queue = if ask.len() == 1 { &self.single } else { &self.many };
        queue.send(ask).map_err(|_| LookupError::Internal)
    }
}

impl Inlet {
    /// Waits for a get and takes what waits with it, as much as fits one SELECT; none once the lookup is gone.
    ///
    /// It may be none but abandoned gets, so the list may be empty. Dropping the future loses nothing.
    pub(crate) async fn take(&mut self) -> Option<Vec<Ask>> {
        if self.next.is_none() {
            self.next = tokio::select! {
                biased;
                Some(ask) = self.single.recv() => Some(ask),
                Some(ask) = self.many.recv() => Some(ask),
                else => return None,
            };
        }
        self.state.backlog.room().await;
        // The first get wakes its reader before connections that are just as ready have been looked at: they go
        // first. A lone get loses nothing, since there is nobody to wait for.
        tokio::task::yield_now().await;
        let keys_max = self.select_keys_max.min(self.state.backlog.keys_advised());
        let (mut asks, mut keys) = (Vec::new(), 0);
        while let Some(ask) = self.next(keys < keys_max / 2) {
            if keys > 0 && keys + ask.len() > keys_max {
                self.next = Some(ask);
                break;
            }
            self.state.dequeue(ask.len());
            if ask.is_abandoned() {
                continue;
            }
            keys += ask.len();
            asks.push(ask);
            if keys >= keys_max {
                break;
            }
        }
        Some(asks)
    }

    /// The next get that waits: what had no room before, then single ones or larger ones.
    fn next(&mut self, single_first: bool) -> Option<Ask> {
        let Self { single, many, next, .. } = self;
        let (first, second) = if single_first { (single, many) } else { (many, single) };
        next.take().or_else(|| first.try_recv().ok()).or_else(|| second.try_recv().ok())
    }
}

/// The inlet as readers share it: whose turn it is waits for the next get.
pub(crate) type SharedInlet = Arc<tokio::sync::Mutex<Inlet>>;
