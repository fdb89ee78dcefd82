//! What waits for a lane: the end of its queue where writes are put in.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, mpsc};

use crate::pending::Pending;

/// Where a write waits. Whoever has much under way fills the queue, and whoever asks for one thing after another would wait
/// behind all of it each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before all that wait at the back, for half of each batch: only for a write whose sender has nothing else under way.
    Front,
    /// Behind all that wait.
    Back,
}

/// Where writes are put in. When it is dropped, nothing more comes.
#[derive(Debug)]
pub(crate) struct Outbox {
    front: Entrance,
    back: Entrance,
}

/// Where writes are put in at one place, in the order in which they came: who waits for room is not overtaken.
#[derive(Debug)]
pub(crate) struct Entrance {
    queue: mpsc::Sender<Pending>,
    /// How many wait for room.
    waiting: AtomicUsize,
    /// Held by the first of them.
    turn: Mutex<()>,
}

/// How many writes wait; holding it keeps nothing open.
#[derive(Debug, Clone)]
pub(crate) struct Depth([mpsc::WeakSender<Pending>; 2]);

impl Outbox {
    pub(crate) fn new(front: mpsc::Sender<Pending>, back: mpsc::Sender<Pending>) -> Self {
        let [front, back] =
            [front, back].map(|queue| Entrance { queue, waiting: AtomicUsize::new(0), turn: Mutex::new(()) });
        Self { front, back }
    }

    /// Where to put a write in.
    pub(crate) fn at(&self, place: Place) -> &Entrance {
        match place {
            Place::Front => &self.front,
            Place::Back => &self.back,
        }
    }

    pub(crate) fn depth(&self) -> Depth {
        Depth([&self.front, &self.back].map(|entrance| entrance.queue.downgrade()))
    }
}

impl Entrance {
    /// Room for one write, if there is some and nobody waits for it.
    pub(crate) fn try_enter(&self) -> Option<mpsc::Permit<'_, Pending>> {
        if self.waiting.load(Ordering::Acquire) > 0 {
            return None;
        }
        self.queue.try_reserve().ok()
    }

    /// Waits until whoever came before has room, then runs `enter` with the queue. Dropping the future gives the turn up.
    pub(crate) async fn enter<T>(&self, enter: impl AsyncFnOnce(&mpsc::Sender<Pending>) -> T) -> T {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let _left = Left(&self.waiting);
        let _turn = self.turn.lock().await;
        enter(&self.queue).await
    }
}

/// Counts somebody out who does not wait any more.
struct Left<'e>(&'e AtomicUsize);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Depth {
    /// How many writes wait in the queue now.
    pub(crate) fn get(&self) -> usize {
        let queues = self.0.iter().filter_map(mpsc::WeakSender::upgrade);
        queues.map(|queue| queue.max_capacity() - queue.capacity()).sum()
    }
}
