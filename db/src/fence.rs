//! One attempt to commit a batch, by a protocol that finds out whether an earlier COMMIT took effect.
//!
//! Every batch of a lane has a number, its seq, and keeps it until all its writes have outcomes. Every transaction begins with
//! the fence: an UPDATE that sets the lane's row in `writers` to this seq if the row has a lower seq. When the answer to a COMMIT
//! is lost, the fence of the next attempt tells whether that COMMIT took effect:
//!
//! - The fence matches: no earlier attempt was committed or will be. The batch is planned and written again.
//! - The fence does not match, a COMMIT was sent, and the row has exactly this seq: that COMMIT took effect.
//! - Anything else proves nothing: somebody deleted, restored or changed the row. No other lane knows the id of this row.
//!
//! Before COMMIT, a lane that logs its changes adds the keys that the batch wrote to the log, under this seq.

mod limits;
mod link;
mod transaction;

use std::collections::HashSet;

use tracing::{debug, warn};

pub(crate) use limits::TimeLimits;
use link::{BeginError, FenceAnswer};
pub(crate) use link::{Link, fresh_id};
use transaction::FencedTransaction;

use crate::engine::{FoundLocks, WriteEngine};
use crate::entry::Key;
use crate::error::{Cause, Error};
use crate::lane::batch::Batch;
use crate::lane::batcher::Batcher;
use crate::plan::Plan;

/// The most parts of a transaction. Writes that arrive while one part is written form the next part. Without a limit, a steady
/// stream of writes would delay the COMMIT for ever.
pub(crate) const PARTS_MAX: usize = 4;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    /// The batch is committed, by this attempt or an earlier one.
    Committed,
    /// The database failed. Nothing was applied, or the fence of the next attempt will tell.
    RetryAfterBackoff,
    /// The database works, and nothing was applied: there was a conflict, a write of the batch was late, the batch needs more
    /// revisions than were reserved, or the lane has a new id.
    RetrySoon,
    /// The database refuses to write, and nothing was applied: to wait would not help.
    Refused,
    /// The database works, and nothing was applied: the batch is now without the writes that kept it from being committed.
    RetryAtOnce,
    /// A COMMIT was sent, and the fence row does not tell whether it took effect.
    Lost,
}

/// The state of an attempt before COMMIT.
enum PreparedAttempt<S> {
    /// All rows of the batch are written, and the outcome of each write is recorded.
    Written(FencedTransaction<S>),
    /// An earlier attempt is committed. Its outcomes are those of the batch.
    AlreadyCommitted,
}

impl<E: WriteEngine> Link<E> {
    /// One transaction: fence, reads if a write needs them, rows, COMMIT. Every outcome is known before COMMIT.
    ///
    /// In a first attempt, waiting writes join the batch until its COMMIT is sent, in up to [`PARTS_MAX`] parts.
    pub(crate) async fn attempt(&mut self, batch: &mut Batch, batcher: &mut Batcher) -> AttemptEnd {
        let transaction = match self.prepare(batch, batcher).await {
            Ok(PreparedAttempt::Written(transaction)) => transaction,
            Ok(PreparedAttempt::AlreadyCommitted) => return AttemptEnd::Committed,
            Err(ended) => return ended,
        };
        if batch.is_late() {
            // Before the rollback, which takes time.
            batch.refuse_late(batcher.refusal());
            self.roll_back_session(transaction.session, None, &mut TimeLimits::for_batch(batch, batcher))
                .await;
            return AttemptEnd::RetrySoon;
        }
        batch.mark_commit_sent();
        match self.commit(transaction, &mut TimeLimits::for_batch(batch, batcher)).await {
            Ok(()) => AttemptEnd::Committed,
            Err(Error::Refused(_)) => {
                batch.clear_outcomes();
                AttemptEnd::Refused
            }
            Err(error) => {
                // Any other answer to COMMIT but OK counts as a lost answer.
                self.note_lost_answer(&error);
                AttemptEnd::RetryAfterBackoff
            }
        }
    }

    /// Everything before COMMIT.
    async fn prepare(
        &mut self,
        batch: &mut Batch,
        batcher: &mut Batcher,
    ) -> Result<PreparedAttempt<E::Session>, AttemptEnd> {
        let mut transaction = match self.begin(batch.revs, &mut TimeLimits::for_batch(batch, batcher)).await {
            Ok(FenceAnswer::Passed(transaction)) => transaction,
            Ok(FenceAnswer::Missed(found)) => return self.missed(batch, found),
            Err(BeginError(error)) => return Err(self.failed(batch, &error)),
        };
        // No earlier attempt of this batch took effect or will.
        batch.clear_outcomes();
        batcher.add_free(batch);
        batcher.add_waiting(batch, 0);
        let checks_locks = batcher.checks_locks() || batcher.must_check();
        let mut absent = None;
        if checks_locks {
            let checked = self.check_locks(transaction, batch, batcher).await?;
            (transaction, absent) = (checked.0, Some(checked.1));
        }
        // A part that joins later would be written without a look at its locks.
        let parts_max = if checks_locks { 1 } else { PARTS_MAX };
        let mut written = 0;
        for part in 1.. {
            let plan = Plan::new(batch.writes_from(written));
            if plan.revs() > transaction.reserved() {
                batch.revs = plan.revs();
                self.roll_back_session(transaction.session, None, &mut TimeLimits::for_batch(batch, batcher))
                    .await;
                return Err(AttemptEnd::RetrySoon);
            }
            match transaction.write(plan, &mut TimeLimits::for_batch(batch, batcher)).await {
                Ok(outcomes) => batch.record_outcomes(written, outcomes),
                Err(error) => {
                    // Rows that cannot be written say nothing against the connection.
                    let broken = match &error {
                        Error::Internal(_) => None,
                        error @ (Error::Conflict(_)
                        | Error::Unavailable(_)
                        | Error::Refused(_)
                        | Error::NotReady(_)) => Some(error),
                    };
                    // Before the rollback, which takes time.
                    batch.refuse_late(batcher.refusal());
                    let mut limits = TimeLimits::for_batch(batch, batcher);
                    self.roll_back_session(transaction.session, broken, &mut limits).await;
                    return Err(self.rows_failed(batch, batcher, &error, absent.as_ref()));
                }
            }
            written = batch.len();
            if part < parts_max {
                batcher.add_waiting(batch, written);
            }
            if batch.len() == written {
                break;
            }
        }
        self.log_changes(transaction, batch, batcher).await
    }

    /// Logs the keys that the batch wrote, after everything else: whatever fails before, nothing is logged.
    async fn log_changes(
        &mut self,
        mut transaction: FencedTransaction<E::Session>,
        batch: &mut Batch,
        batcher: &mut Batcher,
    ) -> Result<PreparedAttempt<E::Session>, AttemptEnd> {
        let mut limits = TimeLimits::for_batch(batch, batcher);
        let error = match transaction.log(self.id(), self.seq(), &mut limits).await {
            Ok(keys) => {
                batch.logged = keys;
                return Ok(PreparedAttempt::Written(transaction));
            }
            Err(error) => error,
        };
        // Before the rollback, which takes time.
        batch.refuse_late(batcher.refusal());
        let mut limits = TimeLimits::for_batch(batch, batcher);
        self.roll_back_session(transaction.session, Some(&error), &mut limits).await;
        Err(self.failed(batch, &error))
    }

    /// Looks, without waiting, which keys somebody else holds locked. If there are some, their writes are set aside and the attempt
    /// ends, because the look may have ended the transaction. Otherwise every row of the batch that exists is now locked for it; also
    /// returns the keys that have no row.
    async fn check_locks(
        &mut self,
        mut transaction: FencedTransaction<E::Session>,
        batch: &mut Batch,
        batcher: &mut Batcher,
    ) -> Result<(FencedTransaction<E::Session>, HashSet<Key>), AttemptEnd> {
        let keys = batcher.keys_to_check(batch);
        let sorted: Vec<&Key> = keys.iter().collect();
        let result = transaction.find_locked(&sorted, &mut TimeLimits::for_batch(batch, batcher)).await;
        // Before the rollback, which takes time.
        batch.refuse_late(batcher.refusal());
        let (error, end) = match result {
            Ok(FoundLocks { locked, absent }) => {
                batcher.note_locks(batch, &keys, &locked);
                if locked.is_empty() {
                    batcher.add_free(batch);
                    if batch.len() > 0 {
                        return Ok((transaction, absent));
                    }
                }
                (None, AttemptEnd::RetryAtOnce)
            }
            Err(error) => {
                let end = self.failed(batch, &error);
                (Some(error), end)
            }
        };
        let mut limits = TimeLimits::for_batch(batch, batcher);
        self.roll_back_session(transaction.session, error.as_ref(), &mut limits).await;
        Err(end)
    }

    /// The end of an attempt after an `error` while its rows were read or written. `absent`: a look has found no row of the batch locked,
    /// and no rows of these keys.
    fn rows_failed(
        &self,
        batch: &mut Batch,
        batcher: &mut Batcher,
        error: &Error,
        absent: Option<&HashSet<Key>>,
    ) -> AttemptEnd {
        match error {
            Error::Conflict(reason @ Cause::LockWait(_)) => {
                debug!(lane = self.id(), %reason, locks_were_checked = absent.is_some(), "a lock wait; the batch goes on without the locked keys");
                batcher.check_locks_for_a_while();
                // A lock on a gap between rows, which cannot be seen, keeps others from adding rows there.
                if let Some(absent) = absent
                    && batch.len() > 0
                    && !batcher.take_apart(batch, absent)
                {
                    batcher.set_waiting_aside(batch);
                }
                AttemptEnd::RetryAtOnce
            }
            Error::Internal(reason) => {
                debug!(lane = self.id(), %reason, "a key of the batch cannot be written; its keys are tried in smaller parts");
                if batch.len() > 0 && !batcher.take_apart(batch, &HashSet::new()) {
                    batcher.refuse_unwritable(batch, error);
                }
                AttemptEnd::RetryAtOnce
            }
            Error::Unavailable(Cause::Timeout(_)) => {
                // Where writes have less time than a lock wait takes, this is how a locked row shows.
                batcher.check_locks_for_a_while();
                self.failed(batch, error)
            }
            Error::Conflict(_) | Error::Unavailable(_) | Error::Refused(_) | Error::NotReady(_) => {
                self.failed(batch, error)
            }
        }
    }

    /// What follows if the fence matched no row. `found` is the seq in the lane's row; `None` if the row is gone.
    fn missed(
        &mut self,
        batch: &Batch,
        found: Option<u64>,
    ) -> Result<PreparedAttempt<E::Session>, AttemptEnd> {
        if batch.commit_sent() && found == Some(self.seq()) {
            return Ok(PreparedAttempt::AlreadyCommitted);
        }
        warn!(
            lane = self.id(),
            expected = self.seq(),
            ?found,
            "the fence row was changed by somebody else; the lane goes on under a new id"
        );
        self.renew_id();
        Err(if batch.commit_sent() { AttemptEnd::Lost } else { AttemptEnd::RetrySoon })
    }

    /// The end of an attempt after an `error` before COMMIT.
    fn failed(&self, batch: &Batch, error: &Error) -> AttemptEnd {
        match error {
            // What became of an earlier COMMIT is not known yet.
            Error::Refused(_) if batch.commit_sent() => AttemptEnd::RetryAfterBackoff,
            Error::Refused(_) => AttemptEnd::Refused,
            Error::Conflict(reason) => {
                debug!(lane = self.id(), %reason, "conflict; the batch is tried again");
                AttemptEnd::RetrySoon
            }
            Error::Unavailable(_) | Error::NotReady(_) | Error::Internal(_) => AttemptEnd::RetryAfterBackoff,
        }
    }
}
