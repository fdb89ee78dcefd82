//! A batch under way: the writes that one transaction carries, and what they are answered.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{Span, info_span};

use crate::entry::{Settled, Write};
use crate::pending::Pending;
use crate::writer::{BatchReport, Refusal, WriterConfig};

/// How far past its deadline a write may be answered because a statement is under way.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// Revisions that the fence reserves before it is known how many the batch needs: enough for as many writes of one key
/// that show theirs. Those not needed are skipped.
pub(crate) const REVS: u64 = 512;

/// The writes of one batch that are not answered yet, and what was told of the others.
#[derive(Debug)]
pub(crate) struct Batch {
    pending: Vec<Pending>,
    /// A COMMIT that carries every write of it was sent, and what became of it is not known.
    commit_sent: bool,
    /// Transactions begun.
    attempts: u32,
    /// Revisions that the fence reserves.
    pub(crate) revs: u64,
    begun: Instant,
    /// The commit; linked to every message it carries.
    span: Span,
    /// Keys and values of all writes that were ever in it, and their ops.
    bytes: usize,
    ops: usize,
    committed: usize,
    refused: usize,
}

impl Batch {
    pub(crate) fn new() -> Self {
        let span = info_span!(
            "commit",
            otel.kind = "client",
            db.operation.batch.size = tracing::field::Empty,
            attempts = tracing::field::Empty,
        );
        Self {
            pending: Vec::new(),
            commit_sent: false,
            attempts: 0,
            revs: REVS,
            begun: Instant::now(),
            span,
            bytes: 0,
            ops: 0,
            committed: 0,
            refused: 0,
        }
    }

    /// How many writes are not answered yet.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn pending(&self) -> &[Pending] {
        &self.pending
    }

    /// The writes that are not answered yet, but for the first `written`.
    pub(crate) fn writes_from(&self, written: usize) -> impl Iterator<Item = &Write> {
        self.pending[written..].iter().map(|pending| &pending.write)
    }

    /// Whether nothing fits any more.
    pub(crate) fn is_full(&self, config: &WriterConfig) -> bool {
        self.ops >= config.batch_ops_max.get() || self.bytes >= config.batch_bytes_max
    }

    /// Whether `write` fits; the first always does.
    pub(crate) fn has_room(&self, write: &Write, config: &WriterConfig) -> bool {
        let ops = self.ops + write.ops().len();
        self.pending.is_empty()
            || ops <= config.batch_ops_max.get() && self.bytes + write.bytes() <= config.batch_bytes_max
    }

    pub(crate) fn add(&mut self, pending: Pending) {
        assert!(!self.commit_sent, "a COMMIT that was sent carries every write of its batch");
        self.span.follows_from(&pending.span);
        self.bytes += pending.write.bytes();
        self.ops += pending.write.ops().len();
        self.pending.push(pending);
    }

    /// Another attempt begins.
    pub(crate) fn attempt(&mut self) -> Span {
        self.attempts += 1;
        self.span.clone()
    }

    /// Whether no attempt but this one was ever begun.
    pub(crate) fn is_first_attempt(&self) -> bool {
        self.attempts == 1
    }

    /// The writes behind the first `written` are carried out in the transaction under way: what becomes of each if it is
    /// committed.
    pub(crate) fn settle_from(&mut self, written: usize, settled: Vec<Settled>) {
        let pending = &mut self.pending[written..];
        assert_eq!(pending.len(), settled.len(), "a plan settles each of its writes");
        for (pending, settled) in pending.iter_mut().zip(settled) {
            pending.settled = Some(settled);
        }
    }

    /// A COMMIT that carries every write of it is about to be sent.
    pub(crate) fn send_commit(&mut self) {
        assert!(
            self.pending.iter().all(|pending| pending.settled.is_some()),
            "outcomes are known before COMMIT"
        );
        self.commit_sent = true;
    }

    /// Whether a COMMIT of an attempt was sent of which nobody knows what became.
    pub(crate) fn commit_sent(&self) -> bool {
        self.commit_sent
    }

    /// Every COMMIT sent so far is known to have had no effect, and what its attempt found out means nothing any more.
    pub(crate) fn void(&mut self) {
        self.commit_sent = false;
        for pending in &mut self.pending {
            pending.settled = None;
        }
    }

    /// The last attempt whose fence matched is committed: answers each write what that attempt found out.
    pub(crate) fn acknowledge(&mut self) {
        self.committed += self.pending.len();
        for pending in self.pending.drain(..) {
            pending.acknowledge();
        }
    }

    /// Answers and takes out the writes whose deadline has passed: unknown if a COMMIT may have carried it out,
    /// `waiting` if none did.
    pub(crate) fn refuse_late(&mut self, waiting: Refusal) {
        let now = Instant::now();
        let refusal = if self.commit_sent { Refusal::OutcomeUnknown } else { waiting };
        for pending in self.pending.extract_if(.., |pending| pending.deadline <= now) {
            self.refused += 1;
            pending.answer(Err(refusal));
        }
    }

    /// Answers every write that a COMMIT carried of which nobody can know any more what became.
    pub(crate) fn lose(&mut self) {
        self.refused += self.pending.len();
        for pending in self.pending.drain(..) {
            pending.answer(Err(Refusal::OutcomeUnknown));
        }
    }

    /// How long ago it was taken out of the queue.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What became of it, once every write is answered, and so many more were refused while they waited.
    pub(crate) fn report(&self, refused_waiting: usize) -> BatchReport {
        assert!(self.pending.is_empty(), "a batch is settled when each of its writes is answered");
        self.span.record("attempts", self.attempts);
        self.span.record("db.operation.batch.size", self.committed + self.refused);
        let (attempts, elapsed) = (self.attempts, self.elapsed());
        let refused = self.refused + refused_waiting;
        BatchReport { committed: self.committed, refused, attempts, elapsed }
    }

    /// Whether a write fell due while the transaction was built.
    pub(crate) fn is_late(&self) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= Instant::now())
    }

    /// The first deadline of its writes, if there are any.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.deadline).min()
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
