//! The queue of a lane, sending end: writes enter it in the order in which they came.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, mpsc};

use crate::pending::Pending;

/// Where a write waits in the queue of its lane. A client that sends one write at a time would otherwise wait behind all the
/// writes of a client that sends many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before the writes at the back, for half of each batch. Only for a write whose sender waits for no other reply.
    Front,
    /// In order of receipt.
    Back,
}

/// The sending end of a lane's queue. To drop it closes the queue.
#[derive(Debug)]
pub(crate) struct Outbox {
    front: FairSender,
    back: FairSender,
}

/// The sender of one channel. A write that waits for room is not overtaken by one that came later.
#[derive(Debug)]
pub(crate) struct FairSender {
    queue: mpsc::Sender<Pending>,
    /// How many tasks wait for room.
    waiting_tasks: AtomicUsize,
    /// Held by the first of them.
    turn: Mutex<()>,
}

/// How many writes are in the channels, without those in the buffers of the inbox. To hold it does not keep the queue open.
#[derive(Debug, Clone)]
pub(crate) struct Depth([mpsc::WeakSender<Pending>; 2]);

impl Outbox {
    pub(crate) fn new(front: mpsc::Sender<Pending>, back: mpsc::Sender<Pending>) -> Self {
        let [front, back] = [front, back].map(|queue| FairSender {
            queue,
            waiting_tasks: AtomicUsize::new(0),
            turn: Mutex::new(()),
        });
        Self { front, back }
    }

    /// The sender for a place.
    pub(crate) fn at(&self, place: Place) -> &FairSender {
        match place {
            Place::Front => &self.front,
            Place::Back => &self.back,
        }
    }

    pub(crate) fn depth(&self) -> Depth {
        Depth([&self.front, &self.back].map(|sender| sender.queue.downgrade()))
    }
}

impl FairSender {
    /// Room for one write, if there is some and no task waits for it.
    pub(crate) fn try_enter(&self) -> Option<mpsc::Permit<'_, Pending>> {
        if self.waiting_tasks.load(Ordering::Acquire) > 0 {
            return None;
        }
        self.queue.try_reserve().ok()
    }

    /// Waits for its turn, then runs `enter`, which is to send one write. Dropping the future gives up the turn.
    pub(crate) async fn enter<T>(&self, enter: impl AsyncFnOnce(&mpsc::Sender<Pending>) -> T) -> T {
        self.waiting_tasks.fetch_add(1, Ordering::AcqRel);
        let _left = Left(&self.waiting_tasks);
        let _turn = self.turn.lock().await;
        enter(&self.queue).await
    }
}

/// Counts a task that no longer waits.
struct Left<'e>(&'e AtomicUsize);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Depth {
    /// How many writes are in the channels now.
    pub(crate) fn get(&self) -> usize {
        let queues = self.0.iter().filter_map(mpsc::WeakSender::upgrade);
        queues.map(|queue| queue.max_capacity() - queue.capacity()).sum()
    }
}
