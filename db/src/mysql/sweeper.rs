//! One round of the sweeper on `MySQL` and `MariaDB`.

use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::{AssertSqlSafe, MySqlConnection, Row as _};

use super::connect::{MySql, close, error};
use super::session::hint_list;
use super::{bind, now, text};
use crate::engine::shapes::{either, list, pad, padded};
use crate::error::Error;
use crate::sweeper::Round;
use crate::sweeper::hint::{Found, HINTS_PER_SWEEP_MAX, Hint, Sweep, keys_of, ripe};
use crate::timeouts::{CONNECT_TIMEOUT, QUERY_TIMEOUT, within};

/// Held for as long as the connection. The names of locks belong to the whole server, so it names the schema; they have at
/// most 64 characters, and two schemas that share one sweep in turn.
const LOCK: &str = "select coalesce(get_lock(left(concat('keywire.sweeper.', schema()), 64), 0), 0)";

const CLOCK: &str = concat!("select ", now!());

/// How long the fence row of a lane that writes nothing is kept, in microseconds: a lane that lives after all goes on under a
/// fresh id.
const FENCE_KEPT: u64 = 24 * 60 * 60 * 1_000_000;

impl MySql {
    /// Sweeps until nothing is ripe, unless another process does.
    pub(crate) async fn sweep(&self) -> Result<Round, Error> {
        let (mut connection, _) = within(CONNECT_TIMEOUT, self.open(true)).await?;
        let locked = sqlx::query_scalar::<_, i64>(LOCK).fetch_one(&mut connection);
        let is_ours = within(QUERY_TIMEOUT, async { locked.await.map_err(error) }).await? == 1;
        let mut removed = 0;
        if is_ours {
            while let Some(dead) = within(QUERY_TIMEOUT, sweep_some(&mut connection)).await? {
                removed += dead;
            }
            within(QUERY_TIMEOUT, forget_lanes(&mut connection)).await?;
        }
        close(connection).await;
        Ok(if is_ours { Round::Swept(removed) } else { Round::Elsewhere })
    }
}

/// One transaction: how many entries it removed; none if no hint was ripe.
async fn sweep_some(connection: &mut MySqlConnection) -> Result<Option<u64>, Error> {
    let now: u64 = sqlx::query_scalar(CLOCK).fetch_one(&mut *connection).await.map_err(error)?;
    let hints = hints(connection, ripe(now)).await?;
    if hints.is_empty() {
        return Ok(None);
    }
    let sweep = Sweep::of(locked(connection, &keys_of(&hints)).await?, now);
    if !sweep.dead.is_empty() {
        let sql = format!("delete from entries where k in ({})", list("?", padded(sweep.dead.len())));
        let mut arguments = MySqlArguments::default();
        for key in pad(sweep.dead.iter()) {
            bind(&mut arguments, key.as_slice())?;
        }
        execute(connection, sql, arguments).await?;
    }
    let sql = format!("delete from expiries where {}", either("at = ? and k = ?", padded(hints.len())));
    execute(connection, sql, hint_list(pad(hints.iter()))?).await?;
    if !sweep.later.is_empty() {
        execute(connection, text::remember(sweep.later.len()), hint_list(&sweep.later)?).await?;
    }
    execute(connection, "commit".into(), MySqlArguments::default()).await?;
    Ok(Some(sweep.dead.len() as u64))
}

/// The first hints up to `ripe`.
async fn hints(connection: &mut MySqlConnection, ripe: u64) -> Result<Vec<Hint>, Error> {
    let sql = "select at, k from expiries where at <= ? order by at, k limit ?";
    let found = sqlx::query(sql).bind(ripe).bind(HINTS_PER_SWEEP_MAX as u64);
    let hint = |row: MySqlRow| {
        let at = row.try_get_unchecked(0).map_err(error)?;
        Ok(Hint { at, key: row.try_get_unchecked(1).map_err(error)? })
    };
    found.fetch_all(connection).await.map_err(error)?.into_iter().map(hint).collect()
}

/// The entries of `keys` that are there, locked, in key order.
async fn locked(connection: &mut MySqlConnection, keys: &[&[u8]]) -> Result<Vec<Found>, Error> {
    let keys_max = list("?", padded(keys.len()));
    let sql = format!("select k, rev, expires_at from entries where k in ({keys_max}) order by k for update");
    let mut arguments = MySqlArguments::default();
    for key in pad(keys.iter()) {
        bind(&mut arguments, *key)?;
    }
    let found = sqlx::query_with(AssertSqlSafe(sql), arguments).fetch_all(connection).await.map_err(error)?;
    let entry = |row: MySqlRow| {
        Ok(Found {
            key: row.try_get_unchecked(0).map_err(error)?,
            rev: row.try_get_unchecked(1).map_err(error)?,
            expires_at: row.try_get_unchecked(2).map_err(error)?,
        })
    };
    found.into_iter().map(entry).collect()
}

/// Removes fence rows that no lane is likely to need any more.
async fn forget_lanes(connection: &mut MySqlConnection) -> Result<(), Error> {
    let now: u64 = sqlx::query_scalar(CLOCK).fetch_one(&mut *connection).await.map_err(error)?;
    // On the first day of 1970 nothing is old.
    let old = now.saturating_sub(FENCE_KEPT);
    // Read without a lock: a scan under lock would wait for every lane, and every lane for it.
    let found = sqlx::query_scalar::<_, u64>("select id from writers where rev < ? limit 256").bind(old);
    for lane in found.fetch_all(&mut *connection).await.map_err(error)? {
        let sql = "delete from writers where id = ? and rev < ?";
        sqlx::query(sql).bind(lane).bind(old).execute(&mut *connection).await.map_err(error)?;
    }
    execute(connection, "commit".into(), MySqlArguments::default()).await
}

async fn execute(
    connection: &mut MySqlConnection,
    sql: String,
    arguments: MySqlArguments,
) -> Result<(), Error> {
    let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
    query.execute(connection).await.map(drop).map_err(error)
}
