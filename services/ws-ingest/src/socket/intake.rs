//! The way of a socket's writes into the lanes: in the order sent, and an atomic one by itself.

use std::pin::Pin;

use chassis::access::Caller;
use db::{Place, Refusal, Submitted, Ticket, Write, Writer};
use tokio::time::Instant;
use tracing::{Span, info_span};

use super::replies::Replies;
use crate::protocol::{self, Asked, Envelope, Refused};

/// Charges a message to the rate limits of its sender, and checks that the sender may write its keys.
pub(crate) fn admit(caller: &Caller, asked: Result<Asked, Refused>) -> Result<Asked, Refused> {
    let ops = asked.as_ref().map_or(1, Asked::ops);
    match caller.spend(ops) {
        Ok(()) => asked?.checked(|key| caller.may_write(key)),
        Err(problem) => Err(match asked {
            Ok(asked) => asked.refused(problem),
            Err(refused) => refused.instead(problem),
        }),
    }
}

/// Takes one write after another, unless it is closed.
pub(crate) struct Intake {
    writer: Writer,
    /// Whether a span per message goes anywhere.
    spans: bool,
    blocked: Option<Blocked>,
    alone: Alone,
}

/// A write that waits for room in its lane.
struct Blocked {
    submit: Pin<Box<dyn Future<Output = Result<Ticket, Refusal>> + Send>>,
    envelope: Envelope,
    bytes: usize,
}

/// Where an atomic write stands. Its keys may belong to several lanes, so it waits for what was sent before it, and holds
/// back what comes after it.
enum Alone {
    Nobody,
    Waiting(Write, Envelope, Instant),
    UnderWay,
}

impl Intake {
    pub(crate) fn new(writer: Writer, spans: bool) -> Self {
        Self { writer, spans, blocked: None, alone: Alone::Nobody }
    }

    /// Whether another write may be put in; as long as not, the socket is not read.
    pub(crate) fn is_open(&self) -> bool {
        match self.alone {
            Alone::Nobody => self.blocked.is_none(),
            Alone::Waiting(..) | Alone::UnderWay => false,
        }
    }

    /// Whether a write waits for room in its lane.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Takes in a write; `replies` are those still owed for the writes before it.
    ///
    /// # Panics
    /// If it is not open: the write that waits in it would be lost, and its reply.
    pub(crate) fn put(&mut self, write: Write, envelope: Envelope, replies: &mut Replies) {
        assert!(self.is_open(), "a write was put in before the one that waits had its turn");
        let deadline = self.writer.deadline();
        match write {
            Write::One(_) => self.submit(write, envelope, deadline, replies),
            Write::Atomic(_) => {
                self.alone = Alone::Waiting(write, envelope, deadline);
                self.proceed(replies);
            }
        }
    }

    /// Goes on with an atomic write, or after it, once nothing is owed any more.
    pub(crate) fn proceed(&mut self, replies: &mut Replies) {
        if !replies.is_empty() || self.is_blocked() {
            return;
        }
        match std::mem::replace(&mut self.alone, Alone::Nobody) {
            Alone::Waiting(write, envelope, deadline) => {
                self.alone = Alone::UnderWay;
                self.submit(write, envelope, deadline, replies);
            }
            Alone::UnderWay | Alone::Nobody => {}
        }
    }

    /// Waits until the blocked write has room, and for ever if there is none. May be dropped at any time.
    pub(crate) async fn unblock(&mut self) -> Result<Ticket, Refusal> {
        match &mut self.blocked {
            Some(blocked) => blocked.submit.as_mut().await,
            None => std::future::pending().await,
        }
    }

    /// What became of the blocked write.
    pub(crate) fn unblocked(&mut self, submitted: Result<Ticket, Refusal>, replies: &mut Replies) {
        let Blocked { envelope, bytes, .. } =
            self.blocked.take().expect("only a blocked write is waited for");
        match submitted {
            Ok(ticket) => replies.wait_for(ticket, envelope, bytes),
            Err(refusal) => replies.refuse(&protocol::not_written(envelope, refusal)),
        }
    }

    fn submit(&mut self, write: Write, envelope: Envelope, deadline: Instant, replies: &mut Replies) {
        let bytes = write.bytes();
        let place = if replies.is_empty() { Place::Front } else { Place::Back };
        let span = if self.spans {
            info_span!("message", otel.kind = "server", bytes, ops = write.ops().len())
        } else {
            Span::none()
        };
        match self.writer.try_submit(write, place, span, deadline) {
            Submitted::Queued(ticket) => replies.wait_for(ticket, envelope, bytes),
            Submitted::Returned(write, span) => {
                let writer = self.writer.clone();
                let submit = Box::pin(async move { writer.submit(write, place, span, deadline).await });
                self.blocked = Some(Blocked { submit, envelope, bytes });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::writer;
    use super::*;
    use crate::protocol::{Limits, parse};

    fn intake() -> Intake {
        Intake::new(writer(), false)
    }

    fn asked() -> Asked {
        let text = r#"{"op":"batch","ops":[{"key":"a","value":""}]}"#;
        let limits = Limits { key_bytes_max: 512, value_bytes_max: 512 };
        parse(text, limits, || 0).expect("it is a message")
    }

    #[tokio::test]
    #[should_panic(expected = "a write was put in before the one that waits had its turn")]
    async fn a_write_that_waits_is_not_replaced() {
        let (mut intake, mut replies) = (intake(), Replies::default());
        for Asked { write, envelope } in [asked(), asked()] {
            intake.put(write, envelope, &mut replies);
        }
    }

    #[tokio::test]
    #[should_panic(expected = "only a blocked write is waited for")]
    async fn no_write_is_unblocked_but_the_blocked_one() {
        intake().unblocked(Err(Refusal::Overloaded), &mut Replies::default());
    }
}
