//! A client's TCP stream: holds its place under the connection cap, and gives up on a peer that does not read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};

use crate::line::Line;

/// What the kernel keeps unsent for a peer before a write waits. Left to itself it takes megabytes, in which a peer that
/// reads slowly looks like one that does not read at all.
const UNSENT_BYTES_MAX: u32 = 64 * 1024;

/// Dropping it, upgraded or not, closes the socket and frees the place.
pub(crate) struct Wire {
    io: TokioIo<TcpStream>,
    write_timeout: Duration,
    /// Runs while a write waits for the peer to read.
    waiting: Option<Pin<Box<Sleep>>>,
    line: Arc<Line>,
    _place: OwnedSemaphorePermit,
}

impl Wire {
    pub(crate) fn new(
        stream: TcpStream,
        write_timeout: Duration,
        line: Arc<Line>,
        place: OwnedSemaphorePermit,
    ) -> io::Result<Self> {
        // A reply is one write; waiting to fill a packet would only delay it.
        stream.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
        Ok(Self { io: TokioIo::new(stream), write_timeout, waiting: None, line, _place: place })
    }

    /// Last words, if there is room for them.
    pub(crate) fn say(&self, text: &[u8]) {
        // The peer may be gone, which is fine: the connection ends here either way.
        let _ = self.io.inner().try_write(text);
    }

    fn watch(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if self.line.is_given_up() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if written.is_ready() {
            if self.waiting.take().is_some() {
                self.line.proceed();
            }
            return written;
        }
        if self.waiting.is_none() {
            self.line.stall();
        }
        self.line.waits(cx.waker());
        let limit = self.write_timeout;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        waiting.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.line.is_given_up() {
            // Reset, so that the end of what was sent is not taken for the end of what there was to send. Where that cannot
            // be, the connection is gone.
            let _ = SockRef::from(self.io.inner()).set_linger(Some(Duration::ZERO));
        }
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
