//! A write on its way through a lane, and its answer.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;
use tracing::Span;

use crate::entry::{Refusal, Write, WriteOutcome};

/// A write in a lane.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) write: Write,
    pub(crate) deadline: Instant,
    /// The message this write came in; the commit links to it.
    pub(crate) span: Span,
    /// Its outcome, if the transaction under way commits.
    pub(crate) settled: Option<WriteOutcome>,
    answer: oneshot::Sender<Result<WriteOutcome, Refusal>>,
    _bytes: OwnedSemaphorePermit,
}

/// The answer to one write, to be awaited. Dropping it does not undo the write.
#[derive(Debug)]
pub struct Ticket(oneshot::Receiver<Result<WriteOutcome, Refusal>>);

impl Pending {
    pub(crate) fn new(
        write: Write,
        span: Span,
        bytes: OwnedSemaphorePermit,
        deadline: Instant,
    ) -> (Self, Ticket) {
        let (answer, ticket) = oneshot::channel();
        let pending = Self { write, deadline, span, settled: None, answer, _bytes: bytes };
        (pending, Ticket(ticket))
    }

    /// Answers with its outcome: the transaction is committed.
    pub(crate) fn acknowledge(mut self) {
        let settled = self.settled.take().expect("an attempt that was committed has settled what it carries");
        self.answer(Ok(settled));
    }

    /// Sends the answer. If the client is gone, the answer is dropped.
    pub(crate) fn answer(self, answer: Result<WriteOutcome, Refusal>) {
        if self.answer.send(answer).is_err() {
            tracing::trace!("a write was settled after its client had gone");
        }
    }
}

impl Future for Ticket {
    type Output = Result<WriteOutcome, Refusal>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A lane that dies without an answer may have died after COMMIT.
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or(Err(Refusal::OutcomeUnknown)))
    }
}
