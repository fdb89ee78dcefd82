//! One round of the sweeper on `SQLite`.

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::session::hint_list;
use super::{NOW, Sqlite, bind, error, signed, text, unsigned};
use crate::engine::shapes::{either, list, pad, padded};
use crate::error::Error;
use crate::sweeper::Round;
use crate::sweeper::hint::{Found, HINTS_PER_SWEEP_MAX, Hint, Sweep, keys_of, ripe};
use crate::timeouts::{CONNECT_TIMEOUT, QUERY_TIMEOUT, within};

impl Sqlite {
    /// Sweeps until nothing is ripe. A file has one writer at a time, so of several sweepers, too.
    pub(crate) async fn sweep(&self) -> Result<Round, Error> {
        let mut connection = within(CONNECT_TIMEOUT, self.open()).await?;
        let mut removed = 0;
        while let Some(dead) = within(QUERY_TIMEOUT, sweep_some(&mut connection)).await? {
            removed += dead;
        }
        Ok(Round::Swept(removed))
    }
}

/// One transaction: how many entries it removed; none if no hint was ripe.
async fn sweep_some(connection: &mut SqliteConnection) -> Result<Option<u64>, Error> {
    // Looked at first without the lock that writers need.
    let sql = AssertSqlSafe(format!("select {NOW}"));
    let now = sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut *connection).await.map_err(error)?;
    let now = unsigned(now)?;
    let hints = hints(connection, ripe(now)).await?;
    if hints.is_empty() {
        return Ok(None);
    }
    execute(connection, "begin immediate".into(), SqliteArguments::default()).await?;
    let sweep = Sweep::of(found(connection, &keys_of(&hints)).await?, now);
    if !sweep.dead.is_empty() {
        let sql = format!("delete from entries where k in ({})", list("?", padded(sweep.dead.len())));
        let mut arguments = SqliteArguments::default();
        for key in pad(sweep.dead.iter()) {
            bind(&mut arguments, key.clone())?;
        }
        execute(connection, sql, arguments).await?;
    }
    let sql = format!("delete from expiries where {}", either("at = ? and k = ?", padded(hints.len())));
    execute(connection, sql, hint_list(pad(hints.iter()))?).await?;
    if !sweep.later.is_empty() {
        execute(connection, text::remember(sweep.later.len()), hint_list(&sweep.later)?).await?;
    }
    execute(connection, "commit".into(), SqliteArguments::default()).await?;
    Ok(Some(sweep.dead.len() as u64))
}

/// The first hints up to `ripe`.
async fn hints(connection: &mut SqliteConnection, ripe: u64) -> Result<Vec<Hint>, Error> {
    let sql = "select at, k from expiries where at <= ? order by at, k limit ?";
    let found = sqlx::query(sql).bind(signed(ripe)?).bind(signed(HINTS_PER_SWEEP_MAX as u64)?);
    let hint = |row: SqliteRow| {
        let at = unsigned(row.try_get_unchecked(0).map_err(error)?)?;
        Ok(Hint { at, key: row.try_get_unchecked(1).map_err(error)? })
    };
    found.fetch_all(connection).await.map_err(error)?.into_iter().map(hint).collect()
}

/// The entries of `keys` that are there.
async fn found(connection: &mut SqliteConnection, keys: &[&[u8]]) -> Result<Vec<Found>, Error> {
    let keys_max = list("?", padded(keys.len()));
    let sql = format!("select k, rev, expires_at from entries where k in ({keys_max}) order by k");
    let mut arguments = SqliteArguments::default();
    for key in pad(keys.iter()) {
        bind(&mut arguments, key.to_vec())?;
    }
    let found = sqlx::query_with(AssertSqlSafe(sql), arguments).fetch_all(connection).await.map_err(error)?;
    let entry = |row: SqliteRow| {
        let expires_at: Option<i64> = row.try_get_unchecked(2).map_err(error)?;
        Ok(Found {
            key: row.try_get_unchecked(0).map_err(error)?,
            rev: unsigned(row.try_get_unchecked(1).map_err(error)?)?,
            expires_at: expires_at.map(unsigned).transpose()?,
        })
    };
    found.into_iter().map(entry).collect()
}

async fn execute(
    connection: &mut SqliteConnection,
    sql: String,
    arguments: SqliteArguments,
) -> Result<(), Error> {
    let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
    query.execute(connection).await.map(drop).map_err(error)
}
