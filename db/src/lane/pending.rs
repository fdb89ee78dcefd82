//! A write in a lane, and its ticket.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;
use tracing::Span;

use crate::entry::{Refusal, Write, WriteOutcome};

/// A write in a lane.
#[derive(Debug)]
pub(crate) struct PendingWrite {
    pub(crate) write: Write,
    pub(crate) deadline: Instant,
    /// The message of this write. The span of the commit links to it.
    pub(crate) span: Span,
    /// The outcome of this write if the present transaction commits.
    pub(crate) outcome: Option<WriteOutcome>,
    sender: oneshot::Sender<Result<WriteOutcome, Refusal>>,
    /// Its bytes of the queue, until it is dropped.
    _permit: OwnedSemaphorePermit,
}

/// A future of the outcome of a queued write. Dropping it does not undo the write.
#[derive(Debug)]
pub struct Ticket(oneshot::Receiver<Result<WriteOutcome, Refusal>>);

impl PendingWrite {
    pub(crate) fn new(
        write: Write,
        span: Span,
        permit: OwnedSemaphorePermit,
        deadline: Instant,
    ) -> (Self, Ticket) {
        let (sender, ticket) = oneshot::channel();
        let pending = Self { write, deadline, span, outcome: None, sender, _permit: permit };
        (pending, Ticket(ticket))
    }

    /// Gives the ticket its outcome: the transaction is committed.
    pub(crate) fn acknowledge(mut self) {
        let outcome = self.outcome.take().expect("a committed attempt has an outcome for each write");
        self.finish(Ok(outcome));
    }

    /// Gives the ticket its result. If the ticket is dropped, the result is dropped too.
    pub(crate) fn finish(self, result: Result<WriteOutcome, Refusal>) {
        if self.sender.send(result).is_err() {
            tracing::trace!("the client of a write was gone before its outcome");
        }
    }
}

impl Future for Ticket {
    type Output = Result<WriteOutcome, Refusal>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A lane that died without a result may have died after COMMIT.
        Pin::new(&mut self.0).poll(cx).map(|result| result.unwrap_or(Err(Refusal::OutcomeUnknown)))
    }
}
