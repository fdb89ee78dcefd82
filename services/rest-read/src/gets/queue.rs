//! The queue of gets: chooses the gets of the next SELECT.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::gets::select::Get;
use crate::health::Health;

/// The sending end of the queue.
#[derive(Debug, Clone)]
pub(crate) struct GetSender {
    /// Gets of one key.
    single: mpsc::UnboundedSender<Get>,
    /// Gets of several keys. In one channel they would keep single gets waiting.
    multi: mpsc::UnboundedSender<Get>,
}

/// The receiving end of the queue.
#[derive(Debug)]
pub(crate) struct GetQueue {
    single: mpsc::UnboundedReceiver<Get>,
    multi: mpsc::UnboundedReceiver<Get>,
    /// Received, but did not fit the last SELECT.
    next: Option<Get>,
    health: Arc<Health>,
    lookup_keys_max: usize,
}

/// The receiving end as the readers share it: the reader that has locked it waits for the next get.
pub(crate) type SharedGetQueue = Arc<tokio::sync::Mutex<GetQueue>>;

/// Both ends of a queue of gets that are counted in `health`. A SELECT has at most `lookup_keys_max` keys.
pub(crate) fn queue(lookup_keys_max: usize, health: &Arc<Health>) -> (GetSender, GetQueue) {
    let ((single, singles), (multi, multis)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let health = Arc::clone(health);
    let queue = GetQueue { single: singles, multi: multis, next: None, health, lookup_keys_max };
    (GetSender { single, multi }, queue)
}

impl GetSender {
    /// Queues `get`, which was counted before. False if all readers have ended.
    pub(crate) fn send(&self, get: Get) -> bool {
        let channel = if get.len() == 1 { &self.single } else { &self.multi };
        channel.send(get).is_ok()
    }
}

impl GetQueue {
    /// Waits for a get, and takes with it as many waiting gets as fit one SELECT. `None` once all senders are dropped.
    ///
    /// Abandoned gets are left out, so there may be no get at all. Dropping the future loses no get.
    pub(crate) async fn take(&mut self) -> Option<Vec<Get>> {
        if self.next.is_none() {
            self.next = tokio::select! {
                biased;
                Some(get) = self.single.recv() => Some(get),
                Some(get) = self.multi.recv() => Some(get),
                else => return None,
            };
        }
        self.health.backlog.room().await;
        // The first get wakes its reader before the runtime has polled the other connections that are ready. They go first, so
        // that their gets join this SELECT. A lone get loses nothing by it.
        tokio::task::yield_now().await;
        let keys_max = self.lookup_keys_max.min(self.health.backlog.keys_advised());
        let (mut gets, mut keys) = (Vec::new(), 0);
        while let Some(get) = self.next(keys < keys_max / 2) {
            if keys > 0 && keys + get.len() > keys_max {
                self.next = Some(get);
                break;
            }
            self.health.dequeue(get.len());
            if get.is_abandoned() {
                continue;
            }
            keys += get.len();
            gets.push(get);
            if keys >= keys_max {
                break;
            }
        }
        Some(gets)
    }

    /// Takes the next get, if there is one. The get that did not fit the last SELECT comes first. After it, single gets come before
    /// multi-gets if `single_first` is true, and multi-gets before single gets otherwise.
    fn next(&mut self, single_first: bool) -> Option<Get> {
        let Self { single, multi, next, .. } = self;
        let (first, second) = if single_first { (single, multi) } else { (multi, single) };
        next.take().or_else(|| first.try_recv().ok()).or_else(|| second.try_recv().ok())
    }
}
