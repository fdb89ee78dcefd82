//! The memory for the large messages of a process. A message reserves memory for the bytes that have come, not for those that its
//! header announces.
//!
//! While there is no room, a message that wants to grow waits, and its socket is not read. Two rules keep that from lasting:
//! - One message at a time may grow to its full size, whatever the others hold. So messages never wait for each other in a circle.
//! - A stalled message that holds memory gives way, if another one waits.

mod reservation;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use self::reservation::Notice;
pub(super) use self::reservation::Reservation;

/// A large message is *medium* up to this size. It is *long* above it, or if its size is not yet known.
const MEDIUM_BYTES_MAX: usize = 256 * 1024;

/// The memory for all large messages of a process that are being received or wait for their queue, 64 MiB together. Medium ones have
/// a part of their own: otherwise they would wait for long ones.
const MEDIUM_BUDGET_BYTES: usize = 16 * 1024 * 1024;
const LONG_BUDGET_BYTES: usize = 48 * 1024 * 1024;

/// Stalled messages give way until one eighth of all memory is free, so that the next message need not wait for a check.
const FREED_DIVISOR: usize = 8;

/// A message makes progress if this many bytes of it come within [`STALLED_CHECKS_MAX`] checks. A single byte now and then is not enough.
const PROGRESS_BYTES: usize = 64 * 1024;

/// How often the messages that hold memory are checked while another one waits. Only these checks count as time, so a pause of the
/// process is nobody's fault.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The checks after which a message without progress is stalled: one second.
const STALLED_CHECKS_MAX: u32 = 10;

/// The memory for large messages. The sockets of a process share it.
#[derive(Debug)]
pub(crate) struct MessageBudgets {
    medium: Arc<MessageBudget>,
    long: Arc<MessageBudget>,
}

/// The memory for large messages of about the same size.
#[derive(Debug)]
pub(super) struct MessageBudget {
    /// One permit per byte that is free, without the bytes of [`MessageBudget::full_size_permit`].
    shared: Arc<Semaphore>,
    shared_bytes: usize,
    /// One permit: one message at a time may grow to its full size.
    full_size_permit: Arc<Semaphore>,
    full_size_bytes: usize,
    /// When the messages are checked next. Locked by the waiting message that checks the others.
    next_check: tokio::sync::Mutex<Instant>,
    messages: Mutex<Messages>,
}

/// The messages that hold or want memory.
#[derive(Debug, Default)]
struct Messages {
    next: u64,
    by_number: BTreeMap<u64, HeldMessage>,
}

/// A message that holds or wants memory.
#[derive(Debug, Default)]
struct HeldMessage {
    /// The bytes that it may have.
    held: usize,
    /// The bytes that it waits for.
    wanted: usize,
    state: MessageState,
    /// The bytes that have come since `stalled_checks` was last 0.
    progress: usize,
    /// The checks in a row that found it receiving and without progress.
    stalled_checks: u32,
    notice: Arc<Notice>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum MessageState {
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
enum Allotment {
    Bytes(OwnedSemaphorePermit),
    FullSize(OwnedSemaphorePermit),
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

    /// The reservation of a message that has no bytes yet. `bytes` is its size, if that is known.
    pub(super) fn reservation(&self, bytes: Option<usize>) -> Reservation {
        match bytes {
            Some(..=MEDIUM_BYTES_MAX) => self.medium.reservation(),
            Some(_) | None => self.long.reservation(),
        }
    }

    /// The bytes that are reserved.
    pub(crate) fn bytes(&self) -> usize {
        self.medium.bytes() + self.long.bytes()
    }
}

impl MessageBudget {
    /// A budget of `bytes`, of which `message_bytes_max` are for the one message that may grow to its full size.
    fn new(bytes: usize, message_bytes_max: usize) -> Arc<Self> {
        let shared_bytes = bytes.saturating_sub(message_bytes_max);
        Arc::new(Self {
            shared: Arc::new(Semaphore::new(shared_bytes)),
            shared_bytes,
            full_size_permit: Arc::new(Semaphore::new(1)),
            full_size_bytes: message_bytes_max,
            next_check: tokio::sync::Mutex::new(Instant::now()),
            messages: Mutex::default(),
        })
    }

    fn reservation(self: &Arc<Self>) -> Reservation {
        let notice = Arc::new(Notice::default());
        let mut messages = self.messages();
        let number = messages.next;
        messages.next += 1;
        messages
            .by_number
            .insert(number, HeldMessage { notice: Arc::clone(&notice), ..HeldMessage::default() });
        Reservation::new(Arc::clone(self), number, notice)
    }

    fn bytes(&self) -> usize {
        let full_size = if self.full_size_permit.available_permits() == 0 { self.full_size_bytes } else { 0 };
        self.shared_bytes - self.shared.available_permits() + full_size
    }

    /// Waits until there are `bytes` bytes, or until the message may grow to its full size. Dropping the future gives up its place in
    /// the queue.
    async fn allot(self: Arc<Self>, bytes: u32) -> Allotment {
        let mut room = std::pin::pin!(async {
            tokio::select! {
                biased;
                bytes = Arc::clone(&self.shared).acquire_many_owned(bytes) => {
                    Allotment::Bytes(bytes.expect("nobody closes the semaphore"))
                }
                permit = Arc::clone(&self.full_size_permit).acquire_owned() => {
                    Allotment::FullSize(permit.expect("nobody closes the semaphore"))
                }
            }
        });
        // One of the messages that wait checks those that hold memory, for all.
        let mut due = tokio::select! {
            biased;
            allotment = &mut room => return allotment,
            due = self.next_check.lock() => due,
        };
        if due.elapsed() > CHECK_INTERVAL {
            // For some time no message has waited.
            *due = Instant::now() + CHECK_INTERVAL;
        }
        loop {
            if let Ok(allotment) = timeout_at(*due, &mut room).await {
                return allotment;
            }
            self.messages().check(self.shared_bytes + self.full_size_bytes);
            *due = Instant::now() + CHECK_INTERVAL;
        }
    }

    fn messages(&self) -> MutexGuard<'_, Messages> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Messages {
    /// Counts for how many checks each message has made no progress. Tells stalled messages to give way until those that wait have room
    /// and some memory is free, the one that has been stalled for longest first. There are at most as many messages as sockets.
    fn check(&mut self, bytes_max: usize) {
        let (mut all, mut stalled) = (0, Vec::new());
        for message in self.by_number.values_mut() {
            all += message.wanted;
            match message.state {
                MessageState::Receiving => {
                    all += message.held;
                    message.stalled_checks += 1;
                    if message.held > 0 && message.stalled_checks > STALLED_CHECKS_MAX {
                        stalled.push(message);
                    }
                }
                MessageState::Waiting | MessageState::Complete => all += message.held,
                // Its memory is about to be free.
                MessageState::GivesWay => {}
            }
        }
        if all <= bytes_max {
            return;
        }
        let mut lacking = all - bytes_max + bytes_max / FREED_DIVISOR;
        stalled.sort_by_key(|message| Reverse(message.stalled_checks));
        for message in stalled {
            if lacking == 0 {
                return;
            }
            lacking = lacking.saturating_sub(message.held);
            message.state = MessageState::GivesWay;
            message.notice.give();
        }
    }
}

#[cfg(test)]
mod tests;
