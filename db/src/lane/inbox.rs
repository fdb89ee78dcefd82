//! The queue of a lane, receiving end: the order in which writes leave it.

use std::collections::{HashSet, VecDeque};

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::entry::{Key, OP_BYTES, Write};
use crate::lane::outbox::{Outbox, Place};
use crate::lane::pending::Pending;

/// How many younger writes may stand before an overdue one in a channel, so that it is still found while the database hangs. A write
/// that waited for room can be queued a little after writes that came later.
const OUT_OF_ORDER_MAX: usize = 256;

/// The receiving end of a lane's queue: two channels, and a buffer of each.
///
/// A write in a buffer no longer counts against the bound of its channel. A buffer holds one batch, and a
/// little more than its channel can while the database hangs.
#[derive(Debug)]
pub(crate) struct Inbox {
    front: Buffered,
    back: Buffered,
    /// What the front may still take before older writes of the back, in units of [`cost`]. Below zero: it took more than it had.
    credit: i64,
    /// The most credit: half of the ops of a batch.
    credit_max: i64,
}

/// How waiting for writes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// There are some.
    Writes,
    /// There will never be any: every sender is gone, and the queue is empty.
    Closed,
}

/// One channel and its buffer.
#[derive(Debug)]
struct Buffered {
    channel: mpsc::Receiver<Pending>,
    /// Taken out of the channel, not yet in a batch, in order of receipt.
    buffer: VecDeque<Pending>,
    /// The channel may hold writes that are older than some of the other buffer.
    may_have_more: bool,
    /// The most writes that are taken out of the channel ahead: those of one batch.
    buffer_max: usize,
}

impl Inbox {
    /// Both ends of a queue whose two channels hold up to `max` writes each, for batches of up to `batch` writes.
    pub(crate) fn new(max: usize, batch: usize) -> (Outbox, Self) {
        let ((front, front_channel), (back, back_channel)) = (mpsc::channel(max), mpsc::channel(max));
        let buffered =
            |channel| Buffered { channel, buffer: VecDeque::new(), may_have_more: false, buffer_max: batch };
        let credit_max = i64::try_from(batch.div_ceil(2)).expect("a batch has far less ops");
        let inbox = Self {
            front: buffered(front_channel),
            back: buffered(back_channel),
            credit: credit_max,
            credit_max,
        };
        (Outbox::new(front, back), inbox)
    }

    /// Waits until a write comes. Dropping the future loses nothing. Only while the inbox is empty.
    pub(crate) async fn receive(&mut self) -> Received {
        let (mut front, mut back) = (Vec::new(), Vec::new());
        tokio::select! {
            biased;
            1.. = self.front.channel.recv_many(&mut front, self.front.buffer_max) => {}
            1.. = self.back.channel.recv_many(&mut back, self.back.buffer_max) => {}
            else => return Received::Closed,
        }
        self.front.buffer.extend(front);
        self.back.buffer.extend(back);
        self.refill();
        Received::Writes
    }

    /// Whether no write waits.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Looks for new writes, so that those at the front can go first in a new batch.
    pub(crate) fn begin_batch(&mut self) {
        self.refill();
    }

    /// Fills the buffers from the channels, the back first: every write that entered the front before a write of the back
    /// did is then in the front's buffer too, or `may_have_more` says so.
    fn refill(&mut self) {
        self.back.refill(self.back.buffer_max);
        self.front.refill(self.front.buffer_max);
    }

    /// Where the next write is: at the front while it has credit, otherwise where the oldest one is. So a sender's write at the
    /// back never overtakes one that the sender sent before, and the back waits for no more than half of the work.
    fn next_place(&mut self) -> Option<Place> {
        let (front, back) = (self.front.buffer.front(), self.back.buffer.front());
        if must_refill(front, back, self.front.may_have_more, self.credit) {
            self.refill();
        }
        place(self.front.buffer.front(), self.back.buffer.front(), self.credit)
    }

    /// The next write.
    pub(crate) fn peek(&mut self) -> Option<&Pending> {
        match self.next_place()? {
            Place::Front => self.front.buffer.front(),
            Place::Back => self.back.buffer.front(),
        }
    }

    /// Takes the next write out.
    pub(crate) fn next(&mut self) -> Option<Pending> {
        let place = self.next_place()?;
        let (front, back) = (self.front.buffer.front(), self.back.buffer.front());
        self.credit = credit_after(self.credit, self.credit_max, place, front, back);
        match place {
            Place::Front => self.front.buffer.pop_front(),
            Place::Back => self.back.buffer.pop_front(),
        }
    }

    /// Takes out the writes whose deadline has passed. Looks beyond the next batch: a write that waited for room, or an atomic one
    /// that waited for replies, may be behind younger ones.
    pub(crate) fn take_late(&mut self, now: Instant) -> Vec<Pending> {
        let mut late = Vec::new();
        loop {
            self.back.refill(self.back.channel.max_capacity() + OUT_OF_ORDER_MAX);
            self.front.refill(self.front.channel.max_capacity() + OUT_OF_ORDER_MAX);
            let before = late.len();
            for buffered in [&mut self.front, &mut self.back] {
                let (due, in_time) = buffered.buffer.drain(..).partition(|pending| pending.deadline <= now);
                buffered.buffer = in_time;
                late.extend::<VecDeque<Pending>>(due);
            }
            if late.len() == before {
                return late;
            }
        }
    }

    /// The first deadline of the writes in the buffers.
    pub(crate) fn deadline(&mut self) -> Option<Instant> {
        self.refill();
        let buffered = self.front.buffer.iter().chain(&self.back.buffer);
        buffered.map(|pending| pending.deadline).min()
    }

    /// How many writes come next before one that has a key of `others`, or before the buffers must be filled again.
    pub(crate) fn count_before_keys_of(&mut self, others: &[Pending]) -> usize {
        self.refill();
        let keys: HashSet<&Key> = others.iter().flat_map(|other| keys_of(&other.write)).collect();
        let (mut fronts, mut backs) =
            (self.front.buffer.iter().peekable(), self.back.buffer.iter().peekable());
        let (mut credit, credit_max, may_have_more) =
            (self.credit, self.credit_max, self.front.may_have_more);
        let next = std::iter::from_fn(move || {
            let (front, back) = (fronts.peek().copied(), backs.peek().copied());
            if must_refill(front, back, may_have_more, credit) {
                return None;
            }
            let place = place(front, back, credit)?;
            credit = credit_after(credit, credit_max, place, front, back);
            match place {
                Place::Front => fronts.next(),
                Place::Back => backs.next(),
            }
        });
        next.take_while(|pending| keys_of(&pending.write).all(|key| !keys.contains(key))).count()
    }
}

impl Buffered {
    /// Fills the buffer from the channel, up to `limit` writes.
    fn refill(&mut self, limit: usize) {
        let room = limit.saturating_sub(self.buffer.len());
        let mut taken = Vec::new();
        let count = match room {
            0 => 0,
            _ => self.channel.recv_many(&mut taken, room).now_or_never().unwrap_or(0),
        };
        self.may_have_more = count == room;
        self.buffer.extend(taken);
    }
}

/// Whether the channels must be looked at before it is known which write is the next one, given the first of each buffer.
fn must_refill(
    front: Option<&Pending>,
    back: Option<&Pending>,
    front_may_have_more: bool,
    credit: i64,
) -> bool {
    match (front, back) {
        (None, None) => true,
        // Older writes may be in the channel of the front.
        (None, Some(_)) => front_may_have_more,
        // Older writes may be in the channel of the back.
        (Some(_), None) => credit <= 0,
        (Some(_), Some(_)) => false,
    }
}

/// Which of the first two writes is the next one.
fn place(front: Option<&Pending>, back: Option<&Pending>, credit: i64) -> Option<Place> {
    match (front, back) {
        (None, None) => None,
        (Some(_), None) => Some(Place::Front),
        // All writes have the same time limit, so the older one has the earlier deadline.
        (Some(front), Some(back)) if credit > 0 || front.deadline <= back.deadline => Some(Place::Front),
        (None | Some(_), Some(_)) => Some(Place::Back),
    }
}

/// The credit of the front after the next write is taken. A write of the front that goes before an older one lowers it by its cost;
/// a write of the back raises it by its cost.
fn credit_after(
    credit: i64,
    credit_max: i64,
    place: Place,
    front: Option<&Pending>,
    back: Option<&Pending>,
) -> i64 {
    match (place, front, back) {
        (Place::Front, Some(front), Some(back)) if front.deadline > back.deadline => credit - cost(front),
        (Place::Front, _, _) => credit,
        (Place::Back, _, back) => credit_max.min(credit + back.map_or(0, cost)),
    }
}

/// What a write costs the lane: about one for an op with a small value, and one for each 256 bytes of a large one.
fn cost(pending: &Pending) -> i64 {
    i64::try_from(pending.write.bytes() / OP_BYTES).expect("a write has far less bytes")
}

fn keys_of(write: &Write) -> impl Iterator<Item = &Key> {
    write.ops().iter().map(|op| &op.key)
}

#[cfg(test)]
mod tests;
