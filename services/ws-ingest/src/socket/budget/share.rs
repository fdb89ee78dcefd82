//! The share of one message in the memory for large messages.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use tokio::sync::OwnedSemaphorePermit;

use super::{Entry, Grant, MessageBudget, PROGRESS_BYTES, State};

/// Tells the socket of a message that the message gives way.
#[derive(Debug, Default)]
pub(super) struct Notice {
    is_given: AtomicBool,
    reader: AtomicWaker,
}

/// The share of one message. Dropping it gives the memory back.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<MessageBudget>,
    number: u64,
    permits: Option<OwnedSemaphorePermit>,
    pass: Option<OwnedSemaphorePermit>,
    notice: Arc<Notice>,
    growth: Option<Growth>,
}

/// The wait for memory.
struct Growth(Pin<Box<dyn Future<Output = Grant> + Send + Sync>>);

impl Notice {
    pub(super) fn give(&self) {
        self.is_given.store(true, Ordering::Release);
        self.reader.wake();
    }
}

impl Share {
    pub(super) fn new(budget: Arc<MessageBudget>, number: u64, notice: Arc<Notice>) -> Self {
        Self { budget, number, permits: None, pass: None, notice, growth: None }
    }

    /// Whether the message may have `bytes` bytes.
    pub(crate) fn covers(&self, bytes: usize) -> bool {
        self.pass.is_some() || self.bytes() >= bytes
    }

    /// Waits until the message may have `bytes` bytes.
    pub(crate) fn poll_grow(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<()> {
        if self.covers(bytes) {
            return Poll::Ready(());
        }
        let lacking = u32::try_from(bytes - self.bytes()).expect("a message has a few MiB at most");
        if self.growth.is_none() {
            if let Ok(permits) = Arc::clone(&self.budget.shared).try_acquire_many_owned(lacking) {
                self.take(Grant::Bytes(permits));
                return Poll::Ready(());
            }
            self.growth = Some(Growth(Box::pin(Arc::clone(&self.budget).grant(lacking))));
            self.note(|entry| {
                entry.state = State::Waiting;
                entry.wanted = lacking as usize;
            });
        }
        let Some(Growth(growth)) = &mut self.growth else { unreachable!("it has just begun to wait") };
        let grant = std::task::ready!(growth.as_mut().poll(cx));
        self.growth = None;
        self.take(grant);
        Poll::Ready(())
    }

    /// Gives up the place of a message that waits for memory. Who does not poll its wait must not keep what it is given.
    pub(crate) fn stop_waiting(&mut self) {
        if self.growth.take().is_none() {
            return;
        }
        self.note(|entry| {
            entry.wanted = 0;
            if entry.state == State::Waiting {
                (entry.state, entry.idle) = (State::Receiving, 0);
            }
        });
    }

    /// Whether the message waits for memory.
    pub(crate) fn waits(&self) -> bool {
        self.growth.is_some()
    }

    /// Counts `bytes` that came.
    pub(crate) fn came(&mut self, bytes: usize) {
        self.note(|entry| {
            entry.progress += bytes;
            if entry.progress >= PROGRESS_BYTES {
                (entry.progress, entry.idle) = (0, 0);
            }
        });
    }

    /// All of the message has come. From now on it never gives way: it waits for the service, not for its client.
    pub(crate) fn complete(&mut self) {
        self.note(|entry| {
            if entry.state == State::Receiving {
                entry.state = State::Complete;
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

    fn take(&mut self, grant: Grant) {
        match (grant, &mut self.permits) {
            (Grant::Bytes(more), Some(permits)) => permits.merge(more),
            (Grant::Bytes(more), none @ None) => *none = Some(more),
            (Grant::Pass(pass), _) => self.pass = Some(pass),
        }
        let pass = if self.pass.is_some() { self.budget.pass_bytes } else { 0 };
        let held = self.bytes() + pass;
        self.note(|entry| {
            (entry.held, entry.wanted) = (held, 0);
            if entry.state == State::Waiting {
                (entry.state, entry.idle) = (State::Receiving, 0);
            }
        });
    }

    fn note(&self, change: impl FnOnce(&mut Entry)) {
        let mut messages = self.budget.messages();
        change(messages.by_number.get_mut(&self.number).expect("an entry lives as long as its share"));
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.messages().by_number.remove(&self.number);
    }
}

impl fmt::Debug for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Growth")
    }
}
