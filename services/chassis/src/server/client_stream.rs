//! The byte stream of one client: counts as an open connection, fails if the client does not read, and tells a client that has closed
//! its sending side from one that has gone.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::uri::Scheme;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;

use crate::peer::Peer;
use crate::running::Countdown;
use crate::server::progress::Progress;

/// How many unsent bytes the kernel buffers for a client before a write waits. Its default is megabytes: a client that reads
/// slowly then looks like a client that does not read at all.
#[cfg(target_os = "linux")]
const UNSENT_BYTES_MAX: u32 = 64 * 1024;

/// When a connection is closed whose client is out of reach: a machine without power says no word, and a stream may send nothing for long.
/// Counts from the oldest byte that the client has not confirmed; without such a byte the kernel asks after [`SILENCE_MAX`].
#[cfg(target_os = "linux")]
const OUT_OF_REACH_MAX: Duration = Duration::from_secs(30);

/// After this long without a byte in either direction the kernel asks whether the client is still there, and again each 5 s.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// How long a request goes on without a byte of its response after its client has closed its sending side. A client that waits for the
/// response (`printf … | nc`) looks like one that has gone, until something is written to it. Almost every response is ready by then,
/// and work for a client that has gone keeps others waiting.
const HALF_CLOSED_MAX: Duration = Duration::from_secs(1);

/// The stream of a client, over TCP or TLS. Dropping it closes the connection and gives its permit back.
pub(crate) struct ClientStream {
    stream: Transport,
    /// The limit of the port. The peer may have another one for the request under way.
    write_timeout: Duration,
    /// The time limit of a write that waits for the client to read.
    waiting: Option<Pin<Box<Countdown>>>,
    /// The end of the stream was read during a request. It is held back until this is over.
    end: Option<Pin<Box<Countdown>>>,
    peer: Arc<Peer>,
    progress: Arc<Progress>,
    _permit: OwnedSemaphorePermit,
}

/// The transport under a client stream.
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Sets the socket options of a connection that was just accepted.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    // A reply is one write; waiting to fill a packet would only delay it.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(SILENCE_MAX).with_interval(Duration::from_secs(5)),
    )?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
        socket.set_tcp_user_timeout(Some(OUT_OF_REACH_MAX))?;
    }
    Ok(())
}

impl ClientStream {
    pub(crate) fn new(
        stream: Transport,
        write_timeout: Duration,
        peer: Arc<Peer>,
        progress: Arc<Progress>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self { stream, write_timeout, waiting: None, end: None, peer, progress, _permit: permit }
    }

    /// Sends a last response before the connection closes, if the kernel takes it at once. Sends nothing over TLS, where a
    /// write may have to wait.
    pub(crate) fn send_last(&self, text: &[u8]) {
        if let Transport::Plain(stream) = &self.stream {
            // The client may be gone: the connection ends here either way.
            let _ = stream.try_write(text);
        }
    }

    pub(crate) fn scheme(&self) -> Scheme {
        match &self.stream {
            Transport::Plain(_) => Scheme::HTTP,
            Transport::Tls(_) => Scheme::HTTPS,
        }
    }

    fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Transport::Plain(stream) => stream,
            Transport::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Notes in the peer whether the write waits, and fails the write at its time limit or after a reset.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if self.peer.is_reset() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if written.is_ready() {
            if self.waiting.take().is_some() {
                self.peer.proceed();
            }
            if let Some(end) = &mut self.end {
                // A client that has gone resets the connection soon, and the next write fails.
                end.as_mut().skip();
            }
            return written;
        }
        if self.waiting.is_none() {
            self.peer.stall();
        }
        self.peer.waits(cx.waker());
        let limit = self.peer.write_timeout().unwrap_or(self.write_timeout);
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(Countdown::new(limit)));
        waiting.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Waits until the end of the stream is no longer held back.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let limit = HALF_CLOSED_MAX;
        let end = self.end.get_or_insert_with(|| Box::pin(Countdown::new(limit)));
        // A WebSocket ends with its stream.
        while self.progress.has_left() {
            ready!(end.as_mut().poll(cx));
            if self.waiting.is_none() {
                // If a part of a response is sent, its client must not take it for all of it.
                self.peer.reset();
                break;
            }
            // A write that waits has its own time limit, and notices by itself that the client has gone.
            end.as_mut().skip();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        if self.peer.is_reset() {
            // With a linger time of zero, closing resets the connection: the client cannot take a part of a response for all
            // of it. If the option cannot be set, the connection is gone already.
            let _ = SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.end.is_some() {
            return self.poll_end(cx);
        }
        let room = buf.remaining();
        let read = match &mut self.stream {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        let is_end = match &read {
            Poll::Ready(Ok(())) => buf.remaining() == room && room > 0,
            // Over TLS, many clients close the connection without a word.
            Poll::Ready(Err(error)) => error.kind() == io::ErrorKind::UnexpectedEof,
            Poll::Pending => false,
        };
        if is_end && self.progress.leave() { self.poll_end(cx) } else { read }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = match &mut self.stream {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.stream {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            // The TLS session may hold bytes that are not sent yet.
            Transport::Tls(stream) => {
                let flushed = Pin::new(stream).poll_flush(cx);
                self.watch(cx, flushed)
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_client_that_is_out_of_reach_is_noticed_without_a_write() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is open");
        let (_client, accepted) = tokio::join!(TcpStream::connect(addr), listener.accept());
        let (stream, _) = accepted.expect("a connection");
        prepare(&stream).expect("a connection that is open");
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().expect("an option"));
        assert_eq!(socket.tcp_keepalive_time().expect("an option"), SILENCE_MAX);
        assert_eq!(socket.tcp_user_timeout().expect("an option"), Some(OUT_OF_REACH_MAX));
    }
}
