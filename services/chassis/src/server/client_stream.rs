//! A client's stream: holds its place under the connection cap, and gives up on a peer that does not read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::Scheme;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;

use crate::peer::Line;

/// What the kernel keeps unsent for a peer before a write waits. Left to itself it takes megabytes, in which a peer that
/// reads slowly looks like one that does not read at all.
#[cfg(target_os = "linux")]
const UNSENT_BYTES_MAX: u32 = 64 * 1024;

/// Dropping it, upgraded or not, closes the socket and frees the place.
pub(crate) struct Wire {
    stream: Stream,
    write_timeout: Duration,
    /// Runs while a write waits for the peer to read.
    waiting: Option<Pin<Box<Sleep>>>,
    line: Arc<Line>,
    _place: OwnedSemaphorePermit,
}

/// What the bytes go over.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Prepares a connection that was just accepted.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    // A reply is one write; waiting to fill a packet would only delay it.
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    Ok(())
}

impl Wire {
    pub(crate) fn new(
        stream: Stream,
        write_timeout: Duration,
        line: Arc<Line>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { stream, write_timeout, waiting: None, line, _place: place }
    }

    /// Last words, if there is room for them. Under TLS there is no saying something at once.
    pub(crate) fn say(&self, text: &[u8]) {
        if let Stream::Plain(stream) = &self.stream {
            // The peer may be gone, which is fine: the connection ends here either way.
            let _ = stream.try_write(text);
        }
    }

    pub(crate) fn scheme(&self) -> Scheme {
        match &self.stream {
            Stream::Plain(_) => Scheme::HTTP,
            Stream::Tls(_) => Scheme::HTTPS,
        }
    }

    fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
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
            let _ = SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            // It may have taken bytes that it could not send yet.
            Stream::Tls(stream) => {
                let flushed = Pin::new(stream).poll_flush(cx);
                self.watch(cx, flushed)
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
