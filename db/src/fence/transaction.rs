//! An open transaction of a lane, between its fence and its COMMIT.

use super::limits::TimeLimits;
use crate::engine::WriteSession;
use crate::entry::{Rev, Settled};
use crate::error::Error;
use crate::plan::Plan;
use crate::sweeper::hint::Hint;

/// A transaction whose fence has matched, with the connection it is open on.
///
/// Only [`super::link::Link`] begins and ends one. To drop it closes the connection, and the database rolls back.
#[derive(Debug)]
pub(crate) struct Transaction<S> {
    pub(super) session: S,
    /// The last of the revisions that the fence reserved.
    last: Rev,
    reserved: u64,
}

impl<S: WriteSession> Transaction<S> {
    /// The transaction on `session`, whose fence reserved so many revisions up to `last`.
    pub(super) fn new(session: S, last: Rev, reserved: u64) -> Self {
        Self { session, last, reserved }
    }

    /// How many revisions are reserved.
    pub(super) fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Carries out `plan`, which needs no more revisions than are reserved and no key that this transaction has written. Gives
    /// what became of every write.
    pub(super) async fn write(
        &mut self,
        plan: Plan<'_>,
        limits: &mut TimeLimits<'_>,
    ) -> Result<Vec<Settled>, Error> {
        limits.statement(carry_out(&mut self.session, plan, self.last)).await
    }
}

async fn carry_out<S: WriteSession>(
    session: &mut S,
    mut plan: Plan<'_>,
    last: Rev,
) -> Result<Vec<Settled>, Error> {
    let asked = plan.asked();
    let held = session.read_for_update(&asked).await?;
    let rows = plan.decide(last, &held);
    session.insert(&rows.absent).await?;
    session.overwrite(&rows.present).await?;
    let stored = session.upsert(&rows.free).await?;

    let all = [rows.absent, rows.present, rows.free];
    let hints: Vec<Hint> = all.iter().flatten().filter_map(Hint::of).collect();
    session.add_hints(&hints).await?;
    Ok(plan.settle(&stored))
}
