//! The connection of a lane to `SQLite`.

use std::sync::Arc;

use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Row as _};
use tracing::debug;

use super::arguments::{bind, bind_expiry, bind_keys, hint_list, signed, unsigned};
use super::changes;
use super::clock::{now, stored};
use super::connection::Connection;
use super::error::{classify, not_begun};
use super::lane_row;
use super::text;
use crate::engine::clock::{STORED_AGE_MAX_MICROS, StoreClock};
use crate::engine::shapes::{KEYS_PER_SELECT_MAX, RowStatement, StatementTexts, filled, may_expire, padded};
use crate::engine::{FoundLocks, WriteSession};
use crate::entry::{Key, Rev};
use crate::error::Error;
use crate::plan::REV_MAX;
use crate::plan::run::{CurrentRow, Row, UpsertResult};
use crate::sweeper::hint::Hint;

/// One connection for writes.
#[derive(Debug)]
pub(crate) struct SqliteSession {
    connection: Connection,
    clock: StoreClock,
    /// Whether a transaction was begun and neither committed nor rolled back.
    is_in_transaction: bool,
    /// The bytes of the rows of the transaction.
    bytes: usize,
    /// The bytes of the last transaction if there was no room for it.
    refused_bytes: Option<usize>,
    read_for_update: StatementTexts,
    insert: RowStatement,
    upsert: RowStatement,
    add_hints: StatementTexts,
    /// The arguments of the last part of the log, which is added together with COMMIT.
    log_with_commit: Option<SqliteArguments>,
}

impl SqliteSession {
    pub(super) fn new(connection: Connection, clock: StoreClock) -> Self {
        Self {
            connection,
            clock,
            is_in_transaction: false,
            bytes: 0,
            refused_bytes: None,
            read_for_update: StatementTexts::new(text::read_for_update),
            insert: RowStatement::new(text::insert, text::insert_expiring),
            upsert: RowStatement::new(text::upsert, text::upsert_expiring),
            add_hints: StatementTexts::new(text::add_hints),
            log_with_commit: None,
        }
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), Error> {
        self.run_with(sql, SqliteArguments::default()).await
    }

    async fn run_with(&mut self, sql: &'static str, arguments: SqliteArguments) -> Result<(), Error> {
        let done = sqlx::query_with(sql, arguments).execute(&mut *self.connection).await;
        done.map(drop).map_err(|error| self.failed(error))
    }

    /// Remembers how much there was no room for.
    fn failed(&mut self, error: sqlx::Error) -> Error {
        let error = classify(error);
        if matches!(error, Error::Refused(_)) {
            self.refused_bytes = Some(self.bytes);
        }
        error
    }

    /// Begins a transaction without a fence.
    async fn begin(&mut self) -> Result<(), Error> {
        self.run(text::BEGIN_WRITE).await.map_err(not_begun)?;
        (self.is_in_transaction, self.bytes) = (true, 0);
        Ok(())
    }

    /// Commits. Shows that the file can be written. It also overwrites in the log what a COMMIT before it may have left there
    /// without an answer: from then on the fence row says for ever what became of that COMMIT.
    pub(super) async fn prove(&mut self) -> Result<(), Error> {
        self.run(text::PROVE).await
    }

    /// Writes as many bytes into the log as the transaction that found no room, and undoes it.
    async fn fill(&mut self, bytes: usize) -> Result<(), Error> {
        self.run(text::SMALL_CACHE).await?;
        // The pages that still fit the cache are written by nobody.
        let fill = sqlx::query(text::FILL).bind(signed(bytes as u64 + (64 << 10))?);
        let filled = fill.execute(&mut *self.connection).await.map(drop).map_err(classify);
        self.run(text::LARGE_CACHE).await?;
        filled
    }

    /// Writes the time into the store, unless a young time is there or no entry may expire. Returns whether there is something to
    /// commit.
    async fn store_time(&mut self) -> Result<bool, Error> {
        let now = now(&mut self.connection, &self.clock).await?;
        let is_young = stored(&mut self.connection).await?.saturating_add(STORED_AGE_MAX_MICROS) >= now;
        let has_hints = sqlx::query_scalar::<_, bool>(text::HAS_HINTS).fetch_one(&mut *self.connection);
        if is_young || !has_hints.await.map_err(classify)? {
            return Ok(false);
        }
        let store = sqlx::query(text::STORE_TIME).bind(signed(now)?).execute(&mut *self.connection).await;
        store.map(|_| true).map_err(|error| self.failed(error))
    }

    /// Runs an insert or an upsert, whose text is `sql`, and returns its results in key order.
    async fn write(
        &mut self,
        sql: Arc<str>,
        rows: &[Row<'_>],
        overwrites: bool,
    ) -> Result<Vec<UpsertResult>, Error> {
        let (may_expire, now) = (may_expire(rows), self.clock.now()?);
        let mut arguments = SqliteArguments::default();
        for row in rows {
            self.bytes += row.key.as_bytes().len() + row.value.len();
            bind(&mut arguments, row.key.as_bytes().to_vec())?;
            bind(&mut arguments, row.value.as_bytes().to_vec())?;
            bind(&mut arguments, signed(row.rev)?)?;
            if may_expire {
                bind_expiry(&mut arguments, row.expiry, now)?;
            }
        }
        if overwrites {
            bind(&mut arguments, signed(now)?)?;
        }
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
        let returned = query.fetch_all(&mut *self.connection).await;
        let returned = returned.map_err(|error| self.failed(error))?;
        // RETURNING promises no order, but the order of the keys is known.
        let mut found: Vec<(&[u8], UpsertResult)> = Vec::with_capacity(returned.len());
        for row in &returned {
            let stored = UpsertResult {
                rev: unsigned(row.try_get_unchecked(1).map_err(classify)?)?,
                created: row.try_get_unchecked(2).map_err(classify)?,
            };
            if stored.rev >= REV_MAX {
                // A sum that is too large becomes a floating-point number, which reads as the largest integer.
                return Err(Error::Internal("the revision of a row cannot grow any more".into()));
            }
            found.push((row.try_get_unchecked(0).map_err(classify)?, stored));
        }
        found.sort_unstable_by_key(|(key, _)| *key);
        if found.len() != rows.len() {
            return Err(Error::Internal("a row just written was not returned".into()));
        }
        Ok(found.into_iter().map(|(_, stored)| stored).collect())
    }
}

impl WriteSession for SqliteSession {
    async fn register(&mut self, lane: u64, logs: bool) -> Result<(), Error> {
        lane_row::register(&mut self.connection, &self.clock, lane, logs).await
    }

    async fn fence(&mut self, lane: u64, seq: u64, revs: u64) -> Result<Option<Rev>, Error> {
        self.connection.check_write().await?;
        self.bytes = 0;
        let has_begun = &mut self.is_in_transaction;
        let passed = lane_row::pass_fence(&mut self.connection, &self.clock, has_begun, (lane, seq), revs);
        passed.await.map_err(not_begun)
    }

    async fn read_seq(&mut self, lane: u64) -> Result<Option<u64>, Error> {
        let read = sqlx::query_scalar::<_, i64>(text::SEQ);
        let read = read.bind(signed(lane)?).fetch_optional(&mut *self.connection);
        read.await.map_err(classify)?.map(unsigned).transpose()
    }

    /// There are no locks of rows. Who else writes to the file is met by the fence.
    async fn find_locked(&mut self, _keys: &[&Key]) -> Result<FoundLocks, Error> {
        Ok(FoundLocks::default())
    }

    async fn read_for_update(&mut self, keys: &[&Key]) -> Result<Vec<CurrentRow>, Error> {
        let mut current = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_PER_SELECT_MAX) {
            let sql = self.read_for_update.of(padded(keys.len()));
            let mut arguments = SqliteArguments::default();
            bind(&mut arguments, signed(self.clock.now()?)?)?;
            bind_keys(&mut arguments, keys.iter().map(|key| key.as_bytes()))?;
            let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
            let found = query.fetch_all(&mut *self.connection).await.map_err(classify)?;
            let columns = |row: &sqlx::sqlite::SqliteRow| {
                let key: Vec<u8> = row.try_get_unchecked(0).map_err(classify)?;
                let is_live = row.try_get_unchecked(2).map_err(classify)?;
                Ok((key, unsigned(row.try_get_unchecked(1).map_err(classify)?)?, is_live))
            };
            let found = found.iter().map(columns).collect::<Result<_, Error>>()?;
            current.extend(CurrentRow::of(keys, found));
        }
        Ok(current)
    }

    async fn insert(&mut self, mut rows: &[Row<'_>]) -> Result<(), Error> {
        while !rows.is_empty() {
            let part = &rows[..filled(rows.len())];
            let sql = self.insert.of(part);
            self.write(sql, part, false).await?;
            rows = &rows[part.len()..];
        }
        Ok(())
    }

    async fn overwrite(&mut self, rows: &[Row<'_>]) -> Result<(), Error> {
        self.upsert(rows).await.map(drop)
    }

    async fn upsert(&mut self, mut rows: &[Row<'_>]) -> Result<Vec<UpsertResult>, Error> {
        let mut all = Vec::with_capacity(rows.len());
        while !rows.is_empty() {
            let part = &rows[..filled(rows.len())];
            let sql = self.upsert.of(part);
            all.extend(self.write(sql, part, true).await?);
            rows = &rows[part.len()..];
        }
        Ok(all)
    }

    async fn add_hints(&mut self, mut hints: &[Hint]) -> Result<(), Error> {
        while !hints.is_empty() {
            let part = &hints[..filled(hints.len())];
            let sql = self.add_hints.of(part.len());
            let query = sqlx::query_with(AssertSqlSafe(sql), hint_list(part)?);
            query.execute(&mut *self.connection).await.map_err(classify)?;
            hints = &hints[part.len()..];
        }
        Ok(())
    }

    async fn log_changes(&mut self, lane: u64, seq: u64, keys: &[Key]) -> Result<(), Error> {
        let keys = keys.iter().map(Key::as_bytes);
        self.bytes += keys.clone().map(<[u8]>::len).sum::<usize>();
        let mut parts = changes::arguments(lane, seq, self.clock.now()?, keys)?;
        self.log_with_commit = parts.pop();
        for part in parts {
            self.run_with(text::changes::LOG_CHANGES, part).await?;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), Error> {
        match self.log_with_commit.take() {
            None => self.run(text::COMMIT).await?,
            Some(part) => self.run_with(text::changes::LOG_AND_COMMIT, part).await?,
        }
        self.is_in_transaction = false;
        // What went into a file that is not the store any more is not acknowledged.
        self.connection.check_committed()
    }

    async fn rollback(&mut self) -> Result<(), Error> {
        self.log_with_commit = None;
        // The fence may have failed before there was a transaction.
        if self.is_in_transaction {
            match self.run(text::ROLLBACK).await {
                // `SQLite` itself rolls back when there is no room.
                Err(Error::Internal(reason)) if self.refused_bytes.is_some() => {
                    debug!(%reason, "rolled back already");
                }
                ended => ended?,
            }
            self.is_in_transaction = false;
        }
        Ok(())
    }

    /// Takes the lock of writers for a moment. After a transaction that found no room, writes as much as that transaction.
    async fn touch(&mut self, _lane: u64) -> Result<(), Error> {
        self.connection.check_write().await?;
        self.begin().await?;
        if let Some(bytes) = self.refused_bytes {
            let filled = self.fill(bytes).await;
            self.rollback().await?;
            filled?;
            self.refused_bytes = None;
            return Ok(());
        }
        if self.store_time().await? { self.commit().await } else { self.rollback().await }
    }
}

#[cfg(test)]
mod tests;
