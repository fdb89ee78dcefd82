//! The limits of incoming messages. A message has a time limit and a limit of fragments. A large message needs memory of the
//! process's budget, and is collected until it is complete.
//!
//! [`WatchedStream`] enforces the limits. It lies between the connection and the WebSocket library, because the library does not show
//! that a message is incomplete, or how many frames a message has, and reserves memory for what a header announces.

mod output;

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use chassis::running::Countdown;
use tokio::io::{AsyncRead, ReadBuf};

use super::budget::MessageBudgets;
use super::frames::{Fault, FrameEvent, FrameTracker};
use super::large::{LargeMessage, PART_BYTES};

/// Time for the rest of a message to arrive after its first byte. Time in which we do not read does not count.
const INCOMPLETE_MAX: Duration = Duration::from_secs(10);

/// The stream of a client, which the WebSocket library reads. A fault becomes an error of the read after the bytes that show the
/// fault. So the library gets every complete message before the error.
#[derive(Debug)]
pub(crate) struct WatchedStream<S> {
    /// `None` after [`WatchedStream::hand_over`].
    io: Option<S>,
    frames: FrameTracker,
    /// The large message that is being received. It is kept while the connection processes it: until [`WatchedStream::release`], or until
    /// the library, which has taken all of it, reads again.
    large: Option<LargeMessage>,
    /// Control frames that came within the large message. The library gets them first.
    control: Vec<u8>,
    /// Bytes that arrived after a large message. They are read next.
    held_back: Vec<u8>,
    /// The time limit of the message that is incomplete, and the number of that message. Created when it is first needed.
    timer: Option<(u64, Pin<Box<Countdown>>)>,
    /// We have not read since the timer was polled.
    has_not_read: bool,
    fault: Option<Fault>,
    message_bytes_max: usize,
    budgets: Arc<MessageBudgets>,
}

impl<S> WatchedStream<S> {
    /// Watches `io`, whose messages have at most `message_bytes_max` bytes. Large messages need memory of `budgets`.
    pub(crate) fn new(io: S, message_bytes_max: usize, budgets: Arc<MessageBudgets>) -> Self {
        Self { io: Some(io), ..Self::ended(message_bytes_max, budgets) }
    }

    fn ended(message_bytes_max: usize, budgets: Arc<MessageBudgets>) -> Self {
        Self {
            io: None,
            frames: FrameTracker::new(message_bytes_max),
            large: None,
            control: Vec::new(),
            held_back: Vec::new(),
            timer: None,
            has_not_read: false,
            fault: None,
            message_bytes_max,
            budgets,
        }
    }

    /// Moves the stream, with its state, to another reader. Reading from `self` fails from then on.
    pub(crate) fn hand_over(&mut self) -> Self {
        let empty = Self::ended(self.message_bytes_max, Arc::clone(&self.budgets));
        std::mem::replace(self, empty)
    }

    /// Whether reading has stopped because there is no memory for the current message.
    pub(crate) fn waits_for_memory(&self) -> bool {
        self.large.as_ref().is_some_and(LargeMessage::waits_for_memory)
    }

    /// Gives the memory of a large message back. The connection has processed what it has read.
    pub(crate) fn release(&mut self) {
        if self.large.as_ref().is_some_and(LargeMessage::is_taken) {
            self.large = None;
        }
    }

    /// The fault that ended reading, if there was one.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Stops the clock of the incomplete message until the next read. Time in which we do not read does not count against the
    /// client.
    pub(crate) fn stop_clock(&mut self) {
        self.has_not_read = true;
    }

    /// Whether a message has been incomplete for too long. If not, `cx` is woken at its time limit.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.frames.is_incomplete {
            return false;
        }
        let begun = self.frames.begun;
        if self.timer.as_ref().is_none_or(|(message, _)| *message != begun) {
            self.timer = Some((begun, Box::pin(Countdown::new(INCOMPLETE_MAX))));
        }
        let (_, timer) = self.timer.as_mut().expect("there is one now");
        if std::mem::take(&mut self.has_not_read) {
            timer.as_mut().skip();
        }
        timer.as_mut().poll(cx).is_ready()
    }

    /// The stream of the client, to discard what it still sends. `None` after [`WatchedStream::hand_over`].
    pub(crate) fn client(&mut self) -> Option<&mut S> {
        self.io.as_mut()
    }

    fn io(&mut self) -> io::Result<&mut S> {
        self.io.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn fail(&mut self, fault: Fault) -> io::Error {
        self.large = None;
        self.fault = Some(fault);
        io::Error::other("the rest of the message is not read")
    }

    /// Moves into `buf` what the library may have without another read. Returns whether there was something.
    fn deliver(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        if !self.control.is_empty() {
            move_bytes(&mut self.control, buf);
            return true;
        }
        let Some(large) = self.large.as_mut().filter(|large| large.is_complete()) else { return false };
        if large.move_into(buf) {
            return true;
        }
        self.large = None;
        false
    }

    /// Tracks the frames in the bytes of `buf` after `before`. The first `tracked` of these bytes are tracked already. What belongs to a
    /// message that becomes large is taken out of `buf`.
    fn track(&mut self, buf: &mut ReadBuf<'_>, before: usize, tracked: usize) {
        let (event, left) = self.frames.take(&buf.filled()[before + tracked..]);
        let end = buf.filled().len() - left;
        let keep = match event {
            // The library refuses the message at this header.
            _ if self.frames.fault.is_some() => return,
            Some(FrameEvent::BecomesLarge(header)) => {
                let (begin, received) = (end - header, buf.filled().to_vec());
                let mut large = LargeMessage::new(&self.budgets, self.frames.size());
                large.push(&received[begin..end]);
                self.large = Some(large);
                self.append(&received[end..]);
                begin
            }
            Some(FrameEvent::ControlFrame(_) | FrameEvent::LargeMessageEnds) => {
                unreachable!("no large message has begun")
            }
            // The library gets a header when it is complete: the header may make its message large.
            None => end - self.frames.incomplete_header().len(),
        };
        buf.set_filled(keep);
    }

    /// Adds `bytes` to the large message, up to its end.
    fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (event, left) = self.frames.take(bytes);
            let (here, rest) = bytes.split_at(bytes.len() - left);
            let large = self.large.as_mut().expect("a large message is being received");
            large.push(here);
            match event {
                _ if self.frames.fault.is_some() => return,
                Some(FrameEvent::ControlFrame(length)) => self.control.extend(large.pop(length)),
                Some(FrameEvent::LargeMessageEnds) => {
                    large.complete();
                    // The library's buffer must be empty after a large message: only then can the buffer be replaced.
                    self.held_back.splice(..0, rest.iter().copied());
                    return;
                }
                Some(FrameEvent::BecomesLarge(_)) => unreachable!("the message is large already"),
                None => {}
            }
            bytes = rest;
        }
    }
}

impl<S: AsyncRead + Unpin> WatchedStream<S> {
    /// Reads from the client, after what was held back.
    fn poll_client(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.held_back.is_empty() {
            return Pin::new(self.io()?).poll_read(cx, buf);
        }
        move_bytes(&mut self.held_back, buf);
        Poll::Ready(Ok(()))
    }

    /// Reads bytes for the library. A read may bring none that the library may have.
    fn poll_small(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Received>> {
        let before = buf.filled().len();
        buf.put_slice(self.frames.incomplete_header());
        let tracked = buf.filled().len() - before;
        let read = self.poll_client(cx, buf);
        let received = buf.filled().len() - before - tracked;
        if !matches!(read, Poll::Ready(Ok(()))) || received == 0 {
            buf.set_filled(before);
            return read.map_ok(|()| Received::End);
        }
        self.track(buf, before, tracked);
        Poll::Ready(Ok(Received::Bytes))
    }

    /// Reads bytes of the large message.
    fn poll_large(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Received>> {
        let left = self.frames.bytes_left().unwrap_or(usize::MAX);
        let Some(large) = &mut self.large else { unreachable!("a large message is being received") };
        let Poll::Ready(room) = large.poll_room(cx, left) else {
            self.stop_clock();
            return Poll::Pending;
        };
        let mut part = [const { MaybeUninit::uninit() }; PART_BYTES];
        let mut part = ReadBuf::uninit(&mut part[..room]);
        ready!(self.poll_client(cx, &mut part))?;
        if part.filled().is_empty() {
            return Poll::Ready(Ok(Received::End));
        }
        self.append(part.filled());
        Poll::Ready(Ok(Received::Bytes))
    }
}

/// What a read brought.
enum Received {
    Bytes,
    /// The client has closed its side.
    End,
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        while buf.filled().len() == before {
            if let Some(fault) = self.frames.fault {
                return Poll::Ready(Err(self.fail(fault)));
            }
            if self.deliver(buf) {
                break;
            }
            if self.large.as_ref().is_some_and(|large| large.must_give_way(cx)) {
                return Poll::Ready(Err(self.fail(Fault::GaveWay)));
            }
            let read = if self.large.is_some() { self.poll_large(cx) } else { self.poll_small(cx, buf) };
            match read {
                Poll::Ready(Ok(Received::Bytes)) => {}
                Poll::Ready(Ok(Received::End)) => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if self.waits_for_memory() => return Poll::Pending,
                Poll::Pending if self.is_overdue(cx) => {
                    return Poll::Ready(Err(self.fail(Fault::Incomplete)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Moves as many bytes as fit from the beginning of `from` into `buf`.
fn move_bytes(from: &mut Vec<u8>, buf: &mut ReadBuf<'_>) {
    let rest = from.split_off(from.len().min(buf.remaining()));
    buf.put_slice(&std::mem::replace(from, rest));
}

#[cfg(test)]
mod tests;
