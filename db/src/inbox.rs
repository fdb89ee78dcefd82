//! What waits for a lane: the receiving end of its queue.

use std::collections::VecDeque;

use futures_util::FutureExt as _;
use tokio::sync::mpsc;

use crate::writer::Pending;

/// Writes in the order they were queued. Those taken out of the queue are still counted by nobody else.
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

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
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
        if self.waiting.is_empty() {
            self.receive().now_or_never()?;
        }
        self.waiting.pop_front()
    }

    /// Puts the write that was taken last back.
    pub(crate) fn put_back(&mut self, pending: Pending) {
        self.waiting.push_front(pending);
    }
}
