//! What happens inside a transaction, between its fence and its COMMIT.

use crate::Error;
use crate::engine::Session;
use crate::entry::{Outcome, Rev};
use crate::plan::{Held, Plan, Row, Stored};

/// Writes the rows of `plan` with the revisions reserved up to `last`. Gives the outcome of every write, complete in memory.
pub(crate) async fn write<S: Session>(
    session: &mut S,
    plan: &mut Plan<'_>,
    last: Rev,
) -> Result<Vec<Outcome>, Error> {
    if !plan.needs_held() {
        plan.place(last, &[]);
        let stored = session.upsert(plan.rows()).await?;
        return Ok(plan.outcomes(&stored));
    }
    let held = session.held(plan.rows()).await?;
    plan.place(last, &held);
    let is_absent = |at: &usize| held[*at] == Held::Absent;
    let (absent, present): (Vec<usize>, Vec<usize>) = (0..held.len()).partition(is_absent);
    let rows_at = |at: &[usize]| at.iter().map(|&at| plan.rows()[at]).collect::<Vec<_>>();
    session.insert(&rows_at(&absent)).await?;
    let updated = session.upsert(&rows_at(&present)).await?;

    let inserted = |row: &Row<'_>| Stored { rev: row.rev, created: true };
    let mut stored: Vec<Stored> = plan.rows().iter().map(inserted).collect();
    for (at, updated) in present.into_iter().zip(updated) {
        stored[at] = updated;
    }
    Ok(plan.outcomes(&stored))
}
