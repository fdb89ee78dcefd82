//! The sending end of a lane's queue.

use tokio::sync::mpsc;

use crate::lane::pending::PendingWrite;

/// Which writes leave the queue of a lane first. Without priorities, a client that sends one write at a time would wait behind all
/// writes of a client that sends many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Before writes of normal priority, for up to half of the work. Only for a write whose sender waits for no other reply.
    High,
    /// In order of receipt.
    Normal,
}

/// The sending end of a lane's queue. Dropping it closes the queue.
#[derive(Debug)]
pub(crate) struct QueueSender {
    high: mpsc::Sender<PendingWrite>,
    normal: mpsc::Sender<PendingWrite>,
}

/// How many writes are in the channels of a queue. The writes in the buffers of the receiver do not count. Does not keep the queue
/// open.
#[derive(Debug, Clone)]
pub(crate) struct QueueDepth([mpsc::WeakSender<PendingWrite>; 2]);

impl QueueSender {
    pub(crate) fn new(high: mpsc::Sender<PendingWrite>, normal: mpsc::Sender<PendingWrite>) -> Self {
        Self { high, normal }
    }

    /// The channel of a priority.
    pub(crate) fn channel(&self, priority: Priority) -> &mpsc::Sender<PendingWrite> {
        match priority {
            Priority::High => &self.high,
            Priority::Normal => &self.normal,
        }
    }

    pub(crate) fn depth(&self) -> QueueDepth {
        QueueDepth([&self.high, &self.normal].map(mpsc::Sender::downgrade))
    }
}

impl QueueDepth {
    /// How many writes are in the channels now.
    pub(crate) fn get(&self) -> usize {
        let queues = self.0.iter().filter_map(mpsc::WeakSender::upgrade);
        queues.map(|queue| queue.max_capacity() - queue.capacity()).sum()
    }
}
