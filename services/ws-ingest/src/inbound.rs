//! Watches the bytes a client sends: since when a message is incomplete, and how finely it is cut.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// A message may come in this many frames, and one more per KiB of it.
const FRAMES_MAX: u64 = 64;

/// How long a message may be incomplete after its first byte.
const INCOMPLETE: Duration = Duration::from_secs(10);

/// A stream of frames on its way to the WebSocket library, which notices neither. It ends with an error after the bytes
/// that show the fault, so that what came before them is still understood.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    io: S,
    inbound: Inbound,
    /// Ends the wait for the rest of a message; made when first needed.
    timer: Option<Pin<Box<Sleep>>>,
    fault: Option<Fault>,
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
}

impl<S> Watched<S> {
    pub(crate) fn new(io: S) -> Self {
        Self { io, inbound: Inbound::default(), timer: None, fault: None }
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

    fn fail(&mut self, fault: Fault) -> io::Error {
        self.fault = Some(fault);
        io::Error::other("a message that is not waited for any longer")
    }
}

impl Inbound {
    fn take(&mut self, mut bytes: &[u8], now: Instant) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.payload_left > 0 {
                let here = (bytes.len() as u64).min(self.payload_left);
                self.payload_left -= here;
                // At most the length of `bytes`, so it fits.
                bytes = &bytes[usize::try_from(here).unwrap_or(bytes.len())..];
            } else {
                self.since.get_or_insert(now);
                self.header[self.header_len] = first;
                self.header_len += 1;
                bytes = rest;
                if !self.begin_payload() {
                    continue;
                }
            }
            if self.payload_left == 0 {
                self.end_frame();
            }
        }
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
            self.bytes = self.bytes.saturating_add(self.payload_left);
            self.too_fine |= self.frames > FRAMES_MAX + self.bytes / 1024;
        }
        true
    }

    fn end_frame(&mut self) {
        self.header_len = 0;
        let is_last = self.header[0] & 0x80 != 0;
        if !self.is_control() && is_last {
            (self.frames, self.bytes) = (0, 0);
        }
        if self.frames == 0 {
            self.since = None;
        }
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
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf)?;
        if read.is_ready() {
            self.inbound.take(&buf.filled()[before..], Instant::now());
        }
        if read.is_pending() && self.is_overdue(cx) {
            return Poll::Ready(Err(self.fail(Fault::Incomplete)));
        }
        read.map(Ok)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match u8::try_from(payload) {
            Ok(small) if small < 126 => frame.push(0x80 | small),
            _ => {
                frame.push(0xfe);
                frame.extend(u16::try_from(payload).expect("a test's payload").to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(vec![b'x'; payload]);
        frame
    }

    #[test]
    fn it_knows_at_every_byte_whether_something_is_incomplete() {
        let text = [frame(0x01, 3), frame(0x89, 0), frame(0x00, 300), frame(0x80, 0)].concat();
        let stream = [frame(0x81, 5), text, frame(0x8a, 7), frame(0x82, 0)].concat();
        let ends = [11, 11 + 9 + 6 + 308 + 6, 11 + 329 + 13, 11 + 329 + 13 + 6];
        let mut inbound = Inbound::default();
        for (at, byte) in (1..).zip(&stream) {
            inbound.take(&[*byte], Instant::now());
            assert_eq!(inbound.since.is_none(), ends.contains(&at), "after byte {at}");
        }
        let mut at_once = Inbound::default();
        at_once.take(&stream, Instant::now());
        assert!(at_once.since.is_none() && !at_once.too_fine);
    }

    #[test]
    fn tiny_fragments_are_noticed_and_large_ones_are_not() {
        let mut inbound = Inbound::default();
        inbound.take(&frame(0x01, 1), Instant::now());
        for _ in 1..FRAMES_MAX {
            inbound.take(&frame(0x00, 1), Instant::now());
        }
        assert!(!inbound.too_fine);
        inbound.take(&frame(0x00, 1), Instant::now());
        assert!(inbound.too_fine);

        let mut coarse = Inbound::default();
        for _ in 0..1000 {
            coarse.take(&frame(0x00, 1024), Instant::now());
        }
        assert!(!coarse.too_fine);
    }
}
