//! One round of the sweeper on `SQLite`.

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::arguments::{hint_list, key_list, signed, unsigned};
use super::error::classify;
use super::text;
use crate::engine::shapes::{pad, padded};
use crate::error::Error;
use crate::sweeper::hint::{HINTS_PER_SWEEP_MAX, Hint, HintedEntry, Sweep, keys_of, ripe};
use crate::timeouts::{QUERY_TIMEOUT, within};

/// Sweeps until nothing is ripe. Returns how many entries were removed.
pub(super) async fn sweep(connection: &mut SqliteConnection) -> Result<u64, Error> {
    let mut removed = 0;
    while let Some(dead) = within(QUERY_TIMEOUT, sweep_some(connection)).await? {
        removed += dead;
    }
    Ok(removed)
}

/// One transaction. Returns how many entries it removed; `None` if no hint was ripe.
async fn sweep_some(connection: &mut SqliteConnection) -> Result<Option<u64>, Error> {
    // The hints are read without the lock that writers need.
    let now = sqlx::query_scalar::<_, i64>(text::CLOCK).fetch_one(&mut *connection).await;
    let now = unsigned(now.map_err(classify)?)?;
    let hints = ripe_hints(connection, ripe(now)).await?;
    if hints.is_empty() {
        return Ok(None);
    }
    execute(connection, text::BEGIN_WRITE.into(), SqliteArguments::default()).await?;
    let sweep = Sweep::of(read_entries(connection, &keys_of(&hints)).await?, now);
    if !sweep.dead.is_empty() {
        let sql = text::delete_entries(padded(sweep.dead.len()));
        execute(connection, sql, key_list(sweep.dead.iter().map(Vec::as_slice))?).await?;
    }
    let sql = text::delete_hints(padded(hints.len()));
    execute(connection, sql, hint_list(pad(hints.iter()))?).await?;
    if !sweep.later.is_empty() {
        execute(connection, text::add_hints(sweep.later.len()), hint_list(&sweep.later)?).await?;
    }
    execute(connection, text::COMMIT.into(), SqliteArguments::default()).await?;
    Ok(Some(sweep.dead.len() as u64))
}

/// The first hints up to the instant `ripe`.
async fn ripe_hints(connection: &mut SqliteConnection, ripe: u64) -> Result<Vec<Hint>, Error> {
    let found = sqlx::query(text::RIPE_HINTS).bind(signed(ripe)?).bind(signed(HINTS_PER_SWEEP_MAX as u64)?);
    let hint = |row: SqliteRow| {
        let at = unsigned(row.try_get_unchecked(0).map_err(classify)?)?;
        Ok(Hint { at, key: row.try_get_unchecked(1).map_err(classify)? })
    };
    found.fetch_all(connection).await.map_err(classify)?.into_iter().map(hint).collect()
}

/// The entries of `keys` that exist, in key order.
async fn read_entries(connection: &mut SqliteConnection, keys: &[&[u8]]) -> Result<Vec<HintedEntry>, Error> {
    let sql = AssertSqlSafe(text::read_entries(padded(keys.len())));
    let query = sqlx::query_with(sql, key_list(keys.iter().copied())?);
    let entry = |row: SqliteRow| {
        let expires_at: Option<i64> = row.try_get_unchecked(2).map_err(classify)?;
        Ok(HintedEntry {
            key: row.try_get_unchecked(0).map_err(classify)?,
            rev: unsigned(row.try_get_unchecked(1).map_err(classify)?)?,
            expires_at: expires_at.map(unsigned).transpose()?,
        })
    };
    query.fetch_all(connection).await.map_err(classify)?.into_iter().map(entry).collect()
}

async fn execute(
    connection: &mut SqliteConnection,
    sql: String,
    arguments: SqliteArguments,
) -> Result<(), Error> {
    let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
    query.execute(connection).await.map(drop).map_err(classify)
}
