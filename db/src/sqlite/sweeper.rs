//! The connection of the sweeper to `SQLite`.

mod expiry;
mod log;

use std::time::Duration;

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::arguments::{hint_list, key_list, signed, unsigned};
use super::clock::stored;
use super::connection::Connection;
use super::error::classify;
use super::text;
use crate::engine::clock::StoreClock;
use crate::engine::shapes::{filled, pad, padded};
use crate::engine::sweep::{FenceAges, SweepSession};
use crate::error::Error;
use crate::sweeper::hint::{HINTS_PER_SWEEP_MAX, Hint, HintedEntry, Sweep};

/// One connection of the sweeper.
#[derive(Debug)]
pub(crate) struct SqliteSweeper {
    connection: Connection,
    clock: StoreClock,
    /// Whether a transaction was begun and neither committed nor rolled back.
    is_in_transaction: bool,
}

impl SqliteSweeper {
    pub(super) fn new(connection: Connection, clock: StoreClock) -> Self {
        Self { connection, clock, is_in_transaction: false }
    }

    /// Begins a transaction that writes.
    async fn begin_write(&mut self) -> Result<(), Error> {
        self.connection.check_write().await?;
        self.execute(text::BEGIN_WRITE.into(), SqliteArguments::default()).await?;
        self.is_in_transaction = true;
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), Error> {
        self.execute(text::COMMIT.into(), SqliteArguments::default()).await?;
        self.is_in_transaction = false;
        self.connection.check_committed()
    }

    /// The entries of `keys` that exist, in key order.
    async fn read_entries(&mut self, keys: &[&[u8]]) -> Result<Vec<HintedEntry>, Error> {
        let sql = AssertSqlSafe(text::sweeper::read_entries(padded(keys.len())));
        let query = sqlx::query_with(sql, key_list(keys.iter().copied())?);
        let entry = |row: &SqliteRow| {
            let expires_at: Option<i64> = row.try_get_unchecked(2).map_err(classify)?;
            Ok(HintedEntry {
                key: row.try_get_unchecked(0).map_err(classify)?,
                rev: instant(row.try_get_unchecked(1).map_err(classify)?),
                expires_at: expires_at.map(instant),
            })
        };
        query.fetch_all(&mut *self.connection).await.map_err(classify)?.iter().map(entry).collect()
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
        let query = sqlx::query(text::sweeper::RIPE_HINTS).bind(signed(ripe)?);
        let query = query.bind(signed(HINTS_PER_SWEEP_MAX as u64)?);
        query.fetch_all(&mut *self.connection).await.map_err(classify)?.iter().map(hint).collect()
    }

    async fn lock_entries(&mut self, keys: &[&[u8]]) -> Result<Vec<HintedEntry>, Error> {
        self.begin_write().await?;
        self.read_entries(keys).await
    }

    async fn apply(&mut self, sweep: &Sweep, hints: &[Hint]) -> Result<(), Error> {
        if !sweep.dead.is_empty() {
            let sql = text::sweeper::delete_entries(padded(sweep.dead.len()));
            self.execute(sql, key_list(sweep.dead.iter().map(Vec::as_slice))?).await?;
        }
        self.execute(text::sweeper::delete_hints(padded(hints.len())), hint_list(pad(hints.iter()))?).await?;
        let mut later = sweep.later.as_slice();
        while !later.is_empty() {
            let (part, rest) = later.split_at(filled(later.len()));
            self.execute(text::add_hints(part.len()), hint_list(part)?).await?;
            later = rest;
        }
        self.commit().await
    }

    /// Reads first, because a statement that may write waits for writers.
    async fn delete_old_fences(&mut self, ages: FenceAges) -> Result<(), Error> {
        let now = self.now().await?;
        // Shortly after 1970 nothing is old.
        let [used, unused] = [ages.used, ages.unused].map(|age| now.saturating_sub(age));
        let found = sqlx::query_scalar::<_, i64>(text::sweeper::OLD_FENCES).bind(signed(used)?);
        let found = found.bind(signed(unused)?).fetch_all(&mut *self.connection).await.map_err(classify)?;
        if found.is_empty() {
            return Ok(());
        }
        self.begin_write().await?;
        for lane in found {
            let delete = sqlx::query(text::sweeper::DELETE_OLD_FENCE).bind(signed(used)?);
            let delete = delete.bind(signed(unused)?).bind(lane);
            delete.execute(&mut *self.connection).await.map_err(classify)?;
        }
        self.commit().await
    }

    async fn set_retention(&mut self, seconds: u64) -> Result<(), Error> {
        self.begin_write().await?;
        let set = sqlx::query(text::changes::SET_RETENTION).bind(signed(seconds)?);
        set.execute(&mut *self.connection).await.map_err(classify)?;
        self.commit().await
    }

    async fn retention(&mut self) -> Result<Option<Duration>, Error> {
        let read = sqlx::query_scalar::<_, Option<i64>>(text::changes::RETENTION);
        let seconds = read.fetch_one(&mut *self.connection).await.map_err(classify)?;
        Ok(seconds.map(unsigned).transpose()?.map(Duration::from_secs))
    }

    async fn rest(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.is_in_transaction) {
            self.execute(text::ROLLBACK.into(), SqliteArguments::default()).await?;
        }
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

fn hint(row: &SqliteRow) -> Result<Hint, Error> {
    let at = unsigned(row.try_get_unchecked(0).map_err(classify)?)?;
    Ok(Hint { at, key: row.try_get_unchecked(1).map_err(classify)? })
}
