//! What happens inside a transaction, between its fence and its COMMIT.

use crate::Error;
use crate::engine::Session;
use crate::entry::{Rev, Settled};
use crate::plan::Plan;
use crate::sweeper::Hint;

/// Carries out `plan` with the revisions reserved up to `last`. Gives what became of every write, complete in memory.
pub(crate) async fn write<S: Session>(
    session: &mut S,
    mut plan: Plan<'_>,
    last: Rev,
) -> Result<Vec<Settled>, Error> {
    let asked = plan.asked();
    let held = session.held(&asked).await?;
    let rows = plan.decide(last, &held);
    session.insert(&rows.absent).await?;
    session.overwrite(&rows.present).await?;
    let stored = session.upsert(&rows.free).await?;

    let all = [rows.absent, rows.present, rows.free];
    let hints: Vec<Hint> = all.iter().flatten().filter_map(Hint::of).collect();
    session.remember(&hints).await?;
    Ok(plan.settle(&stored))
}
