//! The WebSocket of one client. To send never makes the task of the socket wait. The task may hold something that others need, such as
//! memory or a place in a queue.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::time::Duration;

use chassis::running::Countdown;
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::closing::Closing;
use super::codec;
use super::context::SocketContext;
use super::frames::{Fault, SMALL_BYTES_MAX};
use super::inbound::WatchedStream;
use crate::protocol::MessageLimits;

/// How long a client may leave its replies unread.
pub(super) const UNREAD_MAX: Duration = Duration::from_secs(10);

pub(super) struct Transport<S> {
    socket: WebSocketStream<WatchedStream<S>>,
    limits: MessageLimits,
    /// The time limit of what was sent and does not fit into the connection, if there is such. Until the client has read enough,
    /// nothing is read and nothing more is sent.
    unread: Option<Pin<Box<Countdown>>>,
    /// The library has prepared a pong. It goes out with the next flush.
    owes_pong: bool,
    /// A large message has arrived, and the library would keep its buffer.
    must_replace_buffer: bool,
}

/// What [`Transport::event`] waits for.
pub(super) enum Event {
    /// A message came; `None` at the end.
    Read(Option<Result<Message, Error>>),
    /// What was sent fits into the connection now.
    Sent(Result<(), Error>),
    /// The client has not read in time.
    Unread,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport<S> {
    pub(super) async fn open(io: S, context: &SocketContext) -> Self {
        Self {
            socket: codec::open(io, context).await,
            limits: context.limits,
            unread: None,
            owes_pong: false,
            must_replace_buffer: false,
        }
    }

    /// Waits for a message, or for the client to read if it must. Cancel-safe.
    pub(super) async fn event(&mut self) -> Event {
        let Some(limit) = &mut self.unread else { return Event::Read(self.socket.next().await) };
        let event = tokio::select! {
            biased;
            flushed = self.socket.flush() => Event::Sent(flushed),
            () = limit => Event::Unread,
        };
        self.unread = None;
        event
    }

    /// Like [`Transport::event`], if something has come already.
    pub(super) fn event_at_once(&mut self) -> Option<Event> {
        self.event().now_or_never()
    }

    /// Takes note of a message that was read.
    pub(super) fn note_read(&mut self, message: &Message) {
        self.must_replace_buffer = message.len() as u64 > SMALL_BYTES_MAX;
        self.owes_pong |= message.is_ping();
    }

    /// Whether the client must read before anything else is read or sent.
    pub(super) fn waits_for_reader(&self) -> bool {
        self.unread.is_some()
    }

    pub(super) fn must_replace_buffer(&self) -> bool {
        self.must_replace_buffer
    }

    /// Adds a message to the write buffer. Must not be called while the transport waits for its client to read.
    pub(super) fn feed(&mut self, message: Message) -> ControlFlow<()> {
        open_after(self.socket.start_send_unpin(message))?;
        let ready = poll_fn(|cx| self.socket.poll_ready_unpin(cx)).now_or_never();
        self.sent_at_once(ready)
    }

    /// Sends the write buffer if something was fed, as `is_fed` says, or a pong is owed.
    pub(super) fn flush(&mut self, is_fed: bool) -> ControlFlow<()> {
        if self.waits_for_reader() || !(std::mem::take(&mut self.owes_pong) || is_fed) {
            return ControlFlow::Continue(());
        }
        let flushed = self.socket.flush().now_or_never();
        self.sent_at_once(flushed)
    }

    /// Takes the result of a write; `None` if it must wait for the client.
    fn sent_at_once(&mut self, written: Option<Result<(), Error>>) -> ControlFlow<()> {
        if written.is_none() {
            self.unread = Some(Box::pin(Countdown::new(UNREAD_MAX)));
        }
        open_after(written.unwrap_or(Ok(())))
    }

    /// Replaces the object of the WebSocket library by a new one on the same stream, if a large message has arrived. The old one would
    /// keep the buffer of the message as long as the socket exists.
    pub(super) async fn replace_buffer(&mut self) -> ControlFlow<()> {
        if !self.must_replace_buffer {
            return ControlFlow::Continue(());
        }
        // The old one may have a pong.
        self.flush(true)?;
        if !self.waits_for_reader() {
            self.must_replace_buffer = false;
            let io = self.socket.get_mut().hand_over();
            self.socket = codec::open_watched(io, self.limits).await;
        }
        ControlFlow::Continue(())
    }

    /// Gives back the memory of a large message that has been processed, unless the library still has its buffer.
    pub(super) fn release_memory(&mut self) {
        if !self.must_replace_buffer {
            self.socket.get_mut().release();
        }
    }

    /// Stops the clock of the incomplete message until the next read.
    pub(super) fn stop_clock(&mut self) {
        self.socket.get_mut().stop_clock();
    }

    pub(super) fn waits_for_memory(&self) -> bool {
        self.socket.get_ref().waits_for_memory()
    }

    /// The fault that ended reading, if there was one.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.socket.get_ref().fault()
    }

    pub(super) async fn close(&mut self, closing: Closing) {
        closing.close(&mut self.socket).await;
    }
}

/// Whether the socket is still open after a write with this result.
pub(super) fn open_after(written: Result<(), Error>) -> ControlFlow<()> {
    match written {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            tracing::debug!(%error, "the connection of a socket broke");
            ControlFlow::Break(())
        }
    }
}
