//! Watches the bytes a client sends: since when a message is incomplete, how finely it is cut, and whether there is room for
//! it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::PollSemaphore;

/// A message may come in this many frames, and one more per KiB of it.
const FRAMES_MAX: u64 = 64;

/// How long a message may be incomplete after its first byte.
const INCOMPLETE: Duration = Duration::from_secs(10);

/// A message of more bytes waits for room before its payload is read.
pub(crate) const SMALL_BYTES_MAX: u64 = 16 * 1024;

/// Room for the larger messages of a process that are under way or wait for their queue: ten of the largest.
const ROOM_BYTES: usize = 64 * 1024 * 1024;

/// Room for larger messages, shared by the sockets of a process.
pub(crate) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(ROOM_BYTES))
}

/// A stream of frames on its way to the WebSocket library, which notices neither. It ends with an error after the bytes
/// that show the fault, so that what came before them is still understood.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    /// None once it was handed over.
    io: Option<S>,
    inbound: Inbound,
    /// What came behind a larger message, for who reads after it.
    held_back: Vec<u8>,
    /// Ends the wait for the rest of a message; made when first needed.
    timer: Option<Pin<Box<Sleep>>>,
    fault: Option<Fault>,
    /// What a message can have, at most.
    message_bytes_max: usize,
    room: PollSemaphore,
    /// The room that is taken, and the message it is for. Kept until something is read after it: whoever has a message to
    /// deal with reads nothing more.
    taken: Option<(u64, OwnedSemaphorePermit)>,
    waits_for_room: bool,
}

/// How a client sends a message that is not waited for any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// In too many fragments.
    TooFine,
    /// Too slowly.
    Incomplete,
}

/// Where in the stream of frames the client is.
#[derive(Debug, Default)]
struct Inbound {
    /// The header of the frame under way, as far as it is there.
    header: [u8; 14],
    header_len: usize,
    /// Bytes of the frame's payload that are still to come.
    payload_left: u64,
    /// Since when something is incomplete.
    since: Option<Instant>,
    /// Frames and bytes of the data message under way.
    frames: u64,
    bytes: u64,
    too_fine: bool,
    /// Data messages that came to their end.
    messages: u64,
}

impl<S> Watched<S> {
    /// Watches `io`, on which messages have at most `message_bytes_max` bytes. Larger ones share `room` with those of others.
    pub(crate) fn new(io: S, message_bytes_max: usize, room: Arc<Semaphore>) -> Self {
        Self { io: Some(io), ..Self::ended(message_bytes_max, PollSemaphore::new(room)) }
    }

    fn ended(message_bytes_max: usize, room: PollSemaphore) -> Self {
        Self {
            io: None,
            inbound: Inbound::default(),
            held_back: Vec::new(),
            timer: None,
            fault: None,
            message_bytes_max,
            room,
            taken: None,
            waits_for_room: false,
        }
    }

    /// The stream for another reader, as it is. This one has come to its end.
    pub(crate) fn hand_over(&mut self) -> Self {
        let empty = Self::ended(self.message_bytes_max, self.room.clone());
        std::mem::replace(self, empty)
    }

    /// Whether nothing is read because there is no room for the message under way.
    pub(crate) fn waits_for_room(&self) -> bool {
        self.waits_for_room
    }

    /// Takes the room that the message under way needs, and gives back that of the one before.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.taken.as_ref().is_some_and(|(message, _)| *message != self.inbound.messages) {
            self.taken = None;
        }
        let needed = self.inbound.room_needed(self.message_bytes_max);
        self.waits_for_room = needed > 0 && self.taken.is_none();
        if !self.waits_for_room {
            return Poll::Ready(());
        }
        let Poll::Ready(permit) = self.room.poll_acquire_many(cx, needed) else {
            // It is us who do not read.
            self.restart_clock();
            return Poll::Pending;
        };
        self.waits_for_room = false;
        let permit = permit.expect("nobody closes the semaphore");
        self.taken = Some((self.inbound.messages, permit));
        Poll::Ready(())
    }

    /// Why nothing more is read, if so.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Gives the client its full time again: it was us who did not read.
    pub(crate) fn restart_clock(&mut self) {
        self.inbound.since = self.inbound.since.map(|_| Instant::now());
    }

    /// Whether a message has been incomplete for too long; if not, `cx` is woken when it has.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(since) = self.inbound.since else { return false };
        let at = since + INCOMPLETE;
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
        io::Error::other("a message that is not waited for any longer")
    }
}

impl Inbound {
    /// Takes bytes up to the end of a larger message, or all; answers how many are left.
    fn take(&mut self, mut bytes: &[u8], now: Instant) -> usize {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.payload_left > 0 {
                let here = (bytes.len() as u64).min(self.payload_left);
                self.payload_left -= here;
                bytes = &bytes[usize::try_from(here).expect("at most the length of `bytes`")..];
            } else {
                self.since.get_or_insert(now);
                self.header[self.header_len] = first;
                self.header_len += 1;
                bytes = rest;
                if !self.begin_payload() {
                    continue;
                }
            }
            if self.payload_left == 0 && self.end_frame() {
                return bytes.len();
            }
        }
        0
    }

    /// Reads the header once it is complete.
    fn begin_payload(&mut self) -> bool {
        let [_, second, ..] = self.header;
        let (size, extended) = (second & 0x7f, &self.header[2..]);
        let extended_len = match size {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask_len = if second & 0x80 == 0 { 0 } else { 4 };
        if self.header_len < 2 + extended_len + mask_len {
            return false;
        }
        let extended = extended[..extended_len].iter().fold(0, |size, byte| size << 8 | u64::from(*byte));
        self.payload_left = if extended_len == 0 { u64::from(size) } else { extended };
        if !self.is_control() {
            self.frames += 1;
            // A client can claim any length; the library refuses what is too long.
            self.bytes = self.bytes.saturating_add(self.payload_left);
            self.too_fine |= self.frames > FRAMES_MAX + self.bytes / 1024;
        }
        true
    }

    /// Whether a larger message ends with the frame.
    fn end_frame(&mut self) -> bool {
        self.header_len = 0;
        let is_last = !self.is_control() && self.header[0] & 0x80 != 0;
        let is_large = is_last && self.bytes > SMALL_BYTES_MAX;
        if is_last {
            (self.frames, self.bytes) = (0, 0);
            self.messages += 1;
        }
        if self.frames == 0 {
            self.since = None;
        }
        is_large
    }

    /// The room to take before more of the message under way is read. That of a fragmented one nobody knows, and taking it
    /// bit by bit some might wait for each other for ever.
    fn room_needed(&self, message_bytes_max: usize) -> u32 {
        let is_whole = self.frames == 1 && !self.is_control() && self.header[0] & 0x80 != 0;
        let needed = match self.bytes {
            ..=SMALL_BYTES_MAX => 0,
            bytes if is_whole => bytes.min(message_bytes_max as u64),
            _ => message_bytes_max as u64,
        };
        u32::try_from(needed).expect("a message has a few MiB at most")
    }

    fn is_control(&self) -> bool {
        self.header[0] & 0x08 != 0
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.inbound.too_fine {
            return Poll::Ready(Err(self.fail(Fault::TooFine)));
        }
        std::task::ready!(self.poll_room(cx));
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
            let left = self.inbound.take(came, Instant::now());
            if left > 0 {
                // Behind a larger message nothing may be in its buffer, or it could not be given back.
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
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
