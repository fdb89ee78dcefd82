//! What waits for a lane: the receiving end of its queue.

use std::collections::{HashSet, VecDeque};

use futures_util::FutureExt as _;
use tokio::sync::mpsc;

use crate::entry::{Key, Write};
use crate::pending::Pending;

/// Writes in the order they were queued. Those taken out of the queue no longer count against its bound.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: mpsc::Receiver<Pending>,
    /// Taken out of the queue, not yet in a batch.
    waiting: VecDeque<Pending>,
    /// Writes taken out of the queue at once.
    chunk: usize,
}

impl Inbox {
    pub(crate) fn new(queue: mpsc::Receiver<Pending>, chunk: usize) -> Self {
        Self { queue, waiting: VecDeque::new(), chunk }
    }

    /// Whether nothing has come yet.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.waiting.is_empty() && matches!(self.receive().now_or_never(), None | Some(0))
    }

    /// How many of those that have come write no key of `others`, up to the first that does.
    pub(crate) fn apart_from(&self, others: &[Pending]) -> usize {
        let keys: HashSet<&Key> = others.iter().flat_map(|other| keys_of(&other.write)).collect();
        let apart = |pending: &&Pending| keys_of(&pending.write).all(|key| !keys.contains(key));
        self.waiting.iter().take_while(apart).count()
    }

    /// Waits until writes come; 0 = none ever will. Dropping the future loses nothing.
    pub(crate) async fn receive(&mut self) -> usize {
        let mut taken = Vec::new();
        let count = self.queue.recv_many(&mut taken, self.chunk).await;
        self.waiting.extend(taken);
        count
    }

    /// The next write that is there already.
    pub(crate) fn next(&mut self) -> Option<Pending> {
        if self.is_empty() { None } else { self.waiting.pop_front() }
    }

    /// Puts the write that was taken last back.
    pub(crate) fn put_back(&mut self, pending: Pending) {
        self.waiting.push_front(pending);
    }
}

fn keys_of(write: &Write) -> impl Iterator<Item = &Key> {
    write.ops().iter().map(|op| &op.key)
}
