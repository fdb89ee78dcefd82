//! The row of a lane in `writers`, and what the lane logs.

use sqlx::SqliteConnection;

use super::arguments::{signed, unsigned};
use super::clock::now;
use super::error::classify;
use super::text;
use crate::changes::keys::{PART_BYTES_MAX, pack};
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

/// Passes the fence in a transaction that was begun, see [`crate::engine::WriteSession::fence`].
pub(super) async fn pass_fence(
    connection: &mut SqliteConnection,
    clock: &StoreClock,
    lane: u64,
    seq: u64,
    revs: u64,
) -> Result<Option<Rev>, Error> {
    let now = now(connection, clock).await?;
    let reserve = sqlx::query_scalar::<_, i64>(text::RESERVE).bind(signed(revs)?).bind(signed(now)?);
    let last = unsigned(reserve.fetch_one(&mut *connection).await.map_err(classify)?)?;
    if last >= REV_MAX {
        return Err(Error::NotReady(
            "the stored time is the largest possible one: see Time in db/README.md".into(),
        ));
    }
    let pass = sqlx::query(text::FENCE).bind(signed(seq)?).bind(signed(lane)?).bind(signed(last)?);
    let passed = pass.execute(connection).await.map_err(classify)?;
    Ok((passed.rows_affected() == 1).then_some(Rev(last)))
}

/// Logs `keys` as those of the batch `seq` of `lane`, at the instant `at`, in parts. Returns the bytes of all parts.
pub(super) async fn log_changes<'k>(
    connection: &mut SqliteConnection,
    lane: u64,
    seq: u64,
    at: u64,
    keys: impl Iterator<Item = &'k [u8]>,
) -> Result<usize, sqlx::Error> {
    let [lane, seq, at] = [lane, seq, at].map(u64::cast_signed);
    let mut bytes = 0;
    for (number, part) in (0_u16..).zip(pack(keys, PART_BYTES_MAX)) {
        bytes += part.len();
        let log = sqlx::query(text::changes::LOG_CHANGES).bind(lane).bind(seq).bind(number);
        log.bind(at).bind(part).execute(&mut *connection).await?;
    }
    Ok(bytes)
}
