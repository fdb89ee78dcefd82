//! An open transaction of a lane, between its fence and its COMMIT.

use super::limits::TimeLimits;
use crate::engine::{FoundLocks, WriteSession};
use crate::entry::{Key, Rev, WriteOutcome};
use crate::error::Error;
use crate::plan::Plan;
use crate::sweeper::hint::Hint;

/// A transaction whose fence has matched, and its connection.
///
/// Only [`super::link::Link`] begins and ends one. Dropping it closes the connection, and the database rolls back.
#[derive(Debug)]
pub(crate) struct FencedTransaction<S> {
    pub(super) session: S,
    /// The last revision that the fence reserved.
    last: Rev,
    reserved: u64,
    /// The keys that were written, each once. Empty if the lane does not log its changes.
    written: Vec<Key>,
    logs: bool,
}

impl<S: WriteSession> FencedTransaction<S> {
    /// The transaction on `session`, whose fence reserved `reserved` revisions up to `last`. `logs`: the lane logs its changes.
    pub(super) fn new(session: S, last: Rev, reserved: u64, logs: bool) -> Self {
        Self { session, last, reserved, written: Vec::new(), logs }
    }

    /// How many revisions are reserved.
    pub(super) fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Writes the rows of `plan`, which must need no more revisions than are reserved, and no key that this transaction has written
    /// already. Returns the outcome of each write.
    pub(super) async fn write(
        &mut self,
        plan: Plan<'_>,
        limits: &mut TimeLimits<'_>,
    ) -> Result<Vec<WriteOutcome>, Error> {
        let log = self.logs.then_some(&mut self.written);
        limits.statement(write(&mut self.session, plan, self.last, log)).await
    }

    /// Logs the keys that were written, as those of the batch `seq` of `lane`, if there are any. Returns how many there are.
    pub(super) async fn log(
        &mut self,
        lane: u64,
        seq: u64,
        limits: &mut TimeLimits<'_>,
    ) -> Result<usize, Error> {
        if !self.written.is_empty() {
            limits.statement(self.session.log_changes(lane, seq, &self.written)).await?;
        }
        Ok(self.written.len())
    }

    /// Which of `keys` somebody else holds locked, see [`WriteSession::find_locked`].
    pub(super) async fn find_locked(
        &mut self,
        keys: &[&Key],
        limits: &mut TimeLimits<'_>,
    ) -> Result<FoundLocks, Error> {
        limits.statement(self.session.find_locked(keys)).await
    }
}

/// `log`: where to note the keys, if they are to be logged.
async fn write<S: WriteSession>(
    session: &mut S,
    mut plan: Plan<'_>,
    last: Rev,
    log: Option<&mut Vec<Key>>,
) -> Result<Vec<WriteOutcome>, Error> {
    let current = session.read_for_update(&plan.keys_to_read()).await?;
    plan.check(&current)?;
    let rows = plan.decide(last, &current);
    session.insert(&rows.insert).await?;
    session.overwrite(&rows.overwrite).await?;
    let upserted = session.upsert(&rows.upsert).await?;

    let all = [rows.insert, rows.overwrite, rows.upsert];
    let hints: Vec<Hint> = all.iter().flatten().filter_map(|row| Hint::of(row, log.is_some())).collect();
    session.add_hints(&hints).await?;
    if let Some(written) = log {
        written.extend(all.iter().flatten().map(|row| row.key.clone()));
    }
    Ok(plan.outcomes(&upserted))
}
