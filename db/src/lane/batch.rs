//! A batch: the writes of one transaction, and their outcomes.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{Span, info_span};

use crate::entry::{Key, Refusal, Write, WriteOutcome};
use crate::lane::config::{BatchReport, WriterConfig};
use crate::lane::pending::PendingWrite;

/// How long after its deadline a write may get its outcome, because a statement is running.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// How many revisions the fence reserves before the need of the batch is known. They are too few only if one key has more ops in
/// the batch. Unused revisions are skipped.
pub(crate) const REVS_RESERVED: u64 = 512;

/// The writes of a batch that have no outcome yet, and figures of the whole batch.
#[derive(Debug)]
pub(crate) struct Batch {
    pending: Vec<PendingWrite>,
    /// Whether a COMMIT with every write of the batch was sent and its outcome is unknown.
    commit_sent: bool,
    /// Whether no waiting write may join, see [`Batch::close`].
    is_closed: bool,
    /// Attempts, including those that got no connection.
    attempts: u32,
    /// Revisions that the fence reserves.
    pub(crate) revs: u64,
    begun: Instant,
    /// The commit. Links to the message of every write.
    span: Span,
    /// The bytes of all writes, finished ones included, see [`Write::bytes`].
    bytes: usize,
    /// The ops of all writes, finished ones included.
    ops: usize,
    committed: usize,
    refused: usize,
    /// The keys that the present transaction has logged; once it is committed, those of the batch.
    pub(crate) logged: usize,
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
            is_closed: false,
            attempts: 0,
            revs: REVS_RESERVED,
            begun: Instant::now(),
            span,
            bytes: 0,
            ops: 0,
            committed: 0,
            refused: 0,
            logged: 0,
        }
    }

    /// How many writes have no outcome yet.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn pending(&self) -> &[PendingWrite] {
        &self.pending
    }

    /// The writes without an outcome, except the first `written`.
    pub(crate) fn writes_from(&self, written: usize) -> impl Iterator<Item = &Write> {
        self.pending[written..].iter().map(|pending| &pending.write)
    }

    /// Lets no waiting write join any more: the batch is to show which of its writes cannot be committed.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether no waiting write may join.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The keys of all writes, in order, each once.
    pub(crate) fn keys(&self) -> BTreeSet<&Key> {
        self.writes_from(0).flat_map(Write::ops).map(|op| &op.key).collect()
    }

    /// Takes out the writes that `leaves` names. They are not committed, and no COMMIT with them is under way.
    pub(crate) fn take_out(&mut self, mut leaves: impl FnMut(&Write) -> bool) -> Vec<PendingWrite> {
        assert!(!self.commit_sent, "a COMMIT that was sent carries every write of its batch");
        let taken: Vec<PendingWrite> =
            self.pending.extract_if(.., |pending| leaves(&pending.write)).collect();
        for pending in &taken {
            self.bytes -= pending.write.bytes();
            self.ops -= pending.write.ops().len();
        }
        taken
    }

    /// Into how many units its writes can be taken apart: the single writes of each key, and each atomic write.
    pub(crate) fn units(&self) -> usize {
        let (atomic, single): (Vec<&Write>, Vec<&Write>) =
            self.writes_from(0).partition(|write| write.is_atomic());
        atomic.len() + single.into_iter().map(first_key).collect::<BTreeSet<_>>().len()
    }

    /// Whether the batch is full.
    pub(crate) fn is_full(&self, config: &WriterConfig) -> bool {
        self.ops >= config.batch_ops_max.get() || self.bytes >= config.batch_bytes_max
    }

    /// Whether `write` fits. The first write always does.
    pub(crate) fn has_room(&self, write: &Write, config: &WriterConfig) -> bool {
        self.pending.is_empty() || self.has_room_for(write.ops().len(), write.bytes(), config)
    }

    /// Says of one write after the other whether it fits, too. The first one always does.
    pub(crate) fn room(&self, config: &WriterConfig) -> impl FnMut(&PendingWrite) -> bool {
        let (mut is_first, mut ops, mut bytes) = (self.pending.is_empty(), 0, 0);
        move |pending| {
            (ops, bytes) = (ops + pending.write.ops().len(), bytes + pending.write.bytes());
            std::mem::take(&mut is_first) || self.has_room_for(ops, bytes, config)
        }
    }

    /// Whether writes of `ops` ops and `bytes` bytes fit.
    fn has_room_for(&self, ops: usize, bytes: usize, config: &WriterConfig) -> bool {
        let (ops, bytes) = (self.ops + ops, self.bytes + bytes);
        ops <= config.batch_ops_max.get() && bytes <= config.batch_bytes_max
    }

    pub(crate) fn add(&mut self, pending: PendingWrite) {
        assert!(!self.commit_sent, "a COMMIT that was sent carries every write of its batch");
        self.span.follows_from(&pending.span);
        self.bytes += pending.write.bytes();
        self.ops += pending.write.ops().len();
        self.pending.push(pending);
    }

    /// Counts another attempt. Returns the span of the commit.
    pub(crate) fn begin_attempt(&mut self) -> Span {
        self.attempts += 1;
        self.span.clone()
    }

    /// Whether there was no attempt yet.
    pub(crate) fn is_untried(&self) -> bool {
        self.attempts == 0
    }

    /// Whether the present attempt is the first one.
    pub(crate) fn is_first_attempt(&self) -> bool {
        self.attempts == 1
    }

    /// Records the outcomes of the writes after the first `written`. They are valid if the present transaction commits.
    pub(crate) fn record_outcomes(&mut self, written: usize, outcomes: Vec<WriteOutcome>) {
        let pending = &mut self.pending[written..];
        assert_eq!(pending.len(), outcomes.len(), "a plan has an outcome for each of its writes");
        for (pending, outcome) in pending.iter_mut().zip(outcomes) {
            pending.outcome = Some(outcome);
        }
    }

    /// Notes that a COMMIT with every write of the batch is about to be sent.
    pub(crate) fn mark_commit_sent(&mut self) {
        assert!(
            self.pending.iter().all(|pending| pending.outcome.is_some()),
            "outcomes are known before COMMIT"
        );
        self.commit_sent = true;
    }

    /// Whether a COMMIT was sent whose outcome is unknown.
    pub(crate) fn commit_sent(&self) -> bool {
        self.commit_sent
    }

    /// No COMMIT of an earlier attempt took effect or will: forgets its outcomes.
    pub(crate) fn clear_outcomes(&mut self) {
        (self.commit_sent, self.logged) = (false, 0);
        for pending in &mut self.pending {
            pending.outcome = None;
        }
    }

    /// The last attempt whose fence matched is committed: gives each write its outcome.
    pub(crate) fn acknowledge(&mut self) {
        self.committed += self.pending.len();
        for pending in self.pending.drain(..) {
            pending.acknowledge();
        }
    }

    /// Refuses the writes whose deadline has passed: with [`Refusal::OutcomeUnknown`] if a COMMIT may have applied them, otherwise
    /// with `if_not_sent`.
    pub(crate) fn refuse_late(&mut self, if_not_sent: Refusal) {
        let now = Instant::now();
        let refusal = if self.commit_sent { Refusal::OutcomeUnknown } else { if_not_sent };
        for pending in self.pending.extract_if(.., |pending| pending.deadline <= now) {
            self.refused += 1;
            pending.finish(Err(refusal));
        }
    }

    /// Refuses all writes with `refusal`.
    pub(crate) fn refuse_all(&mut self, refusal: Refusal) {
        assert!(
            !self.commit_sent || refusal == Refusal::OutcomeUnknown,
            "after COMMIT was sent, only the fence tells that a write is not applied"
        );
        self.refused += self.pending.len();
        for pending in self.pending.drain(..) {
            pending.finish(Err(refusal));
        }
    }

    /// The time since the batch was taken out of the queue.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Whether a write of the batch got its outcome as a part of it.
    pub(crate) fn has_outcomes(&self) -> bool {
        self.committed + self.refused > 0
    }

    /// The report of the batch. Counts `refused_waiting` more refusals, of writes that were still in the queue.
    pub(crate) fn report(&self, refused_waiting: usize) -> BatchReport {
        assert!(self.pending.is_empty(), "a batch is finished when each of its writes is");
        // Signed, because the span exporter writes unsigned numbers as text.
        let size = i64::try_from(self.committed + self.refused).expect("a batch fits into memory");
        self.span.record("attempts", i64::from(self.attempts));
        self.span.record("db.operation.batch.size", size);
        let (attempts, elapsed) = (self.attempts, self.elapsed());
        let refused = self.refused + refused_waiting;
        BatchReport { committed: self.committed, refused, attempts, logged: self.logged, elapsed }
    }

    /// Whether the deadline of a write has passed.
    pub(crate) fn is_late(&self) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= Instant::now())
    }

    /// The first deadline of its writes. `None` if there are no writes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.deadline).min()
    }
}

/// The key of a single write; the first one of an atomic write.
pub(crate) fn first_key(write: &Write) -> &Key {
    &write.ops().first().expect("a write has an op").key
}

#[cfg(test)]
mod tests;
