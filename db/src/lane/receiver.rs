//! The receiving end of a lane's queue: the order in which writes leave it.

use std::collections::{HashSet, VecDeque};

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::entry::{Key, OP_BYTES, Write};
use crate::lane::pending::PendingWrite;
use crate::lane::sender::{Priority, QueueSender};

/// How far behind younger writes an overdue write is still found while the database hangs, in writes. A write that waited for
/// room is queued after younger writes.
const OUT_OF_ORDER_MAX: usize = 256;

/// The receiving end of a lane's queue: two channels, and a buffer of each.
///
/// A write in a buffer no longer counts against the bound of its channel. A buffer holds one batch; while the database hangs, it
/// holds a little more than its channel can.
#[derive(Debug)]
pub(crate) struct QueueReceiver {
    high: Buffered,
    normal: Buffered,
    /// How much work of high priority may go before older writes of normal priority, in units of [`cost`]. Below zero after a write
    /// that cost more than the credit.
    credit: i64,
    /// The largest credit: half of the ops of a batch.
    credit_max: i64,
}

/// How a wait for writes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReceiveResult {
    /// There are writes.
    Writes,
    /// There will be no more writes: every sender is gone, and the queue is empty.
    Closed,
    /// No write came, but something is to be done for writes that are set aside.
    Due,
}

/// One channel and its buffer.
#[derive(Debug)]
struct Buffered {
    channel: mpsc::Receiver<PendingWrite>,
    /// Writes out of the channel that are not in a batch yet, in order of receipt.
    buffer: VecDeque<PendingWrite>,
    /// The channel may hold writes that are older than some in the other buffer.
    may_have_more: bool,
    /// The most writes that are taken out of the channel ahead of their batch: those of one batch.
    buffer_max: usize,
}

impl QueueReceiver {
    /// Makes both ends of a queue. Its two channels hold up to `max` writes each; a batch has up to `batch` writes.
    pub(crate) fn new(max: usize, batch: usize) -> (QueueSender, Self) {
        let ((high, high_channel), (normal, normal_channel)) = (mpsc::channel(max), mpsc::channel(max));
        let buffered =
            |channel| Buffered { channel, buffer: VecDeque::new(), may_have_more: false, buffer_max: batch };
        let credit_max = i64::try_from(batch.div_ceil(2)).expect("the ops of a batch fit 63 bits");
        let receiver = Self {
            high: buffered(high_channel),
            normal: buffered(normal_channel),
            credit: credit_max,
            credit_max,
        };
        (QueueSender::new(high, normal), receiver)
    }

    /// Waits for a write. Cancel-safe. Only while the queue is empty.
    pub(crate) async fn receive(&mut self) -> ReceiveResult {
        let (mut high, mut normal) = (Vec::new(), Vec::new());
        tokio::select! {
            biased;
            1.. = self.high.channel.recv_many(&mut high, self.high.buffer_max) => {}
            1.. = self.normal.channel.recv_many(&mut normal, self.normal.buffer_max) => {}
            else => return ReceiveResult::Closed,
        }
        self.high.buffer.extend(high);
        self.normal.buffer.extend(normal);
        self.refill();
        ReceiveResult::Writes
    }

    /// Whether no write waits.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Fills the buffers, so that new writes of high priority can go first in a new batch.
    pub(crate) fn begin_batch(&mut self) {
        self.refill();
    }

    /// Fills the buffers from the channels, normal priority first. After that, an older write of high priority can be missing in
    /// its buffer only if `may_have_more` is true.
    fn refill(&mut self) {
        self.normal.refill(self.normal.buffer_max);
        self.high.refill(self.high.buffer_max);
    }

    /// The priority of the next write: high while there is credit, otherwise that of the oldest write. So a write of normal
    /// priority never overtakes an earlier write of its sender, and writes of normal priority get at least half of the work done.
    fn next_priority(&mut self) -> Option<Priority> {
        let (high, normal) = (self.high.buffer.front(), self.normal.buffer.front());
        if must_refill(high, normal, self.high.may_have_more, self.credit) {
            self.refill();
        }
        priority_of_next(self.high.buffer.front(), self.normal.buffer.front(), self.credit)
    }

    /// The next write.
    pub(crate) fn peek(&mut self) -> Option<&PendingWrite> {
        match self.next_priority()? {
            Priority::High => self.high.buffer.front(),
            Priority::Normal => self.normal.buffer.front(),
        }
    }

    /// Takes the next write out.
    pub(crate) fn next(&mut self) -> Option<PendingWrite> {
        let priority = self.next_priority()?;
        let (high, normal) = (self.high.buffer.front(), self.normal.buffer.front());
        self.credit = credit_after(self.credit, self.credit_max, priority, high, normal);
        match priority {
            Priority::High => self.high.buffer.pop_front(),
            Priority::Normal => self.normal.buffer.pop_front(),
        }
    }

    /// Takes out the writes whose deadline has passed. Looks beyond the next batch: a write that waited for room, or an atomic
    /// write that waited for replies, may be behind younger writes.
    pub(crate) fn take_late(&mut self, now: Instant) -> Vec<PendingWrite> {
        let mut late = Vec::new();
        loop {
            self.normal.refill(self.normal.channel.max_capacity() + OUT_OF_ORDER_MAX);
            self.high.refill(self.high.channel.max_capacity() + OUT_OF_ORDER_MAX);
            let before = late.len();
            for buffered in [&mut self.high, &mut self.normal] {
                let (due, in_time) = buffered.buffer.drain(..).partition(|pending| pending.deadline <= now);
                buffered.buffer = in_time;
                late.extend::<VecDeque<PendingWrite>>(due);
            }
            if late.len() == before {
                return late;
            }
        }
    }

    /// The first deadline of the writes in the buffers.
    pub(crate) fn deadline(&mut self) -> Option<Instant> {
        self.refill();
        let buffered = self.high.buffer.iter().chain(&self.normal.buffer);
        buffered.map(|pending| pending.deadline).min()
    }

    /// How many writes come before the first one that shares a key with `others`, or before the buffers must be filled again.
    pub(crate) fn count_before_keys_of(&mut self, others: &[PendingWrite]) -> usize {
        self.refill();
        let keys: HashSet<&Key> = others.iter().flat_map(|other| keys_of(&other.write)).collect();
        let (mut high_writes, mut normal_writes) =
            (self.high.buffer.iter().peekable(), self.normal.buffer.iter().peekable());
        let (mut credit, credit_max, may_have_more) = (self.credit, self.credit_max, self.high.may_have_more);
        let next = std::iter::from_fn(move || {
            let (high, normal) = (high_writes.peek().copied(), normal_writes.peek().copied());
            if must_refill(high, normal, may_have_more, credit) {
                return None;
            }
            let priority = priority_of_next(high, normal, credit)?;
            credit = credit_after(credit, credit_max, priority, high, normal);
            match priority {
                Priority::High => high_writes.next(),
                Priority::Normal => normal_writes.next(),
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

/// Whether the buffers must be filled before the next write is known. `high` and `normal` are the first writes of the buffers.
fn must_refill(
    high: Option<&PendingWrite>,
    normal: Option<&PendingWrite>,
    high_may_have_more: bool,
    credit: i64,
) -> bool {
    match (high, normal) {
        (None, None) => true,
        // Older writes of high priority may be in their channel.
        (None, Some(_)) => high_may_have_more,
        // Older writes of normal priority may be in their channel.
        (Some(_), None) => credit <= 0,
        (Some(_), Some(_)) => false,
    }
}

/// The priority of the next write. `high` and `normal` are the first writes of the buffers.
fn priority_of_next(
    high: Option<&PendingWrite>,
    normal: Option<&PendingWrite>,
    credit: i64,
) -> Option<Priority> {
    match (high, normal) {
        (None, None) => None,
        (Some(_), None) => Some(Priority::High),
        // All writes have the same time limit, so the older one has the earlier deadline.
        (Some(high), Some(normal)) if credit > 0 || high.deadline <= normal.deadline => Some(Priority::High),
        (None | Some(_), Some(_)) => Some(Priority::Normal),
    }
}

/// The credit after the next write is taken. A write of high priority that goes before an older write lowers the credit by its
/// cost; a write of normal priority raises it by its cost.
fn credit_after(
    credit: i64,
    credit_max: i64,
    priority: Priority,
    high: Option<&PendingWrite>,
    normal: Option<&PendingWrite>,
) -> i64 {
    match (priority, high, normal) {
        (Priority::High, Some(high), Some(normal)) if high.deadline > normal.deadline => credit - cost(high),
        (Priority::High, _, _) => credit,
        (Priority::Normal, _, normal) => credit_max.min(credit + normal.map_or(0, cost)),
    }
}

/// The work of a write: about 1 for an op with a small value, and 1 for each 256 bytes of a large value.
fn cost(pending: &PendingWrite) -> i64 {
    i64::try_from(pending.write.bytes() / OP_BYTES).expect("the bytes of a write fit 63 bits")
}

fn keys_of(write: &Write) -> impl Iterator<Item = &Key> {
    write.ops().iter().map(|op| &op.key)
}

#[cfg(test)]
mod tests;
