//! The limits of incoming messages. A message has a time limit and a limit of fragments. A large message must reserve memory before
//! its payload is read.
//!
//! [`WatchedStream`] enforces the limits. It lies between the connection and the WebSocket library, because the library does not show
//! that a message is incomplete, or how many frames a message has.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::PollSemaphore;

use super::frames::FrameTracker;

/// Time for the rest of a message to arrive after its first byte.
const INCOMPLETE_MAX: Duration = Duration::from_secs(10);

/// The memory for all large messages of a process that are being received or wait for their queue: ten of the largest.
const MESSAGE_BUDGET_BYTES: usize = 64 * 1024 * 1024;

/// The memory for large messages, as one permit per byte. The sockets of a process share it.
pub(crate) fn message_budget() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MESSAGE_BUDGET_BYTES))
}

/// The stream of a client, which the WebSocket library reads. A fault becomes an error of the read after the bytes that show the
/// fault. So the library gets every complete message before the error.
#[derive(Debug)]
pub(crate) struct WatchedStream<S> {
    /// `None` after [`WatchedStream::hand_over`].
    io: Option<S>,
    frames: FrameTracker,
    /// Bytes that arrived behind a large message. They are read next.
    held_back: Vec<u8>,
    /// The time limit of the message that is incomplete. Created when it is first needed.
    timer: Option<Pin<Box<Sleep>>>,
    fault: Option<Fault>,
    message_bytes_max: usize,
    budget: PollSemaphore,
    /// The number of a message and the memory reserved for it. Kept until the next read: before that, the connection still
    /// processes the message.
    reservation: Option<(u64, OwnedSemaphorePermit)>,
    waits_for_memory: bool,
}

/// Why a message is not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The client sends it in too many fragments.
    TooManyFragments,
    /// The client sends it too slowly.
    Incomplete,
}

impl<S> WatchedStream<S> {
    /// Watches `io`, whose messages have at most `message_bytes_max` bytes. Large messages reserve memory of `budget`.
    pub(crate) fn new(io: S, message_bytes_max: usize, budget: Arc<Semaphore>) -> Self {
        Self { io: Some(io), ..Self::ended(message_bytes_max, PollSemaphore::new(budget)) }
    }

    fn ended(message_bytes_max: usize, budget: PollSemaphore) -> Self {
        Self {
            io: None,
            frames: FrameTracker::default(),
            held_back: Vec::new(),
            timer: None,
            fault: None,
            message_bytes_max,
            budget,
            reservation: None,
            waits_for_memory: false,
        }
    }

    /// Moves the stream, with its state, to another reader. Reading from `self` fails from then on.
    pub(crate) fn hand_over(&mut self) -> Self {
        let empty = Self::ended(self.message_bytes_max, self.budget.clone());
        std::mem::replace(self, empty)
    }

    /// Whether reading has stopped because there is no memory for the current message.
    pub(crate) fn waits_for_memory(&self) -> bool {
        self.waits_for_memory
    }

    /// Releases the reservation of the previous message and waits for the reservation that the current one needs.
    fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.reservation.as_ref().is_some_and(|(message, _)| *message != self.frames.messages) {
            self.reservation = None;
        }
        let needed = self.frames.reservation_bytes(self.message_bytes_max);
        self.waits_for_memory = needed > 0 && self.reservation.is_none();
        if !self.waits_for_memory {
            return Poll::Ready(());
        }
        let Poll::Ready(permit) = self.budget.poll_acquire_many(cx, needed) else {
            self.restart_clock();
            return Poll::Pending;
        };
        self.waits_for_memory = false;
        let permit = permit.expect("nobody closes the semaphore");
        self.reservation = Some((self.frames.messages, permit));
        Poll::Ready(())
    }

    /// The fault that ended reading, if there was one.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Starts the time limit of the incomplete message again. Time in which we do not read does not count against the client.
    pub(crate) fn restart_clock(&mut self) {
        self.frames.incomplete_since = self.frames.incomplete_since.map(|_| Instant::now());
    }

    /// Whether a message has been incomplete for too long. If not, `cx` is woken at its time limit.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(since) = self.frames.incomplete_since else { return false };
        let at = since + INCOMPLETE_MAX;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx).is_ready()
    }

    fn io(&mut self) -> io::Result<&mut S> {
        self.io.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn fail(&mut self, fault: Fault) -> io::Error {
        self.fault = Some(fault);
        io::Error::other("the rest of the message is not read")
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.frames.has_too_many_fragments {
            return Poll::Ready(Err(self.fail(Fault::TooManyFragments)));
        }
        std::task::ready!(self.poll_reserve(cx));
        let before = buf.filled().len();
        let read = if self.held_back.is_empty() {
            Pin::new(self.io()?).poll_read(cx, buf)?
        } else {
            let taken = self.held_back.len().min(buf.remaining());
            let rest = self.held_back.split_off(taken);
            buf.put_slice(&std::mem::replace(&mut self.held_back, rest));
            Poll::Ready(())
        };
        if read.is_ready() {
            let came = &buf.filled()[before..];
            let left = self.frames.take(came, Instant::now());
            if left > 0 {
                // The library's buffer must be empty behind a large message: only then can the buffer be replaced.
                let end = buf.filled().len() - left;
                self.held_back.splice(..0, buf.filled()[end..].iter().copied());
                buf.set_filled(end);
            }
        }
        if read.is_pending() && self.is_overdue(cx) {
            return Poll::Ready(Err(self.fail(Fault::Incomplete)));
        }
        read.map(Ok)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.io()?).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.io()?).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.io()?).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
