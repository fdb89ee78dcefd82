//! The row of a lane in `writers`.

use futures_util::TryStreamExt as _;
use sqlx::{Either, Executor as _, Row as _, SqliteConnection};

use super::arguments::{signed, unsigned};
use super::clock::now;
use super::error::classify;
use super::text;
use crate::engine::clock::StoreClock;
use crate::entry::Rev;
use crate::error::Error;
use crate::plan::REV_MAX;

/// Adds the row.
pub(super) async fn register(
    connection: &mut SqliteConnection,
    clock: &StoreClock,
    lane: u64,
    logs: bool,
) -> Result<(), Error> {
    let now = now(connection, clock).await?;
    let add = sqlx::query(text::REGISTER).bind(signed(lane)?).bind(signed(now)?).bind(logs);
    add.execute(connection).await.map(drop).map_err(classify)
}

/// Begins a transaction and passes the fence, see [`crate::engine::WriteSession::fence`]. Sets `has_begun` as soon as there is a
/// transaction.
pub(super) async fn pass_fence(
    connection: &mut SqliteConnection,
    clock: &StoreClock,
    has_begun: &mut bool,
    (lane, seq): (u64, u64),
    revs: u64,
) -> Result<Option<Rev>, Error> {
    let now = now(connection, clock).await?;
    let fence = sqlx::query(text::FENCE).bind(signed(revs)?).bind(signed(now)?);
    let (mut last, mut passed) = (None, None);
    let mut results = connection.fetch_many(fence.bind(signed(seq)?).bind(signed(lane)?));
    while let Some(result) = results.try_next().await.map_err(classify)? {
        *has_begun = true;
        match result {
            Either::Left(done) => passed = Some(done.rows_affected() == 1),
            Either::Right(row) => last = Some(unsigned(row.try_get_unchecked(0).map_err(classify)?)?),
        }
    }
    let last = last.ok_or_else(|| Error::Unavailable("the store has no clock".into()))?;
    if last >= REV_MAX {
        return Err(Error::NotReady(
            "the stored time is the largest possible one: see Time in db/README.md".into(),
        ));
    }
    let passed = passed.expect("each statement has a result");
    Ok(passed.then_some(Rev(last)))
}
