//! A batch under way: the writes that one transaction carries, and what they are answered.

use std::time::{Duration, Instant};

use crate::store::QUERY_TIMEOUT;
use crate::writer::{BatchReport, Pending, Refusal};

/// How far past its deadline a write may be answered because a statement is under way.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// The writes of one batch that are not answered yet, and what was told of the others.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) pending: Vec<Pending>,
    /// A COMMIT of an attempt was sent whose fate is not known.
    pub(crate) commit_sent: bool,
    /// Transactions begun.
    pub(crate) attempts: u32,
    pub(crate) begun: Instant,
    committed: usize,
    refused: usize,
}

impl Batch {
    pub(crate) fn new(pending: Vec<Pending>) -> Self {
        Self { pending, commit_sent: false, attempts: 0, begun: Instant::now(), committed: 0, refused: 0 }
    }

    /// A COMMIT that carries every write of it is about to be sent.
    pub(crate) fn send_commit(&mut self) {
        self.commit_sent = true;
        for pending in &mut self.pending {
            pending.carried = true;
        }
    }

    /// Every COMMIT sent so far is known to have had no effect.
    pub(crate) fn void(&mut self) {
        self.commit_sent = false;
        for pending in &mut self.pending {
            pending.carried = false;
        }
    }

    /// The last attempt whose fence matched is committed: answers each write what that attempt found out.
    pub(crate) fn acknowledge(&mut self) {
        self.committed += self.pending.len();
        for pending in self.pending.drain(..) {
            let answer = pending.outcome.ok_or(Refusal::OutcomeUnknown);
            pending.answer(answer);
        }
    }

    /// Answers and takes out the writes whose deadline has passed, or will before `lead` is over: unknown if a
    /// COMMIT may have carried it out, `waiting` if none did.
    pub(crate) fn refuse_late(&mut self, lead: Duration, waiting: Refusal) {
        let late = Instant::now() + lead;
        for pending in self.pending.extract_if(.., |pending| pending.deadline <= late) {
            let refusal = if pending.carried { Refusal::OutcomeUnknown } else { waiting };
            self.refused += 1;
            pending.answer(Err(refusal));
        }
    }

    pub(crate) fn refuse_all(&mut self, refusal: Refusal) {
        self.refused += self.pending.len();
        for pending in self.pending.drain(..) {
            pending.answer(Err(refusal));
        }
    }

    pub(crate) fn report(&self) -> BatchReport {
        let (attempts, elapsed) = (self.attempts, self.begun.elapsed());
        BatchReport { committed: self.committed, refused: self.refused, attempts, elapsed }
    }

    /// Whether a write fell due while the transaction was built.
    pub(crate) fn is_late(&self) -> bool {
        let now = Instant::now();
        self.pending.iter().any(|pending| pending.deadline <= now)
    }

    /// How long one statement may take: as long as a query may, not much past the first deadline.
    pub(crate) fn time_left(&self) -> Duration {
        QUERY_TIMEOUT.min(self.until_deadline().max(GRACE))
    }

    /// How long the write with the first deadline still has.
    pub(crate) fn until_deadline(&self) -> Duration {
        let first = self.pending.iter().map(|pending| pending.deadline).min();
        first.map(|at| at.saturating_duration_since(Instant::now())).unwrap_or_default()
    }
}
