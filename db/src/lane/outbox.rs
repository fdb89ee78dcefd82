//! The queue of a lane, sending end.

use tokio::sync::mpsc;

use crate::lane::pending::Pending;

/// Where a write waits in the queue of its lane. A client that sends one write at a time would otherwise wait behind all the
/// writes of a client that sends many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before the writes at the back, as long as those get as much done. Only for a write whose sender waits for no other reply.
    Front,
    /// In order of receipt.
    Back,
}

/// The sending end of a lane's queue. To drop it closes the queue.
#[derive(Debug)]
pub(crate) struct Outbox {
    front: mpsc::Sender<Pending>,
    back: mpsc::Sender<Pending>,
}

/// How many writes are in the channels, without those in the buffers of the inbox. To hold it does not keep the queue open.
#[derive(Debug, Clone)]
pub(crate) struct Depth([mpsc::WeakSender<Pending>; 2]);

impl Outbox {
    pub(crate) fn new(front: mpsc::Sender<Pending>, back: mpsc::Sender<Pending>) -> Self {
        Self { front, back }
    }

    /// The sender for a place.
    pub(crate) fn at(&self, place: Place) -> &mpsc::Sender<Pending> {
        match place {
            Place::Front => &self.front,
            Place::Back => &self.back,
        }
    }

    pub(crate) fn depth(&self) -> Depth {
        Depth([&self.front, &self.back].map(mpsc::Sender::downgrade))
    }
}

impl Depth {
    /// How many writes are in the channels now.
    pub(crate) fn get(&self) -> usize {
        let queues = self.0.iter().filter_map(mpsc::WeakSender::upgrade);
        queues.map(|queue| queue.max_capacity() - queue.capacity()).sum()
    }
}
