//! The replies that a socket owes, in message order. A reply is known, or its write is still in a lane.

use std::collections::VecDeque;

use chassis::problem::Code;
use db::{Outcome, Refusal, Ticket, WriteOutcome};
use futures_util::FutureExt;

use crate::protocol::{self, Envelope};

/// Limits of what one socket has in flight. At either limit reading pauses.
const OPS_IN_FLIGHT_MAX: usize = 1024;
const BYTES_IN_FLIGHT_MAX: usize = 8 * 1024 * 1024;

/// The outcome of a committed write, as metrics name it. Other outcomes are `not_found` and the codes of refusals.
pub(crate) const COMMITTED: &str = "committed";

/// The replies that a socket owes its client.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    /// Those that are known and wait until the client reads. They come before those of `queue`.
    known: VecDeque<KnownReply>,
    queue: VecDeque<OwedReply>,
    /// The bytes of the writes whose replies are not known.
    bytes: usize,
}

#[derive(Debug)]
enum OwedReply {
    Known(KnownReply),
    Waiting { ticket: Ticket, envelope: Envelope, bytes: usize },
}

#[derive(Debug)]
enum KnownReply {
    Refused {
        text: String,
        outcome: &'static str,
    },
    /// The outcome of a write. Its text may be much longer, and is made when it is sent.
    Outcome {
        envelope: Envelope,
        outcome: Result<WriteOutcome, Refusal>,
    },
}

impl Replies {
    /// Adds the reply to a write of `bytes` bytes.
    pub(crate) fn push_waiting(&mut self, ticket: Ticket, envelope: Envelope, bytes: usize) {
        self.bytes += bytes;
        self.queue.push_back(OwedReply::Waiting { ticket, envelope, bytes });
    }

    /// Adds a refusal.
    pub(crate) fn refuse(&mut self, refused: &protocol::RefusedRequest) {
        let outcome = refused.problem.code.as_str();
        self.queue.push_back(OwedReply::Known(KnownReply::Refused { text: refused.reply(), outcome }));
    }

    /// Whether another message may be read.
    pub(crate) fn have_room(&self) -> bool {
        self.known.len() + self.queue.len() < OPS_IN_FLIGHT_MAX && self.bytes < BYTES_IN_FLIGHT_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty() && self.all_are_known()
    }

    /// Whether the outcome of every write is known. Its reply may not be sent yet.
    pub(crate) fn all_are_known(&self) -> bool {
        self.queue.is_empty()
    }

    /// Drops all replies. Their writes are finished all the same.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
        self.queue.clear();
        self.bytes = 0;
    }

    /// Waits until one more reply is known. Cancel-safe.
    pub(crate) async fn next_is_known(&mut self) {
        let reply = match self.queue.front_mut() {
            Some(OwedReply::Waiting { ticket, .. }) => {
                let outcome = ticket.await;
                self.resolve(outcome)
            }
            Some(OwedReply::Known(_)) => self.take_known(),
            None => return,
        };
        self.known.push_back(reply);
    }

    /// Removes the first reply if it is known. Returns its text and its outcome.
    pub(crate) fn pop_known(&mut self) -> Option<(String, &'static str)> {
        if let Some(reply) = self.known.pop_front() {
            return Some(reply.render());
        }
        let reply = match self.queue.front_mut()? {
            OwedReply::Waiting { ticket, .. } => {
                let outcome = ticket.now_or_never()?;
                self.resolve(outcome)
            }
            OwedReply::Known(_) => self.take_known(),
        };
        Some(reply.render())
    }

    /// Removes the first reply of the queue, to whose write this outcome belongs.
    fn resolve(&mut self, outcome: Result<WriteOutcome, Refusal>) -> KnownReply {
        match self.queue.pop_front() {
            Some(OwedReply::Waiting { envelope, bytes, .. }) => {
                self.bytes -= bytes;
                KnownReply::Outcome { envelope, outcome }
            }
            Some(OwedReply::Known(_)) | None => panic!("an outcome came for a reply that is known"),
        }
    }

    /// Removes the first reply of the queue, which is known.
    fn take_known(&mut self) -> KnownReply {
        match self.queue.pop_front() {
            Some(OwedReply::Known(reply)) => reply,
            Some(OwedReply::Waiting { .. }) | None => panic!("a reply is taken that is not known"),
        }
    }
}

impl KnownReply {
    /// The text of the reply, and its outcome.
    fn render(self) -> (String, &'static str) {
        match self {
            Self::Refused { text, outcome } => (text, outcome),
            Self::Outcome { envelope, outcome: Ok(outcome) } => {
                (protocol::written(&envelope, &outcome), label(&outcome))
            }
            Self::Outcome { envelope, outcome: Err(refusal) } => {
                let refused = protocol::not_written(envelope, refusal);
                (refused.reply(), refused.problem.code.as_str())
            }
        }
    }
}

/// The outcome of a write, as metrics name it.
fn label(outcome: &WriteOutcome) -> &'static str {
    match outcome {
        WriteOutcome::One(Outcome::Created(_) | Outcome::Updated(_) | Outcome::Deleted(_))
        | WriteOutcome::All(_) => COMMITTED,
        WriteOutcome::One(Outcome::Absent) => "not_found",
        WriteOutcome::One(Outcome::Mismatch(_)) | WriteOutcome::Mismatch { .. } => Code::RevMismatch.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "an outcome came for a reply that is known")]
    fn a_reply_that_is_known_is_not_replaced() {
        let mut replies = Replies::default();
        replies.refuse(&protocol::binary());
        replies.resolve(Err(Refusal::Unavailable));
    }

    #[test]
    fn replies_are_taken_once_and_in_order() {
        let mut replies = Replies::default();
        replies.refuse(&protocol::binary());
        assert!(replies.pop_known().is_some_and(|(_, outcome)| outcome == Code::BadFrame.as_str()));
        assert!(replies.pop_known().is_none() && replies.is_empty());
    }
}
