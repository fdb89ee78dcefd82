//! One socket: reads messages, hands their writes to the lanes, and sends the replies in message order, many per flush.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chassis::access::Caller;
use chassis::running::{Countdown, timeout};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::closing::Closing;
use super::codec;
use super::context::SocketContext;
use super::frames::SMALL_BYTES_MAX;
use super::inbound::WatchedStream;
use super::intake::{Intake, authorize};
use super::parsing::Parsing;
use super::replies::{COMMITTED, Replies};
use crate::protocol::{self, RefusedRequest, WriteRequest};

/// The most messages that are read before replies are sent.
const MESSAGES_PER_TURN: usize = 128;

/// The time between two pings, and the time limit of the pong.
const PING: Duration = Duration::from_secs(20);

/// How long a client may leave its replies unread.
const UNREAD_MAX: Duration = Duration::from_secs(10);
const UNREAD: &str = "replies were not read for 10 s";

struct SocketConnection<S> {
    socket: WebSocketStream<WatchedStream<S>>,
    context: Arc<SocketContext>,
    caller: Caller,
    replies: Replies,
    intake: Intake,
    parsing: Parsing,
    ping: Interval,
    /// The time limit of the pong, if we sent a ping and nothing has arrived since.
    pong: Option<Pin<Box<Countdown>>>,
    /// The library has prepared a pong. It goes out with the next flush.
    owes_pong: bool,
    /// A large message has arrived, and the library would keep its buffer.
    must_replace_buffer: bool,
    /// Set when reading has ended: the Close that is sent behind the last reply.
    closing: Option<Closing>,
}

/// Serves one socket until either side closes it. Every write that was read is finished; its reply is sent if the client is
/// still connected.
pub(crate) async fn serve<S>(io: S, caller: Caller, context: Arc<SocketContext>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let socket = codec::open(io, &context).await;
    context.metrics.sockets.add(1, &[]);
    let mut ping = interval_at(Instant::now() + PING, PING);
    // After a pause of the process one ping is sent, not all that were missed.
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection = SocketConnection {
        socket,
        context: Arc::clone(&context),
        caller,
        replies: Replies::default(),
        intake: Intake::new(context.writer.clone(), context.exports_spans),
        parsing: Parsing::default(),
        ping,
        pong: None,
        owes_pong: false,
        must_replace_buffer: false,
        closing: None,
    };
    connection.run().await;
    context.metrics.sockets.add(-1, &[]);
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> SocketConnection<S> {
    async fn run(&mut self) {
        let stop = self.context.stop.token();
        loop {
            if self.send_ready().await.is_break() {
                return;
            }
            if std::mem::take(&mut self.must_replace_buffer) && self.replace_buffer().await.is_break() {
                return;
            }
            self.intake.proceed(&mut self.replies);
            let owes_nothing = self.replies.is_empty() && self.intake.is_open() && !self.parsing.is_busy();
            if self.closing.is_some() && owes_nothing {
                return self.close().await;
            }
            if !self.may_read() {
                self.socket.get_mut().stop_clock();
            }
            tokio::select! {
                biased;
                () = stop.cancelled(), if self.closing.is_none() => {
                    self.stop_reading(Closing::ours(CloseCode::Away, "the service is stopping"));
                }
                () = self.replies.first(), if !self.replies.is_empty() => {}
                submitted = self.intake.unblock(), if self.intake.is_blocked() => {
                    self.intake.unblocked(submitted, &mut self.replies);
                }
                request = self.parsing.done(), if self.parsing.is_busy() => self.request(request),
                message = self.socket.next(), if self.may_read() => {
                    if self.read_waiting(message).is_break() {
                        return;
                    }
                }
                _ = self.ping.tick(), if self.closing.is_none() => {
                    if self.keep_alive().await.is_break() {
                        return;
                    }
                }
                () = overdue(&mut self.pong), if self.may_hear() => {
                    // Reading may have stopped meanwhile.
                    self.pong = None;
                    if self.may_hear() && self.give_up("no pong within 20 s of a ping").await.is_break() {
                        return;
                    }
                }
            }
        }
    }

    fn may_read(&self) -> bool {
        self.closing.is_none() && self.intake.is_open() && self.replies.have_room() && !self.parsing.is_busy()
    }

    /// Whether we read what the client sends, so that we would see its pong.
    fn may_hear(&self) -> bool {
        self.may_read() && !self.socket.get_ref().waits_for_memory()
    }

    /// Processes `first` and every message that has arrived already.
    fn read_waiting(&mut self, first: Option<Result<Message, Error>>) -> ControlFlow<()> {
        self.message(first)?;
        for _ in 1..MESSAGES_PER_TURN {
            if self.must_replace_buffer || !self.may_read() {
                break;
            }
            let Some(message) = self.socket.next().now_or_never() else { break };
            self.message(message)?;
        }
        ControlFlow::Continue(())
    }

    fn message(&mut self, message: Option<Result<Message, Error>>) -> ControlFlow<()> {
        // Any bytes from the client count as an answer to the ping.
        self.pong = None;
        if let Some(Ok(message)) = &message {
            self.must_replace_buffer = message.len() as u64 > SMALL_BYTES_MAX;
        }
        match message {
            Some(Ok(Message::Text(text))) => {
                let SocketContext { limits, parsers, .. } = &*self.context;
                if let Some(request) = self.parsing.parse(text, *limits, parsers) {
                    self.request(request);
                }
            }
            Some(Ok(Message::Binary(_))) => self.request(Err(protocol::binary())),
            Some(Ok(Message::Ping(_))) => self.owes_pong = true,
            Some(Ok(Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(_))) => {
                // The writes that were read before it are finished.
                self.stop_reading(Closing::Theirs);
            }
            Some(Err(error)) => {
                let fault = self.socket.get_ref().fault();
                let Some(closing) = Closing::of(&error, fault, self.context.limits) else {
                    tracing::debug!(%error, "the connection of a socket broke");
                    return ControlFlow::Break(());
                };
                self.stop_reading(closing);
            }
            None => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn request(&mut self, request: Result<WriteRequest, RefusedRequest>) {
        match authorize(&self.caller, request) {
            Ok(WriteRequest { write, envelope }) => self.intake.put(write, envelope, &mut self.replies),
            Err(refused) => self.replies.refuse(&refused),
        }
    }

    /// Sends the replies at the front of the queue that are known, and a pong if one is owed, with one flush.
    async fn send_ready(&mut self) -> ControlFlow<()> {
        let mut committed = 0;
        let mut sent = std::mem::take(&mut self.owes_pong);
        while let Some((text, outcome)) = self.replies.pop_known() {
            match outcome {
                COMMITTED => committed += 1,
                refused => self.context.metrics.replied(refused, 1),
            }
            // After the client's Close no reply may be sent.
            if self.closing.as_ref().is_none_or(Closing::allows_replies) {
                sent = true;
                self.feed(Message::text(text)).await?;
            }
        }
        if committed > 0 {
            self.context.metrics.replied(COMMITTED, committed);
        }
        if sent { self.flush().await } else { ControlFlow::Continue(()) }
    }

    /// Adds a message to the write buffer. Waits while the buffer is full.
    async fn feed(&mut self, message: Message) -> ControlFlow<()> {
        match timeout(UNREAD_MAX, self.socket.feed(message)).await {
            Ok(fed) => open_after(fed),
            Err(_) => self.give_up(UNREAD).await,
        }
    }

    /// Sends the write buffer.
    async fn flush(&mut self) -> ControlFlow<()> {
        match timeout(UNREAD_MAX, self.socket.flush()).await {
            Ok(flushed) => open_after(flushed),
            Err(_) => self.give_up(UNREAD).await,
        }
    }

    /// Replaces the object of the WebSocket library by a new one on the same stream. The old one would keep the buffer of a large
    /// message as long as the socket exists.
    async fn replace_buffer(&mut self) -> ControlFlow<()> {
        self.flush().await?;
        let io = self.socket.get_mut().hand_over();
        self.socket = codec::open_watched(io, self.context.limits).await;
        ControlFlow::Continue(())
    }

    async fn keep_alive(&mut self) -> ControlFlow<()> {
        if self.pong.is_some() {
            return ControlFlow::Continue(());
        }
        self.feed(Message::Ping(Vec::new().into())).await?;
        self.flush().await?;
        self.pong = Some(Box::pin(Countdown::new(PING)));
        ControlFlow::Continue(())
    }

    fn stop_reading(&mut self, closing: Closing) {
        self.closing.get_or_insert(closing);
    }

    /// Drops the replies and closes the socket with code 1008 and `reason`.
    async fn give_up(&mut self, reason: &str) -> ControlFlow<()> {
        self.replies.clear();
        self.stop_reading(Closing::ours(CloseCode::Policy, reason));
        self.close().await;
        ControlFlow::Break(())
    }

    async fn close(&mut self) {
        if let Some(closing) = self.closing.take() {
            closing.close(&mut self.socket).await;
        }
    }
}

/// Waits until the time limit of a pong is over; without one it waits forever. Cancel-safe.
async fn overdue(pong: &mut Option<Pin<Box<Countdown>>>) {
    match pong {
        Some(limit) => limit.await,
        None => std::future::pending().await,
    }
}

/// Whether the socket is still open after a write with this result.
fn open_after(written: Result<(), Error>) -> ControlFlow<()> {
    match written {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            tracing::debug!(%error, "the connection of a socket broke");
            ControlFlow::Break(())
        }
    }
}

#[cfg(test)]
mod tests;
