//! What is sent to the client passes the stream unchanged. While this output waits for the client, a large message that is being
//! received must not hold up others.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use super::WatchedStream;
use crate::socket::frames::Fault;

impl<S> WatchedStream<S> {
    /// Passes on the result of an output. While output waits for the client, nothing is read. So a large message then gives up its place
    /// in the queue for memory, and gives way if it must.
    fn written<T>(&mut self, cx: &Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let (Poll::Pending, Some(large)) = (&written, &mut self.large) {
            large.stop_waiting();
            if large.must_give_way(cx) {
                // The next read returns the error.
                let _ = self.fail(Fault::GaveWay);
            }
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(self.io()?).poll_write(cx, buf);
        self.written(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(self.io()?).poll_flush(cx);
        self.written(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.io()?).poll_shutdown(cx)
    }
}
