//! Gives the writes of a socket to the lanes, in the order in which they were sent. An atomic write waits until no other write of
//! the socket is under way.

use std::pin::Pin;

use chassis::access::Caller;
use db::{Priority, Refusal, Submitted, Ticket, Write, Writer};
use tokio::time::Instant;
use tracing::{Span, info_span};

use super::replies::Replies;
use crate::protocol::{self, Envelope, RefusedRequest, WriteRequest};

/// Charges a message to the rate limits of its sender, and checks that the sender may write its keys.
pub(crate) fn authorize(
    caller: &Caller,
    request: Result<WriteRequest, RefusedRequest>,
) -> Result<WriteRequest, RefusedRequest> {
    let ops = request.as_ref().map_or(1, WriteRequest::ops);
    match caller.spend(ops) {
        Ok(()) => request?.check_keys(|key| caller.may_write(key)),
        Err(problem) => Err(match request {
            Ok(request) => request.refuse(problem),
            Err(refused) => refused.with_problem(problem),
        }),
    }
}

/// Takes one write after another. While it is closed, the socket is not read.
pub(crate) struct Intake {
    writer: Writer,
    exports_spans: bool,
    blocked: Option<BlockedWrite>,
    atomic: AtomicState,
}

/// A write that waits because the queue of its lane is full.
struct BlockedWrite {
    submit: Pin<Box<dyn Future<Output = Result<Ticket, Refusal>> + Send>>,
    envelope: Envelope,
    bytes: usize,
}

/// The state of the atomic write, if there is one. Its keys may belong to several lanes. Therefore it waits for all writes before
/// it, and all writes after it wait for it.
enum AtomicState {
    None,
    /// It waits for the writes before it.
    Waiting(Write, Envelope, Instant),
    /// It is in its lane.
    UnderWay,
}

impl Intake {
    pub(crate) fn new(writer: Writer, exports_spans: bool) -> Self {
        Self { writer, exports_spans, blocked: None, atomic: AtomicState::None }
    }

    /// Whether it takes another write.
    pub(crate) fn is_open(&self) -> bool {
        match self.atomic {
            AtomicState::None => self.blocked.is_none(),
            AtomicState::Waiting(..) | AtomicState::UnderWay => false,
        }
    }

    /// Whether a write waits because the queue of its lane is full.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Whether it has a write that is not in a lane.
    pub(crate) fn holds_a_write(&self) -> bool {
        self.is_blocked() || matches!(self.atomic, AtomicState::Waiting(..))
    }

    /// Drops the write that is not in a lane, if there is one. It is not applied.
    pub(crate) fn clear(&mut self) {
        (self.blocked, self.atomic) = (None, AtomicState::None);
    }

    /// Takes a write with this deadline. `replies` are the replies that the socket still owes for the writes before it.
    ///
    /// # Panics
    /// If it is closed: the write that waits in it would be lost, and its reply with it.
    pub(crate) fn put(&mut self, write: Write, envelope: Envelope, deadline: Instant, replies: &mut Replies) {
        assert!(self.is_open(), "a write was put in while another one waits");
        match write {
            Write::One(_) => self.submit(write, envelope, deadline, replies),
            Write::Atomic(_) => {
                self.atomic = AtomicState::Waiting(write, envelope, deadline);
                self.proceed(replies);
            }
        }
    }

    /// Does nothing while the outcome of a write of the socket is not known. Otherwise submits the atomic write that waits. If an
    /// atomic write was under way instead, it has ended, and the intake is open again.
    pub(crate) fn proceed(&mut self, replies: &mut Replies) {
        if !replies.all_are_known() || self.is_blocked() {
            return;
        }
        match std::mem::replace(&mut self.atomic, AtomicState::None) {
            AtomicState::Waiting(write, envelope, deadline) => {
                self.atomic = AtomicState::UnderWay;
                self.submit(write, envelope, deadline, replies);
            }
            AtomicState::UnderWay | AtomicState::None => {}
        }
    }

    /// Waits until the queue takes the blocked write; without a blocked write it waits forever. Cancel-safe.
    pub(crate) async fn unblock(&mut self) -> Result<Ticket, Refusal> {
        match &mut self.blocked {
            Some(blocked) => blocked.submit.as_mut().await,
            None => std::future::pending().await,
        }
    }

    /// Takes the result of [`Intake::unblock`].
    pub(crate) fn unblocked(&mut self, submitted: Result<Ticket, Refusal>, replies: &mut Replies) {
        let BlockedWrite { envelope, bytes, .. } =
            self.blocked.take().expect("only a blocked write is unblocked");
        match submitted {
            Ok(ticket) => replies.push_waiting(ticket, envelope, bytes),
            Err(refusal) => replies.refuse(&protocol::not_written(envelope, refusal)),
        }
    }

    fn submit(&mut self, write: Write, envelope: Envelope, deadline: Instant, replies: &mut Replies) {
        let bytes = write.bytes();
        let priority = if replies.all_are_known() { Priority::High } else { Priority::Normal };
        let span = if self.exports_spans {
            info_span!(
                "message",
                otel.kind = "server",
                bytes = attribute(bytes),
                ops = attribute(write.ops().len())
            )
        } else {
            Span::none()
        };
        match self.writer.try_submit(write, priority, span, deadline) {
            Submitted::Queued(ticket) => replies.push_waiting(ticket, envelope, bytes),
            Submitted::Returned(write, span) => {
                let writer = self.writer.clone();
                let submit = Box::pin(async move { writer.submit(write, priority, span, deadline).await });
                self.blocked = Some(BlockedWrite { submit, envelope, bytes });
            }
        }
    }
}

/// `count` as an attribute of a span. Signed, because the span exporter writes unsigned numbers as text.
fn attribute(count: usize) -> i64 {
    i64::try_from(count).expect("a message has less than 2^63 bytes")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::writer;
    use super::*;
    use crate::protocol::{MessageLimits, UnknownMembers, parse};

    fn intake() -> Intake {
        Intake::new(writer(), false)
    }

    fn batch() -> WriteRequest {
        let text = r#"{"op":"batch","ops":[{"key":"a","value":""}]}"#;
        let limits = MessageLimits { key_bytes_max: 512, value_bytes_max: 512 };
        parse(text, limits, UnknownMembers::Ignored, || 0).expect("it is a message")
    }

    #[tokio::test]
    #[should_panic(expected = "a write was put in while another one waits")]
    async fn a_write_that_waits_is_not_replaced() {
        let (mut intake, mut replies) = (intake(), Replies::default());
        for WriteRequest { write, envelope } in [batch(), batch()] {
            let deadline = intake.writer.deadline();
            intake.put(write, envelope, deadline, &mut replies);
        }
    }

    #[tokio::test]
    #[should_panic(expected = "only a blocked write is unblocked")]
    async fn only_the_blocked_write_is_unblocked() {
        intake().unblocked(Err(Refusal::Overloaded), &mut Replies::default());
    }
}
