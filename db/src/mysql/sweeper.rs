//! The connection of the sweeper to `MySQL` or `MariaDB`.

use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::{AssertSqlSafe, MySqlConnection, Row as _};

use super::arguments::{hint_list, key_list};
use super::connect::close;
use super::error::classify;
use super::text;
use crate::engine::SweepSession;
use crate::engine::shapes::{pad, padded};
use crate::error::Error;
use crate::sweeper::hint::{HINTS_PER_SWEEP_MAX, Hint, HintedEntry, Sweep};

/// How long the fence row of a lane that writes nothing is kept, in microseconds. A lane that has kept silent for longer goes on
/// under a new id.
const FENCE_KEPT: u64 = 24 * 60 * 60 * 1_000_000;

/// One connection of the sweeper. Autocommit is off.
#[derive(Debug)]
pub(crate) struct MySqlSweeper {
    connection: MySqlConnection,
}

impl MySqlSweeper {
    pub(super) fn new(connection: MySqlConnection) -> Self {
        Self { connection }
    }

    async fn execute(&mut self, sql: String, arguments: MySqlArguments) -> Result<(), Error> {
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
        query.execute(&mut self.connection).await.map(drop).map_err(classify)
    }

    async fn commit(&mut self) -> Result<(), Error> {
        self.execute(text::COMMIT.into(), MySqlArguments::default()).await
    }
}

impl SweepSession for MySqlSweeper {
    async fn lock(&mut self) -> Result<bool, Error> {
        let locked = sqlx::query_scalar::<_, i64>(text::LOCK_SWEEPER).fetch_one(&mut self.connection);
        Ok(locked.await.map_err(classify)? == 1)
    }

    async fn now(&mut self) -> Result<u64, Error> {
        sqlx::query_scalar(text::STORED_TIME).fetch_one(&mut self.connection).await.map_err(classify)
    }

    async fn read_hints(&mut self, ripe: u64) -> Result<Vec<Hint>, Error> {
        let query = sqlx::query(text::RIPE_HINTS).bind(ripe).bind(HINTS_PER_SWEEP_MAX as u64);
        let hint = |row: MySqlRow| {
            let at = row.try_get_unchecked(0).map_err(classify)?;
            Ok(Hint { at, key: row.try_get_unchecked(1).map_err(classify)? })
        };
        query.fetch_all(&mut self.connection).await.map_err(classify)?.into_iter().map(hint).collect()
    }

    async fn lock_entries(&mut self, keys: &[&[u8]]) -> Result<Vec<HintedEntry>, Error> {
        let sql = AssertSqlSafe(text::lock_entries(padded(keys.len())));
        let query = sqlx::query_with(sql, key_list(keys.iter().copied())?);
        let entry = |row: MySqlRow| {
            Ok(HintedEntry {
                key: row.try_get_unchecked(0).map_err(classify)?,
                rev: row.try_get_unchecked(1).map_err(classify)?,
                expires_at: row.try_get_unchecked(2).map_err(classify)?,
            })
        };
        query.fetch_all(&mut self.connection).await.map_err(classify)?.into_iter().map(entry).collect()
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
        self.commit().await
    }

    async fn delete_old_fences(&mut self) -> Result<(), Error> {
        // On the first day of 1970 nothing is old.
        let old = self.now().await?.saturating_sub(FENCE_KEPT);
        let found = sqlx::query_scalar::<_, u64>(text::OLD_FENCES).bind(old);
        for lane in found.fetch_all(&mut self.connection).await.map_err(classify)? {
            let delete = sqlx::query(text::DELETE_OLD_FENCE).bind(lane).bind(old);
            delete.execute(&mut self.connection).await.map_err(classify)?;
        }
        self.commit().await
    }

    async fn close(self) {
        close(self.connection).await;
    }
}
