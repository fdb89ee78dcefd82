//! One round of the sweeper on `MySQL` and `MariaDB`.

use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::{AssertSqlSafe, MySqlConnection, Row as _};

use super::arguments::{hint_list, key_list};
use super::error::classify;
use super::text;
use crate::engine::shapes::{pad, padded};
use crate::error::Error;
use crate::sweeper::hint::{HINTS_PER_SWEEP_MAX, Hint, HintedEntry, Sweep, keys_of, ripe};
use crate::timeouts::{QUERY_TIMEOUT, within};

/// How long the fence row of a lane that writes nothing is kept, in microseconds. A lane that has kept silent for longer goes on
/// under a new id.
const FENCE_KEPT: u64 = 24 * 60 * 60 * 1_000_000;

/// Sweeps until nothing is ripe. Returns how many entries were removed; `None` if another process is sweeping.
pub(super) async fn sweep(connection: &mut MySqlConnection) -> Result<Option<u64>, Error> {
    let locked = sqlx::query_scalar::<_, i64>(text::LOCK_SWEEPER).fetch_one(&mut *connection);
    if within(QUERY_TIMEOUT, async { locked.await.map_err(classify) }).await? != 1 {
        return Ok(None);
    }
    let mut removed = 0;
    while let Some(dead) = within(QUERY_TIMEOUT, sweep_some(connection)).await? {
        removed += dead;
    }
    within(QUERY_TIMEOUT, delete_old_fences(connection)).await?;
    Ok(Some(removed))
}

/// One transaction. Returns how many entries it removed; `None` if no hint was ripe.
async fn sweep_some(connection: &mut MySqlConnection) -> Result<Option<u64>, Error> {
    let now: u64 = sqlx::query_scalar(text::CLOCK).fetch_one(&mut *connection).await.map_err(classify)?;
    let hints = ripe_hints(connection, ripe(now)).await?;
    if hints.is_empty() {
        return Ok(None);
    }
    let sweep = Sweep::of(lock_entries(connection, &keys_of(&hints)).await?, now);
    if !sweep.dead.is_empty() {
        let sql = text::delete_entries(padded(sweep.dead.len()));
        execute(connection, sql, key_list(sweep.dead.iter().map(Vec::as_slice))?).await?;
    }
    let sql = text::delete_hints(padded(hints.len()));
    execute(connection, sql, hint_list(pad(hints.iter()))?).await?;
    if !sweep.later.is_empty() {
        execute(connection, text::add_hints(sweep.later.len()), hint_list(&sweep.later)?).await?;
    }
    execute(connection, text::COMMIT.into(), MySqlArguments::default()).await?;
    Ok(Some(sweep.dead.len() as u64))
}

/// The first hints up to the instant `ripe`.
async fn ripe_hints(connection: &mut MySqlConnection, ripe: u64) -> Result<Vec<Hint>, Error> {
    let found = sqlx::query(text::RIPE_HINTS).bind(ripe).bind(HINTS_PER_SWEEP_MAX as u64);
    let hint = |row: MySqlRow| {
        let at = row.try_get_unchecked(0).map_err(classify)?;
        Ok(Hint { at, key: row.try_get_unchecked(1).map_err(classify)? })
    };
    found.fetch_all(connection).await.map_err(classify)?.into_iter().map(hint).collect()
}

/// The entries of `keys` that exist, locked, in key order.
async fn lock_entries(connection: &mut MySqlConnection, keys: &[&[u8]]) -> Result<Vec<HintedEntry>, Error> {
    let sql = AssertSqlSafe(text::lock_entries(padded(keys.len())));
    let query = sqlx::query_with(sql, key_list(keys.iter().copied())?);
    let entry = |row: MySqlRow| {
        Ok(HintedEntry {
            key: row.try_get_unchecked(0).map_err(classify)?,
            rev: row.try_get_unchecked(1).map_err(classify)?,
            expires_at: row.try_get_unchecked(2).map_err(classify)?,
        })
    };
    query.fetch_all(connection).await.map_err(classify)?.into_iter().map(entry).collect()
}

/// Removes fence rows that no lane is likely to need any more.
async fn delete_old_fences(connection: &mut MySqlConnection) -> Result<(), Error> {
    let now: u64 = sqlx::query_scalar(text::CLOCK).fetch_one(&mut *connection).await.map_err(classify)?;
    // On the first day of 1970 nothing is old.
    let old = now.saturating_sub(FENCE_KEPT);
    let found = sqlx::query_scalar::<_, u64>(text::OLD_FENCES).bind(old);
    for lane in found.fetch_all(&mut *connection).await.map_err(classify)? {
        let delete = sqlx::query(text::DELETE_OLD_FENCE).bind(lane).bind(old);
        delete.execute(&mut *connection).await.map_err(classify)?;
    }
    execute(connection, text::COMMIT.into(), MySqlArguments::default()).await
}

async fn execute(
    connection: &mut MySqlConnection,
    sql: String,
    arguments: MySqlArguments,
) -> Result<(), Error> {
    let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
    query.execute(connection).await.map(drop).map_err(classify)
}
