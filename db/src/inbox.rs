//! What waits for a lane: both ends of its queue.

use std::collections::{HashSet, VecDeque};

use futures_util::FutureExt as _;
use tokio::sync::mpsc;

use crate::entry::{Key, Write};
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
    front: mpsc::Sender<Pending>,
    back: mpsc::Sender<Pending>,
}

/// How many writes wait; holding it keeps nothing open.
#[derive(Debug, Clone)]
pub(crate) struct Depth([mpsc::WeakSender<Pending>; 2]);

/// Writes in the order they are to be written. Those taken out of the queue no longer count against its bound.
#[derive(Debug)]
pub(crate) struct Inbox {
    front: mpsc::Receiver<Pending>,
    back: mpsc::Receiver<Pending>,
    /// Taken out of the queue, not yet in a batch.
    waiting: VecDeque<Pending>,
    /// Writes taken out of the queue at once.
    chunk: usize,
}

impl Inbox {
    /// The two ends of a queue where up to `max` writes wait at either place, taken out `chunk` at a time.
    pub(crate) fn new(max: usize, chunk: usize) -> (Outbox, Self) {
        let ((front, first), (back, second)) = (mpsc::channel(max), mpsc::channel(max));
        let inbox = Self { front: first, back: second, waiting: VecDeque::new(), chunk: chunk.max(2) };
        (Outbox { front, back }, inbox)
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
        let (mut front, mut back) = (Vec::new(), Vec::new());
        tokio::select! {
            biased;
            1.. = self.front.recv_many(&mut front, self.chunk / 2) => {
                // What is there already fills the other half.
                let _ = self.back.recv_many(&mut back, self.chunk - front.len()).now_or_never();
            }
            1.. = self.back.recv_many(&mut back, self.chunk) => {}
            else => {}
        }
        let count = front.len() + back.len();
        self.waiting.extend(front);
        self.waiting.extend(back);
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

impl Outbox {
    /// Where to put a write in.
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
    /// How many writes wait in the queue now.
    pub(crate) fn get(&self) -> usize {
        let queues = self.0.iter().filter_map(mpsc::WeakSender::upgrade);
        queues.map(|queue| queue.max_capacity() - queue.capacity()).sum()
    }
}

fn keys_of(write: &Write) -> impl Iterator<Item = &Key> {
    write.ops().iter().map(|op| &op.key)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use tokio::sync::Semaphore;
    use tracing::Span;

    use super::*;
    use crate::entry::{Change, Op};

    async fn put(outbox: &Outbox, place: Place, name: &str) {
        let key = Key::new(name.to_owned(), 9).expect("a short key");
        let write = Write::One(Op { key, change: Change::Delete, if_rev: None, asks_rev: false });
        let bytes = Arc::new(Semaphore::new(1)).acquire_owned().await.expect("it is open");
        let (pending, _) = Pending::new(write, Span::none(), bytes, Instant::now());
        outbox.at(place).send(pending).await.expect("the inbox is there");
    }

    fn names(inbox: &mut Inbox) -> Vec<String> {
        let names = std::iter::from_fn(|| inbox.next());
        names
            .flat_map(|pending| {
                keys_of(&pending.write).map(|key| key.as_str().to_owned()).collect::<Vec<_>>()
            })
            .collect()
    }

    #[tokio::test]
    async fn the_front_goes_first_and_takes_half() {
        let (outbox, mut inbox) = Inbox::new(10, 4);
        for name in ["b1", "b2", "b3", "b4"] {
            put(&outbox, Place::Back, name).await;
        }
        for name in ["f1", "f2", "f3"] {
            put(&outbox, Place::Front, name).await;
        }
        assert_eq!(outbox.depth().get(), 7);
        assert_eq!(names(&mut inbox), ["f1", "f2", "b1", "b2", "f3", "b3", "b4"]);
        assert!(inbox.is_empty());
        put(&outbox, Place::Back, "b5").await;
        assert_eq!(inbox.receive().await, 1);
        let depth = outbox.depth();
        put(&outbox, Place::Front, "f4").await;
        drop(outbox);
        assert_eq!(names(&mut inbox), ["b5", "f4"], "what was put in before the end comes out");
        assert_eq!((inbox.receive().await, depth.get()), (0, 0));
    }
}
