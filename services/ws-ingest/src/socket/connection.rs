//! One socket: reads messages, hands their writes to the lanes, and sends the replies in message order, many per flush.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chassis::access::Caller;
use chassis::running::Countdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::yield_now;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::closing::Closing;
use super::context::SocketContext;
use super::intake::{Intake, authorize};
use super::parsing::Parsing;
use super::replies::{COMMITTED, Replies};
use super::transport::{Event, Transport, open_after};
use crate::protocol::{self, RefusedRequest, UnknownMembers, WriteRequest};

/// The most messages that are read before replies are sent, and before other sockets have a turn.
const MESSAGES_PER_TURN: usize = 128;

/// The time between two pings, and the time limit of the pong.
const PING: Duration = Duration::from_secs(20);

const UNREAD: &str = "replies were not read for 10 s";

struct SocketConnection<S> {
    transport: Transport<S>,
    context: Arc<SocketContext>,
    caller: Caller,
    replies: Replies,
    intake: Intake,
    parsing: Parsing,
    ping: Interval,
    /// The time limit of the pong, if we sent a ping and nothing has arrived since.
    pong: Option<Pin<Box<Countdown>>>,
    /// Set when reading has ended: the Close that is sent after the last reply.
    closing: Option<Closing>,
    /// Whether as many messages were read as one turn may have.
    was_full_turn: bool,
}

/// Serves one socket until either side closes it. Every write that was read is finished; its reply is sent if the client is
/// still connected. `unknown` says whether unknown members are ignored or refused.
pub(crate) async fn serve<S>(io: S, caller: Caller, unknown: UnknownMembers, context: Arc<SocketContext>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let transport = Transport::open(io, &context).await;
    context.metrics.sockets.add(1, &[]);
    let mut ping = interval_at(Instant::now() + PING, PING);
    // After a pause of the process one ping is sent, not all that were missed.
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection = SocketConnection {
        transport,
        context: Arc::clone(&context),
        caller,
        replies: Replies::default(),
        intake: Intake::new(context.writer.clone(), context.exports_spans),
        parsing: Parsing::new(unknown),
        ping,
        pong: None,
        closing: None,
        was_full_turn: false,
    };
    connection.run().await;
    context.metrics.sockets.add(-1, &[]);
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> SocketConnection<S> {
    async fn run(&mut self) {
        let stop = self.context.stop.token();
        loop {
            if self.transport.replace_buffer().await.is_break() || self.send_ready().is_break() {
                return;
            }
            if std::mem::take(&mut self.was_full_turn) {
                // The runtime makes a task yield after many reads. Messages that are in a buffer already do not count as reads.
                yield_now().await;
            }
            self.intake.proceed(&mut self.replies);
            if !self.parsing.is_busy() && !self.intake.holds_a_write() {
                // The queue of a lane has limits of its own.
                self.transport.release_memory();
            }
            if self.closing.is_some() && self.owes_nothing() {
                return self.close().await;
            }
            if !self.may_read() {
                self.transport.stop_clock();
            }
            tokio::select! {
                biased;
                () = stop.cancelled(), if self.closing.is_none() => {
                    self.stop_reading(Closing::ours(CloseCode::Away, "the service is stopping"));
                }
                () = self.replies.next_is_known(), if !self.replies.all_are_known() => {}
                submitted = self.intake.unblock(), if self.intake.is_blocked() => {
                    self.intake.unblocked(submitted, &mut self.replies);
                }
                (request, deadline) = self.parsing.done(), if self.parsing.is_busy() => {
                    self.request(request, deadline);
                }
                event = self.transport.event(), if self.transport.waits_for_reader() || self.may_read() => {
                    if self.event(event).await.is_break() {
                        return;
                    }
                }
                _ = self.ping.tick(), if self.closing.is_none() && !self.transport.waits_for_reader() => {
                    if self.keep_alive().is_break() {
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
        self.closing.is_none()
            && !self.transport.waits_for_reader()
            && self.intake.is_open()
            && self.replies.have_room()
            && !self.parsing.is_busy()
    }

    fn owes_nothing(&self) -> bool {
        self.replies.is_empty()
            && !self.transport.waits_for_reader()
            && self.intake.is_open()
            && !self.parsing.is_busy()
    }

    /// Whether we read what the client sends, so that we would see its pong.
    fn may_hear(&self) -> bool {
        self.may_read() && !self.transport.waits_for_memory()
    }

    /// Processes `event` and every message that has arrived already.
    async fn event(&mut self, mut event: Event) -> ControlFlow<()> {
        for messages in 1.. {
            match event {
                Event::Read(message) => self.message(message)?,
                Event::Sent(sent) => return open_after(sent),
                Event::Unread => return self.give_up(UNREAD).await,
            }
            self.was_full_turn = messages == MESSAGES_PER_TURN;
            if self.was_full_turn || self.transport.must_replace_buffer() || !self.may_read() {
                break;
            }
            let Some(next) = self.transport.event_at_once() else { break };
            event = next;
        }
        ControlFlow::Continue(())
    }

    fn message(&mut self, message: Option<Result<Message, Error>>) -> ControlFlow<()> {
        // Any bytes from the client count as an answer to the ping.
        self.pong = None;
        if let Some(Ok(message)) = &message {
            self.transport.note_read(message);
        }
        match message {
            Some(Ok(Message::Text(text))) => {
                let SocketContext { limits, parsers, writer, .. } = &*self.context;
                let deadline = writer.deadline();
                if let Some(request) = self.parsing.parse(text, deadline, *limits, parsers) {
                    self.request(request, deadline);
                }
            }
            Some(Ok(Message::Binary(_))) => {
                self.request(Err(protocol::binary()), self.context.writer.deadline());
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(_))) => {
                // The writes that were read before it are finished.
                self.stop_reading(Closing::Theirs);
            }
            Some(Err(error)) => {
                let fault = self.transport.fault();
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

    fn request(&mut self, request: Result<WriteRequest, RefusedRequest>, deadline: Instant) {
        match authorize(&self.caller, request) {
            Ok(WriteRequest { write, envelope }) => {
                self.intake.put(write, envelope, deadline, &mut self.replies);
            }
            Err(refused) => self.replies.refuse(&refused),
        }
    }

    /// Sends the replies at the front of the queue that are known, and a pong if one is owed, with one flush.
    fn send_ready(&mut self) -> ControlFlow<()> {
        let (mut committed, mut is_fed) = (0, false);
        while !self.transport.waits_for_reader() {
            let Some((text, outcome)) = self.replies.pop_known() else { break };
            match outcome {
                COMMITTED => committed += 1,
                refused => self.context.metrics.replied(refused, 1),
            }
            // After the client's Close no reply may be sent.
            if self.closing.as_ref().is_none_or(Closing::allows_replies) {
                is_fed = true;
                self.transport.feed(Message::text(text))?;
            }
        }
        if committed > 0 {
            self.context.metrics.replied(COMMITTED, committed);
        }
        self.transport.flush(is_fed)
    }

    /// Sends a ping. Must not be called while the transport waits for its client to read.
    fn keep_alive(&mut self) -> ControlFlow<()> {
        if self.pong.is_some() {
            return ControlFlow::Continue(());
        }
        self.pong = Some(Box::pin(Countdown::new(PING)));
        self.transport.feed(Message::Ping(Vec::new().into()))?;
        self.transport.flush(true)
    }

    fn stop_reading(&mut self, closing: Closing) {
        self.closing.get_or_insert(closing);
    }

    /// Drops the replies and what is not in a lane, and closes the socket with code 1008 and `reason`.
    async fn give_up(&mut self, reason: &str) -> ControlFlow<()> {
        self.replies.clear();
        self.intake.clear();
        self.stop_reading(Closing::ours(CloseCode::Policy, reason));
        self.close().await;
        ControlFlow::Break(())
    }

    async fn close(&mut self) {
        if let Some(closing) = self.closing.take() {
            self.transport.close(closing).await;
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

#[cfg(test)]
mod tests;
