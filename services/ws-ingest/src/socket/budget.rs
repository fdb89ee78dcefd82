//! The memory for the large messages of a process. A message reserves memory for the bytes that have come, not for those that its
//! header announces.
//!
//! While there is no room, a message that wants to grow waits, and its socket is not read. Two rules keep that from lasting:
//! - One message at a time may grow to its end, whatever the others hold. So messages never wait for each other in a circle.
//! - A message that holds memory and does not move gives way, if another one waits.

mod share;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use self::share::Notice;
pub(super) use self::share::Share;

/// A message of more bytes is long. A message whose size is not known in advance is long, too.
const MEDIUM_BYTES_MAX: usize = 256 * 1024;

/// The memory for all large messages of a process that are being received or wait for their queue, 64 MiB together. Medium ones have
/// a part of their own, because they would wait for many long ones.
const MEDIUM_BUDGET_BYTES: usize = 16 * 1024 * 1024;
const LONG_BUDGET_BYTES: usize = 48 * 1024 * 1024;

/// Messages that do not move give way until this part of all memory is free, so that the next message need not wait for a check.
const FREED_PART: usize = 8;

/// A message moves if this many bytes of it come within [`IDLE_CHECKS`] checks. A single byte now and then is not enough.
const PROGRESS_BYTES: usize = 64 * 1024;

/// How often the messages that hold memory are checked while another one waits. Only these checks count as time, so a pause of the
/// process is nobody's fault.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The checks after which a message that has not moved gives way: one second.
const IDLE_CHECKS: u32 = 10;

/// The memory for large messages. The sockets of a process share it.
#[derive(Debug)]
pub(crate) struct MessageBudgets {
    medium: Arc<MessageBudget>,
    long: Arc<MessageBudget>,
}

/// The memory for large messages of about the same size.
#[derive(Debug)]
pub(super) struct MessageBudget {
    /// One permit per byte that is free, without the bytes of [`MessageBudget::pass`].
    shared: Arc<Semaphore>,
    shared_bytes: usize,
    /// One permit: the right of one message to grow to the largest size.
    pass: Arc<Semaphore>,
    pass_bytes: usize,
    /// When the messages are checked next. Locked by the waiting message that checks the others.
    next_check: tokio::sync::Mutex<Instant>,
    messages: Mutex<Messages>,
}

/// The messages that hold or want memory.
#[derive(Debug, Default)]
struct Messages {
    next: u64,
    by_number: BTreeMap<u64, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    /// The bytes that it may have.
    held: usize,
    /// The bytes that it waits for.
    wanted: usize,
    state: State,
    /// The bytes that came since `idle` was last 0.
    progress: usize,
    /// The checks in a row that found it receiving and not moving.
    idle: u32,
    notice: Arc<Notice>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// The service reads it.
    #[default]
    Receiving,
    /// It waits for memory. The service does not read it.
    Waiting,
    /// All of it has come.
    Complete,
    /// It was told to give way.
    GivesWay,
}

/// What a message that waited for memory gets.
#[derive(Debug)]
enum Grant {
    Bytes(OwnedSemaphorePermit),
    Pass(OwnedSemaphorePermit),
}

impl MessageBudgets {
    /// Budgets for messages of at most `message_bytes_max` bytes.
    pub(crate) fn new(message_bytes_max: usize) -> Self {
        Self {
            medium: MessageBudget::new(MEDIUM_BUDGET_BYTES, MEDIUM_BYTES_MAX),
            long: MessageBudget::new(LONG_BUDGET_BYTES, message_bytes_max),
        }
    }

    /// Budgets of `bytes` each.
    #[cfg(test)]
    pub(super) fn of(bytes: usize, message_bytes_max: usize) -> Self {
        let budget = || MessageBudget::new(bytes, message_bytes_max);
        Self { medium: budget(), long: budget() }
    }

    /// The share of a message that has nothing yet. `bytes` is its size, if that is known.
    pub(super) fn share(&self, bytes: Option<usize>) -> Share {
        match bytes {
            Some(..=MEDIUM_BYTES_MAX) => self.medium.share(),
            Some(_) | None => self.long.share(),
        }
    }

    /// The bytes that are reserved.
    pub(crate) fn bytes(&self) -> usize {
        self.medium.bytes() + self.long.bytes()
    }
}

impl MessageBudget {
    /// A budget of `bytes`, of which `message_bytes_max` are for the one message that may grow to its end.
    fn new(bytes: usize, message_bytes_max: usize) -> Arc<Self> {
        let shared_bytes = bytes.saturating_sub(message_bytes_max);
        Arc::new(Self {
            shared: Arc::new(Semaphore::new(shared_bytes)),
            shared_bytes,
            pass: Arc::new(Semaphore::new(1)),
            pass_bytes: message_bytes_max,
            next_check: tokio::sync::Mutex::new(Instant::now()),
            messages: Mutex::default(),
        })
    }

    fn share(self: &Arc<Self>) -> Share {
        let notice = Arc::new(Notice::default());
        let mut messages = self.messages();
        let number = messages.next;
        messages.next += 1;
        messages.by_number.insert(number, Entry { notice: Arc::clone(&notice), ..Entry::default() });
        Share::new(Arc::clone(self), number, notice)
    }

    fn bytes(&self) -> usize {
        let pass = if self.pass.available_permits() == 0 { self.pass_bytes } else { 0 };
        self.shared_bytes - self.shared.available_permits() + pass
    }

    /// Waits until there are `bytes` bytes, or until the message may grow to its end. Dropping the future gives up its place.
    async fn grant(self: Arc<Self>, bytes: u32) -> Grant {
        let mut room = std::pin::pin!(async {
            tokio::select! {
                biased;
                bytes = Arc::clone(&self.shared).acquire_many_owned(bytes) => {
                    Grant::Bytes(bytes.expect("nobody closes the semaphore"))
                }
                pass = Arc::clone(&self.pass).acquire_owned() => {
                    Grant::Pass(pass.expect("nobody closes the semaphore"))
                }
            }
        });
        // One of the messages that wait checks those that hold memory, for all.
        let mut due = tokio::select! {
            biased;
            grant = &mut room => return grant,
            due = self.next_check.lock() => due,
        };
        if due.elapsed() > CHECK_INTERVAL {
            // For some time no message has waited.
            *due = Instant::now() + CHECK_INTERVAL;
        }
        loop {
            if let Ok(grant) = timeout_at(*due, &mut room).await {
                return grant;
            }
            self.messages().check(self.shared_bytes + self.pass_bytes);
            *due = Instant::now() + CHECK_INTERVAL;
        }
    }

    fn messages(&self) -> MutexGuard<'_, Messages> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Messages {
    /// Counts for how long each message has not moved, and tells as many to give way as it takes until those that wait have room and
    /// some is free, the longest idle ones first. There are at most as many messages as sockets.
    fn check(&mut self, bytes_max: usize) {
        let (mut all, mut idle) = (0, Vec::new());
        for entry in self.by_number.values_mut() {
            all += entry.wanted;
            match entry.state {
                State::Receiving => {
                    all += entry.held;
                    entry.idle += 1;
                    if entry.held > 0 && entry.idle > IDLE_CHECKS {
                        idle.push(entry);
                    }
                }
                State::Waiting | State::Complete => all += entry.held,
                // Its memory is about to be free.
                State::GivesWay => {}
            }
        }
        if all <= bytes_max {
            return;
        }
        let mut lacking = all - bytes_max + bytes_max / FREED_PART;
        idle.sort_by_key(|entry| Reverse(entry.idle));
        for entry in idle {
            if lacking == 0 {
                return;
            }
            lacking = lacking.saturating_sub(entry.held);
            entry.state = State::GivesWay;
            entry.notice.give();
        }
    }
}

#[cfg(test)]
mod tests;
