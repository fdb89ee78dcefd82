//! One socket: messages in, writes to their lanes, replies out in message order, many per flush.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chassis::access::Caller;
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Interval, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::closing::Closing;
use super::codec;
use super::context::Context;
use super::inbound::{SMALL_BYTES_MAX, Watched};
use super::intake::{Intake, admit};
use super::replies::{COMMITTED, Replies};
use crate::protocol::{self, Asked, Refused};

/// Messages taken in before replies get their turn.
const MESSAGES_PER_TURN: usize = 128;

/// How often an open socket is pinged, and how long it has to answer.
const PING: Duration = Duration::from_secs(20);

/// How long a client may leave its replies unread.
const UNREAD: Duration = Duration::from_secs(10);

struct Connection<S> {
    socket: WebSocketStream<Watched<S>>,
    context: Arc<Context>,
    caller: Caller,
    replies: Replies,
    intake: Intake,
    ping: Interval,
    pong_due: bool,
    /// The library has the answer to a ping ready, and sends it with whatever is flushed next.
    owes_pong: bool,
    /// A larger message has come, whose buffer the library would keep.
    keeps_buffer: bool,
    /// Set once nothing more is read: what the Close will say when all replies are out.
    closing: Option<Closing>,
}

/// Serves one socket until either side closes it. Every message taken in is settled, its reply sent
/// if the client is still there to take it.
pub(crate) async fn serve<S>(io: S, caller: Caller, context: Arc<Context>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let socket = codec::open(io, &context).await;
    context.metrics.sockets.add(1, &[]);
    let mut connection = Connection {
        socket,
        context: Arc::clone(&context),
        caller,
        replies: Replies::default(),
        intake: Intake::new(context.writer.clone(), context.spans),
        ping: interval_at(Instant::now() + PING, PING),
        pong_due: false,
        owes_pong: false,
        keeps_buffer: false,
        closing: None,
    };
    connection.run().await;
    context.metrics.sockets.add(-1, &[]);
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    async fn run(&mut self) {
        let stop = self.context.stop.token();
        loop {
            if self.send_ready().await.is_break() {
                return;
            }
            if std::mem::take(&mut self.keeps_buffer) && self.renew().await.is_break() {
                return;
            }
            self.intake.proceed(&mut self.replies);
            if self.closing.is_some() && self.replies.is_empty() && self.intake.is_open() {
                return self.close().await;
            }
            if !self.may_read() {
                self.socket.get_mut().restart_clock();
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
                message = self.socket.next(), if self.may_read() => {
                    if self.take_in(message).is_break() {
                        return;
                    }
                }
                _ = self.ping.tick(), if self.closing.is_none() => {
                    if self.keep_alive().await.is_break() {
                        return;
                    }
                }
            }
        }
    }

    fn may_read(&self) -> bool {
        self.closing.is_none() && self.intake.is_open() && self.replies.have_room()
    }

    /// Takes in `first` and every message that is there already.
    fn take_in(&mut self, first: Option<Result<Message, Error>>) -> ControlFlow<()> {
        self.message(first)?;
        for _ in 1..MESSAGES_PER_TURN {
            if self.keeps_buffer || !self.may_read() {
                break;
            }
            let Some(message) = self.socket.next().now_or_never() else { break };
            self.message(message)?;
        }
        ControlFlow::Continue(())
    }

    fn message(&mut self, message: Option<Result<Message, Error>>) -> ControlFlow<()> {
        // Anything that arrives shows that the client is there.
        self.pong_due = false;
        if let Some(Ok(message)) = &message {
            self.keeps_buffer = message.len() as u64 > SMALL_BYTES_MAX;
        }
        match message {
            Some(Ok(Message::Text(text))) => {
                self.asked(protocol::parse(text.as_str(), self.context.limits, now));
            }
            Some(Ok(Message::Binary(_))) => self.asked(Err(protocol::binary())),
            Some(Ok(Message::Ping(_))) => self.owes_pong = true,
            Some(Ok(Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(_))) => {
                // What was taken in is settled all the same.
                self.stop_reading(Closing::Theirs);
            }
            Some(Err(error)) => {
                let fault = self.socket.get_ref().fault();
                let Some(closing) = Closing::of(&error, fault, self.context.limits) else {
                    tracing::debug!(%error, "a socket broke");
                    return ControlFlow::Break(());
                };
                self.stop_reading(closing);
            }
            None => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn asked(&mut self, asked: Result<Asked, Refused>) {
        match admit(&self.caller, asked) {
            Ok(Asked { write, envelope }) => self.intake.put(write, envelope, &mut self.replies),
            Err(refused) => self.replies.refuse(&refused),
        }
    }

    /// Sends every reply that is known and stands first, and a pong that is owed, with one flush.
    async fn send_ready(&mut self) -> ControlFlow<()> {
        let mut committed = 0;
        let mut sent = std::mem::take(&mut self.owes_pong);
        while let Some((text, outcome)) = self.replies.pop_known() {
            match outcome {
                COMMITTED => committed += 1,
                refused => self.context.metrics.answered(refused, 1),
            }
            // After the client's Close nothing is sent to it.
            if self.closing.as_ref().is_none_or(Closing::lets_send) {
                sent = true;
                self.within(UNREAD, Message::text(text)).await?;
            }
        }
        if committed > 0 {
            self.context.metrics.answered(COMMITTED, committed);
        }
        if sent { self.flush().await } else { ControlFlow::Continue(()) }
    }

    async fn flush(&mut self) -> ControlFlow<()> {
        match timeout(UNREAD, self.socket.flush()).await {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(_)) => ControlFlow::Break(()),
            Err(_) => self.give_up("replies were not read for 10 s").await,
        }
    }

    /// Gives back the buffer of a larger message, in which nothing is left: the library keeps it as long as the socket.
    async fn renew(&mut self) -> ControlFlow<()> {
        self.flush().await?;
        let io = self.socket.get_mut().hand_over();
        self.socket = codec::socket(io, self.context.limits).await;
        ControlFlow::Continue(())
    }

    /// Hands one message to the socket's buffer, waiting while that is full.
    async fn within(&mut self, limit: Duration, message: Message) -> ControlFlow<()> {
        match timeout(limit, self.socket.feed(message)).await {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a socket broke");
                ControlFlow::Break(())
            }
            Err(_) => self.give_up("replies were not read for 10 s").await,
        }
    }

    async fn keep_alive(&mut self) -> ControlFlow<()> {
        if self.pong_due && self.may_read() && !self.socket.get_ref().waits_for_room() {
            return self.give_up("no pong within 20 s of a ping").await;
        }
        self.pong_due = true;
        self.within(UNREAD, Message::Ping(Vec::new().into())).await?;
        self.flush().await
    }

    fn stop_reading(&mut self, why: Closing) {
        self.closing.get_or_insert(why);
    }

    /// Says why and leaves, whether or not the client listens.
    async fn give_up(&mut self, reason: &str) -> ControlFlow<()> {
        self.replies.clear();
        self.stop_reading(Closing::ours(CloseCode::Policy, reason));
        self.close().await;
        ControlFlow::Break(())
    }

    async fn close(&mut self) {
        if let Some(closing) = self.closing.take() {
            closing.carry_out(&mut self.socket).await;
        }
    }
}

/// Microseconds since 1970. A clock that stands before 1970 counts as 1970: every `expires_at` then lies in the future, and
/// what has expired is said by the clock of the database.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
