//! What one message has reserved of the memory for large messages.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use tokio::sync::OwnedSemaphorePermit;

use super::{Allotment, HeldMessage, MessageBudget, MessageState, PROGRESS_BYTES};

/// Tells the socket of a message that the message gives way.
#[derive(Debug, Default)]
pub(super) struct Notice {
    is_given: AtomicBool,
    reader: AtomicWaker,
}

/// The memory that one message has reserved. Dropping it gives the memory back.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<MessageBudget>,
    number: u64,
    permits: Option<OwnedSemaphorePermit>,
    /// Present if the message may grow to its full size.
    full_size_permit: Option<OwnedSemaphorePermit>,
    notice: Arc<Notice>,
    growth: Option<Growth>,
}

/// The wait for memory.
struct Growth(Pin<Box<dyn Future<Output = Allotment> + Send + Sync>>);

impl Notice {
    pub(super) fn give(&self) {
        self.is_given.store(true, Ordering::Release);
        self.reader.wake();
    }
}

impl Reservation {
    pub(super) fn new(budget: Arc<MessageBudget>, number: u64, notice: Arc<Notice>) -> Self {
        Self { budget, number, permits: None, full_size_permit: None, notice, growth: None }
    }

    /// Whether the message may have `bytes` bytes.
    pub(crate) fn covers(&self, bytes: usize) -> bool {
        self.full_size_permit.is_some() || self.bytes() >= bytes
    }

    /// Waits until the message may have `bytes` bytes.
    pub(crate) fn poll_grow(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<()> {
        if self.covers(bytes) {
            return Poll::Ready(());
        }
        let lacking = u32::try_from(bytes - self.bytes()).expect("a message has a few MiB at most");
        if self.growth.is_none() {
            if let Ok(permits) = Arc::clone(&self.budget.shared).try_acquire_many_owned(lacking) {
                self.take(Allotment::Bytes(permits));
                return Poll::Ready(());
            }
            self.growth = Some(Growth(Box::pin(Arc::clone(&self.budget).allot(lacking))));
            self.note(|message| {
                message.state = MessageState::Waiting;
                message.wanted = lacking as usize;
            });
        }
        let Some(Growth(growth)) = &mut self.growth else { unreachable!("it has just begun to wait") };
        let allotment = std::task::ready!(growth.as_mut().poll(cx));
        self.growth = None;
        self.take(allotment);
        Poll::Ready(())
    }

    /// Gives up the place of a message in the queue for memory. A message whose wait is not polled must not keep what it is given.
    pub(crate) fn stop_waiting(&mut self) {
        if self.growth.take().is_none() {
            return;
        }
        self.note(|message| {
            message.wanted = 0;
            if message.state == MessageState::Waiting {
                (message.state, message.stalled_checks) = (MessageState::Receiving, 0);
            }
        });
    }

    /// Whether the message waits for memory.
    pub(crate) fn waits(&self) -> bool {
        self.growth.is_some()
    }

    /// Counts `bytes` that have come.
    pub(crate) fn count_received(&mut self, bytes: usize) {
        self.note(|message| {
            message.progress += bytes;
            if message.progress >= PROGRESS_BYTES {
                (message.progress, message.stalled_checks) = (0, 0);
            }
        });
    }

    /// All of the message has come. From now on it never gives way: it waits for the service, not for its client.
    pub(crate) fn complete(&mut self) {
        self.note(|message| {
            if message.state == MessageState::Receiving {
                message.state = MessageState::Complete;
            }
        });
    }

    /// Whether the message must give way. If not, the task of `cx` is woken when it must.
    pub(crate) fn must_give_way(&self, cx: &Context<'_>) -> bool {
        self.notice.reader.register(cx.waker());
        self.notice.is_given.load(Ordering::Acquire)
    }

    fn bytes(&self) -> usize {
        self.permits.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn take(&mut self, allotment: Allotment) {
        match (allotment, &mut self.permits) {
            (Allotment::Bytes(more), Some(permits)) => permits.merge(more),
            (Allotment::Bytes(more), none @ None) => *none = Some(more),
            (Allotment::FullSize(permit), _) => self.full_size_permit = Some(permit),
        }
        let full_size = if self.full_size_permit.is_some() { self.budget.full_size_bytes } else { 0 };
        let held = self.bytes() + full_size;
        self.note(|message| {
            (message.held, message.wanted) = (held, 0);
            if message.state == MessageState::Waiting {
                (message.state, message.stalled_checks) = (MessageState::Receiving, 0);
            }
        });
    }

    fn note(&self, change: impl FnOnce(&mut HeldMessage)) {
        let mut messages = self.budget.messages();
        change(
            messages
                .by_number
                .get_mut(&self.number)
                .expect("a message is listed as long as its reservation lives"),
        );
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.messages().by_number.remove(&self.number);
    }
}

impl fmt::Debug for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Growth")
    }
}
