//! The connection of the sweeper to `SQLite`.

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::arguments::{hint_list, key_list, signed, unsigned};
use super::clock::stored;
use super::connection::Connection;
use super::error::classify;
use super::text;
use crate::engine::SweepSession;
use crate::engine::shapes::{pad, padded};
use crate::error::Error;
use crate::sweeper::hint::{HINTS_PER_SWEEP_MAX, Hint, HintedEntry, Sweep};

/// One connection of the sweeper.
#[derive(Debug)]
pub(crate) struct SqliteSweeper {
    connection: Connection,
}

impl SqliteSweeper {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    async fn execute(&mut self, sql: String, arguments: SqliteArguments) -> Result<(), Error> {
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
        query.execute(&mut *self.connection).await.map(drop).map_err(classify)
    }
}

impl SweepSession for SqliteSweeper {
    /// Several processes may sweep, because a file has one writer at a time.
    async fn lock(&mut self) -> Result<bool, Error> {
        Ok(true)
    }

    async fn now(&mut self) -> Result<u64, Error> {
        stored(&mut self.connection).await
    }

    /// Reads without the lock that writers need.
    async fn read_hints(&mut self, ripe: u64) -> Result<Vec<Hint>, Error> {
        let query = sqlx::query(text::RIPE_HINTS).bind(signed(ripe)?);
        let query = query.bind(signed(HINTS_PER_SWEEP_MAX as u64)?);
        let hint = |row: SqliteRow| {
            let at = unsigned(row.try_get_unchecked(0).map_err(classify)?)?;
            Ok(Hint { at, key: row.try_get_unchecked(1).map_err(classify)? })
        };
        query.fetch_all(&mut *self.connection).await.map_err(classify)?.into_iter().map(hint).collect()
    }

    async fn lock_entries(&mut self, keys: &[&[u8]]) -> Result<Vec<HintedEntry>, Error> {
        self.connection.check_write().await?;
        self.execute(text::BEGIN_WRITE.into(), SqliteArguments::default()).await?;
        let sql = AssertSqlSafe(text::read_entries(padded(keys.len())));
        let query = sqlx::query_with(sql, key_list(keys.iter().copied())?);
        let entry = |row: SqliteRow| {
            let expires_at: Option<i64> = row.try_get_unchecked(2).map_err(classify)?;
            Ok(HintedEntry {
                key: row.try_get_unchecked(0).map_err(classify)?,
                rev: instant(row.try_get_unchecked(1).map_err(classify)?),
                expires_at: expires_at.map(instant),
            })
        };
        query.fetch_all(&mut *self.connection).await.map_err(classify)?.into_iter().map(entry).collect()
    }

    async fn apply(&mut self, sweep: &Sweep, hints: &[Hint]) -> Result<(), Error> {
        if !sweep.dead.is_empty() {
            let sql = text::delete_entries(padded(sweep.dead.len()));
            self.execute(sql, key_list(sweep.dead.iter().map(Vec::as_slice))?).await?;
        }
        self.execute(text::delete_hints(padded(hints.len())), hint_list(pad(hints.iter()))?).await?;
        if !sweep.later.is_empty() {
            self.execute(text::add_hints(sweep.later.len()), hint_list(&sweep.later)?).await?;
        }
        self.execute(text::COMMIT.into(), SqliteArguments::default()).await
    }

    /// Fence rows of old lanes are kept.
    async fn delete_old_fences(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn close(self) {
        self.connection.close().await;
    }
}

/// A column as an instant after 1970. A negative number is in no row that Keywire wrote. It lies in the past like 1970, and must not
/// stop the sweep of other rows.
fn instant(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
