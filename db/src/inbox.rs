//! What waits for a lane: the end of its queue where writes are taken out.

use std::collections::{HashSet, VecDeque};

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::entry::{Key, Write};
use crate::outbox::{Outbox, Place};
use crate::pending::Pending;

/// What waits for a lane. Writes taken out of the queue no longer count against its bound.
#[derive(Debug)]
pub(crate) struct Inbox {
    front: Side,
    back: Side,
    /// So many writes at the front may still go before older ones at the back, in this batch.
    ahead: usize,
    /// The most that may do so in a batch.
    ahead_max: usize,
}

/// One place of the queue.
#[derive(Debug)]
struct Side {
    queue: mpsc::Receiver<Pending>,
    /// Taken out of the queue, not yet in a batch.
    waiting: VecDeque<Pending>,
    /// Whether there was more in the queue than was taken out.
    has_more: bool,
    /// Writes taken out of the queue at once.
    chunk: usize,
}

impl Inbox {
    /// The two ends of a queue where up to `max` writes wait at either place, for batches of up to `batch` writes.
    pub(crate) fn new(max: usize, batch: usize) -> (Outbox, Self) {
        let ((front, first), (back, second)) = (mpsc::channel(max), mpsc::channel(max));
        let side = |queue| Side { queue, waiting: VecDeque::new(), has_more: false, chunk: batch };
        let ahead_max = batch.div_ceil(2);
        let inbox = Self { front: side(first), back: side(second), ahead: ahead_max, ahead_max };
        (Outbox::new(front, back), inbox)
    }

    /// Waits until writes come; 0 = none ever will. Dropping the future loses nothing.
    pub(crate) async fn receive(&mut self) -> usize {
        let (mut front, mut back) = (Vec::new(), Vec::new());
        tokio::select! {
            biased;
            1.. = self.front.queue.recv_many(&mut front, self.front.chunk) => {}
            1.. = self.back.queue.recv_many(&mut back, self.back.chunk) => {}
            else => return 0,
        }
        self.front.waiting.extend(front);
        self.back.waiting.extend(back);
        self.look();
        self.front.waiting.len() + self.back.waiting.len()
    }

    /// Whether nothing has come yet.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.peek().is_none()
    }

    /// A new batch begins: at its front there is room again for those who have nothing else under way.
    pub(crate) fn begin_batch(&mut self) {
        self.ahead = self.ahead_max;
        self.front.look();
    }

    /// Takes out of the queue what is there. The back comes first: whatever was put in at the front before any of that is
    /// then found too, so that it is known to be older.
    fn look(&mut self) {
        self.back.look();
        self.front.look();
    }

    /// Where the next write waits. It is the oldest one, but for those that go ahead of it: a sender's write at the back
    /// never overtakes what it has sent before, wherever that waits.
    fn next_place(&mut self) -> Option<Place> {
        let must_look = if self.front.waiting.is_empty() {
            self.back.waiting.is_empty() || self.front.has_more
        } else {
            self.back.waiting.is_empty() && self.ahead == 0
        };
        if must_look {
            self.look();
        }
        place(self.front.waiting.front(), self.back.waiting.front(), self.ahead)
    }

    /// The next write.
    pub(crate) fn peek(&mut self) -> Option<&Pending> {
        match self.next_place()? {
            Place::Front => self.front.waiting.front(),
            Place::Back => self.back.waiting.front(),
        }
    }

    /// Takes the next write out.
    pub(crate) fn next(&mut self) -> Option<Pending> {
        match self.next_place()? {
            Place::Front => {
                self.ahead = self.ahead.saturating_sub(1);
                self.front.waiting.pop_front()
            }
            Place::Back => self.back.waiting.pop_front(),
        }
    }

    /// Takes out what has fallen due, of the next batch and of what would be in it if it were larger.
    pub(crate) fn take_late(&mut self, now: Instant) -> Vec<Pending> {
        let mut late = Vec::new();
        loop {
            self.look();
            let before = late.len();
            for side in [&mut self.front, &mut self.back] {
                let (due, waiting) = side.waiting.drain(..).partition(|pending| pending.deadline <= now);
                side.waiting = waiting;
                late.extend::<VecDeque<Pending>>(due);
            }
            if late.len() == before {
                return late;
            }
        }
    }

    /// The first deadline of what waits.
    pub(crate) fn deadline(&mut self) -> Option<Instant> {
        self.look();
        let waiting = self.front.waiting.iter().chain(&self.back.waiting);
        waiting.map(|pending| pending.deadline).min()
    }

    /// How many of those that come next write no key of `others`, up to the first that does.
    pub(crate) fn apart_from(&self, others: &[Pending]) -> usize {
        let keys: HashSet<&Key> = others.iter().flat_map(|other| keys_of(&other.write)).collect();
        let (mut front, mut back) =
            (self.front.waiting.iter().peekable(), self.back.waiting.iter().peekable());
        let mut ahead = self.ahead;
        let next =
            std::iter::from_fn(move || match place(front.peek().copied(), back.peek().copied(), ahead)? {
                Place::Front => {
                    ahead = ahead.saturating_sub(1);
                    front.next()
                }
                Place::Back => back.next(),
            });
        next.take_while(|pending| keys_of(&pending.write).all(|key| !keys.contains(key))).count()
    }
}

impl Side {
    /// Takes out of the queue what is there, as much as one batch can hold.
    fn look(&mut self) {
        let room = self.chunk.saturating_sub(self.waiting.len());
        if room == 0 {
            return;
        }
        let mut taken = Vec::new();
        let count = self.queue.recv_many(&mut taken, room).now_or_never().unwrap_or(0);
        self.has_more = count == room;
        self.waiting.extend(taken);
    }
}

/// Which of the two first writes is the next; so many at the front may still go before older ones at the back.
fn place(front: Option<&Pending>, back: Option<&Pending>, ahead: usize) -> Option<Place> {
    match (front, back) {
        (None, None) => None,
        (Some(_), None) => Some(Place::Front),
        // All have the same time to wait, so the older one has the earlier deadline.
        (Some(front), Some(back)) if ahead > 0 || front.deadline <= back.deadline => Some(Place::Front),
        (None | Some(_), Some(_)) => Some(Place::Back),
    }
}

fn keys_of(write: &Write) -> impl Iterator<Item = &Key> {
    write.ops().iter().map(|op| &op.key)
}

#[cfg(test)]
#[path = "inbox_tests.rs"]
mod tests;
