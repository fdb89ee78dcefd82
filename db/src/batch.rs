//! A batch under way: the writes that one transaction carries, and what they are answered.

use std::time::{Duration, Instant};

use tracing::{Span, info_span};

use crate::entry::Write;
use crate::pending::Pending;
use crate::store::QUERY_TIMEOUT;
use crate::writer::{BatchReport, Refusal, WriterConfig};

/// How far past its deadline a write may be answered because a statement is under way.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// Revisions that the fence reserves before it is known how many the batch needs: enough for as many writes of one key
/// that show theirs. Those not needed are skipped.
pub(crate) const REVS: u64 = 512;

/// The writes of one batch that are not answered yet, and what was told of the others.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) pending: Vec<Pending>,
    /// A COMMIT of an attempt was sent whose fate is not known.
    pub(crate) commit_sent: bool,
    /// Transactions begun.
    pub(crate) attempts: u32,
    /// Revisions that the fence reserves.
    pub(crate) revs: u64,
    pub(crate) begun: Instant,
    /// The commit; linked to every message it carries.
    pub(crate) span: Span,
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
        self.span.follows_from(&pending.span);
        self.bytes += pending.write.bytes();
        self.ops += pending.write.ops().len();
        self.pending.push(pending);
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
            pending.acknowledge();
        }
    }

    /// Answers and takes out the writes whose deadline has passed: unknown if a COMMIT may have carried it out,
    /// `waiting` if none did.
    pub(crate) fn refuse_late(&mut self, waiting: Refusal) {
        let now = Instant::now();
        for pending in self.pending.extract_if(.., |pending| pending.deadline <= now) {
            let refusal = if pending.carried { Refusal::OutcomeUnknown } else { waiting };
            self.refused += 1;
            pending.answer(Err(refusal));
        }
    }

    /// Answers a write that is not to travel along.
    pub(crate) fn refuse(&mut self, pending: Pending, refusal: Refusal) {
        self.refused += 1;
        pending.answer(Err(refusal));
    }

    pub(crate) fn refuse_all(&mut self, refusal: Refusal) {
        self.refused += self.pending.len();
        for pending in self.pending.drain(..) {
            pending.answer(Err(refusal));
        }
    }

    /// What became of it, once every write is answered.
    pub(crate) fn report(&self) -> BatchReport {
        self.span.record("attempts", self.attempts);
        self.span.record("db.operation.batch.size", self.committed + self.refused);
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
