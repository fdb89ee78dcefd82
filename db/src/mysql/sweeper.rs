//! The connection of the sweeper to `MySQL` or `MariaDB`.

mod expiry;
mod grouped;
mod log;

use std::time::Duration;

use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::{AssertSqlSafe, MySqlConnection, Row as _};

use super::arguments::{bind, bind_keys, hint_list, key_list};
use super::connect::{ServerFacts, close};
use super::error::classify;
use super::server_check::ServerChecker;
use super::text;
use crate::engine::shapes::{filled, pad, padded};
use crate::engine::sweep::{FenceAges, SweepSession};
use crate::error::Error;
use crate::sweeper::hint::{HINTS_PER_SWEEP_MAX, Hint, HintedEntry, Sweep};
use grouped::{HintGroup, groups};

/// One connection of the sweeper. Autocommit is off.
#[derive(Debug)]
pub(crate) struct MySqlSweeper {
    connection: MySqlConnection,
    checker: ServerChecker,
    /// The most bytes of a statement with several rows.
    statement_bytes_max: usize,
}

impl MySqlSweeper {
    pub(super) fn new(connection: MySqlConnection, facts: ServerFacts) -> Self {
        let ServerFacts { checker, statement_bytes_max } = facts;
        Self { connection, checker, statement_bytes_max }
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
        let locked =
            sqlx::query_scalar::<_, i64>(text::sweeper::LOCK_SWEEPER).fetch_one(&mut self.connection);
        Ok(locked.await.map_err(classify)? == 1)
    }

    async fn now(&mut self) -> Result<u64, Error> {
        sqlx::query_scalar(text::STORED_TIME).fetch_one(&mut self.connection).await.map_err(classify)
    }

    async fn read_hints(&mut self, ripe: u64) -> Result<Vec<Hint>, Error> {
        let query = sqlx::query(text::sweeper::RIPE_HINTS).bind(ripe).bind(HINTS_PER_SWEEP_MAX as u64);
        query.fetch_all(&mut self.connection).await.map_err(classify)?.iter().map(hint).collect()
    }

    async fn lock_entries(&mut self, keys: &[&[u8]]) -> Result<Vec<HintedEntry>, Error> {
        let sql = AssertSqlSafe(text::sweeper::lock_entries(padded(keys.len())));
        let query = sqlx::query_with(sql, key_list(keys.iter().copied())?);
        query.fetch_all(&mut self.connection).await.map_err(classify)?.iter().map(entry).collect()
    }

    async fn apply(&mut self, sweep: &Sweep, hints: &[Hint]) -> Result<(), Error> {
        if !sweep.dead.is_empty() {
            let sql = text::sweeper::delete_entries(padded(sweep.dead.len()));
            self.execute(sql, key_list(sweep.dead.iter().map(Vec::as_slice))?).await?;
        }
        for group in groups(hints) {
            let (size, arguments) = grouped(&group)?;
            let sql = match group {
                HintGroup::Same(_) => text::sweeper::delete_hints_at(size),
                HintGroup::Mixed(_) => text::sweeper::delete_hints(size),
            };
            self.execute(sql, arguments).await?;
        }
        let mut later = sweep.later.as_slice();
        while !later.is_empty() {
            let (part, rest) = later.split_at(filled(later.len()));
            self.execute(text::add_hints(part.len()), hint_list(part)?).await?;
            later = rest;
        }
        self.commit().await
    }

    async fn delete_old_fences(&mut self, ages: FenceAges) -> Result<(), Error> {
        let now = self.now().await?;
        // Shortly after 1970 nothing is old.
        let [used, unused] = [ages.used, ages.unused].map(|age| now.saturating_sub(age));
        let found = sqlx::query_scalar::<_, u64>(text::sweeper::OLD_FENCES).bind(used).bind(unused);
        for lane in found.fetch_all(&mut self.connection).await.map_err(classify)? {
            let delete = sqlx::query(text::sweeper::DELETE_OLD_FENCE).bind(lane).bind(used).bind(unused);
            delete.execute(&mut self.connection).await.map_err(classify)?;
        }
        self.commit().await
    }

    async fn set_retention(&mut self, seconds: u64) -> Result<(), Error> {
        let set = sqlx::query(text::changes::SET_RETENTION).bind(seconds);
        set.execute(&mut self.connection).await.map_err(classify)?;
        self.commit().await
    }

    async fn retention(&mut self) -> Result<Option<Duration>, Error> {
        let read = sqlx::query_scalar::<_, Option<u64>>(text::changes::RETENTION);
        let seconds = read.fetch_one(&mut self.connection).await.map_err(classify)?;
        Ok(seconds.map(Duration::from_secs))
    }

    async fn rest(&mut self) -> Result<(), Error> {
        self.execute(text::ROLLBACK.into(), MySqlArguments::default()).await
    }

    async fn close(self) {
        close(self.connection).await;
    }
}

/// The size of the statement that names `group`, and its arguments.
fn grouped(group: &HintGroup<'_>) -> Result<(usize, MySqlArguments), Error> {
    match group {
        HintGroup::Same(hints) => {
            let mut arguments = MySqlArguments::default();
            bind(&mut arguments, hints.first().expect("a group is not empty").at)?;
            bind_keys(&mut arguments, hints.iter().map(|hint| hint.key.as_slice()))?;
            Ok((padded(hints.len()), arguments))
        }
        HintGroup::Mixed(hints) => Ok((padded(hints.len()), hint_list(pad(hints.iter()))?)),
    }
}

fn hint(row: &MySqlRow) -> Result<Hint, Error> {
    let at = row.try_get_unchecked(0).map_err(classify)?;
    Ok(Hint { at, key: row.try_get_unchecked(1).map_err(classify)? })
}

fn entry(row: &MySqlRow) -> Result<HintedEntry, Error> {
    Ok(HintedEntry {
        key: row.try_get_unchecked(0).map_err(classify)?,
        rev: row.try_get_unchecked(1).map_err(classify)?,
        expires_at: row.try_get_unchecked(2).map_err(classify)?,
    })
}
