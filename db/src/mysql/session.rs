//! The connection of a lane to `MySQL` or `MariaDB`.

use std::sync::Arc;

use sqlx::mysql::{MySqlArguments, MySqlQueryResult};
use sqlx::{AssertSqlSafe, MySqlConnection, Row as _};

use super::arguments::{bind, bind_instant, hint_list, key_list};
use super::brief::brief;
use super::changes;
use super::connect::{Identity, MySql, ServerFacts};
use super::error::classify;
use super::lane_row;
use super::locks::LockFinder;
use super::server_check::{CheckResult, ServerChecker};
use super::text;
use crate::engine::clock::STORED_AGE_MAX_MICROS;
use crate::engine::shapes::{
    KEYS_PER_SELECT_MAX, RowStatement, StatementTexts, filled, may_expire, pad, padded,
};
use crate::engine::{FoundLocks, WriteSession};
use crate::entry::{KEY_BYTES_MAX, Key, Rev};
use crate::error::Error;
use crate::plan::run::{CurrentRow, Row, UpsertResult};
use crate::sweeper::hint::Hint;

/// The bytes of a row in an upsert, without key and value.
const ROW_BYTES: usize = 48;

/// One connection for writes. Autocommit is off, so the fence opens the transaction.
#[derive(Debug)]
pub(crate) struct MySqlSession {
    pub(super) connection: MySqlConnection,
    checker: ServerChecker,
    pub(super) identity: Identity,
    /// For another connection, which ends a statement of this one.
    server: MySql,
    /// Whether the transaction has looked for locks, so that its statements should meet none.
    is_brief: bool,
    /// The most bytes of a statement with several rows.
    statement_bytes_max: usize,
    read_for_update: StatementTexts,
    read_upserted: StatementTexts,
    locks: LockFinder,
    insert: RowStatement,
    upsert: RowStatement,
    add_hints: StatementTexts,
}

impl MySqlSession {
    pub(super) fn new(
        server: MySql,
        connection: MySqlConnection,
        identity: Identity,
        facts: ServerFacts,
    ) -> Self {
        let ServerFacts { checker, statement_bytes_max } = facts;
        Self {
            connection,
            checker,
            identity,
            server,
            is_brief: false,
            statement_bytes_max,
            read_for_update: StatementTexts::new(text::read_for_update),
            read_upserted: StatementTexts::new(text::read_upserted),
            locks: LockFinder::new(),
            insert: RowStatement::new(text::insert, text::insert_expiring),
            upsert: RowStatement::new(text::upsert, text::upsert_expiring),
            add_hints: StatementTexts::new(text::add_hints),
        }
    }

    /// The first rows that fit one statement: of a prepared size, within the limit of bytes.
    fn one_statement<'r, 'a>(&self, rows: &'r [Row<'a>]) -> &'r [Row<'a>] {
        let mut bytes = 0;
        let fits = |row: &&Row<'_>| {
            bytes += row.key.as_str().len() + row.value.len() + ROW_BYTES;
            bytes <= self.statement_bytes_max
        };
        let count = rows.iter().take_while(fits).count().max(1);
        &rows[..filled(count)]
    }

    async fn execute(&mut self, sql: Arc<str>, arguments: MySqlArguments) -> Result<MySqlQueryResult, Error> {
        let run = sqlx::query_with(AssertSqlSafe(sql), arguments).execute(&mut self.connection);
        if self.is_brief {
            // An added row may still meet the lock of a gap, which no look shows.
            return brief(&self.server, self.identity.connection, run).await;
        }
        run.await.map_err(classify)
    }

    async fn has_hints(&mut self) -> Result<bool, Error> {
        let has_hints = sqlx::query_scalar::<_, i64>(text::HAS_HINTS).fetch_one(&mut self.connection);
        Ok(has_hints.await.map_err(classify)? != 0)
    }

    /// Runs an insert or an upsert, whose text is `sql`.
    async fn write(
        &mut self,
        sql: Arc<str>,
        rows: &[Row<'_>],
        overwrites: bool,
    ) -> Result<MySqlQueryResult, Error> {
        let (may_expire, floor) = (may_expire(rows), self.checker.known_floor());
        let mut arguments = MySqlArguments::default();
        for row in rows {
            bind(&mut arguments, row.key.as_bytes())?;
            bind(&mut arguments, row.value.as_bytes())?;
            bind(&mut arguments, row.rev)?;
            bind(&mut arguments, row.rev)?;
            if may_expire {
                bind_instant(&mut arguments, row.expiry, floor)?;
            }
        }
        if overwrites {
            bind(&mut arguments, floor)?;
        }
        self.execute(sql, arguments).await
    }

    /// The results of an upsert after which some rows are new and some are not.
    async fn read_upserted(&mut self, rows: &[Row<'_>]) -> Result<Vec<UpsertResult>, Error> {
        let sql = self.read_upserted.of(padded(rows.len()));
        let keys = rows.iter().map(|row| row.key.as_bytes());
        let query = sqlx::query_with(AssertSqlSafe(sql), key_list(keys)?);
        let found = query.fetch_all(&mut self.connection).await.map_err(classify)?;
        if found.len() != rows.len() {
            return Err(Error::Internal("a row just written cannot be read".into()));
        }
        let result = |row: &sqlx::mysql::MySqlRow| {
            Ok(UpsertResult {
                rev: row.try_get_unchecked(0).map_err(classify)?,
                created: row.try_get_unchecked::<i64, _>(1).map_err(classify)? != 0,
            })
        };
        found.iter().map(result).collect()
    }
}

impl WriteSession for MySqlSession {
    async fn register(&mut self, lane: u64, logs: bool) -> Result<(), Error> {
        lane_row::register(&mut self.connection, &self.checker, lane, logs).await?;
        self.commit().await
    }

    async fn fence(&mut self, lane: u64, seq: u64, revs: u64) -> Result<Option<Rev>, Error> {
        lane_row::pass_fence(&mut self.connection, &mut self.checker, lane, seq, revs).await
    }

    async fn read_seq(&mut self, lane: u64) -> Result<Option<u64>, Error> {
        let read = sqlx::query_scalar(text::SEQ).bind(lane);
        read.fetch_optional(&mut self.connection).await.map_err(classify)
    }

    async fn find_locked(&mut self, keys: &[&Key]) -> Result<FoundLocks, Error> {
        self.is_brief = true;
        self.locks.find(&mut self.connection, keys).await
    }

    async fn read_for_update(&mut self, keys: &[&Key]) -> Result<Vec<CurrentRow>, Error> {
        let mut current = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_PER_SELECT_MAX) {
            let sql = self.read_for_update.of(padded(keys.len()));
            let mut arguments = MySqlArguments::default();
            bind(&mut arguments, self.checker.known_floor())?;
            for key in pad(keys.iter()) {
                bind(&mut arguments, key.as_bytes())?;
            }
            let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
            let found = query.fetch_all(&mut self.connection).await.map_err(classify)?;
            let columns = |row: &sqlx::mysql::MySqlRow| {
                let key: Vec<u8> = row.try_get_unchecked(0).map_err(classify)?;
                let is_live = row.try_get_unchecked::<i64, _>(2).map_err(classify)? != 0;
                Ok((key, row.try_get_unchecked(1).map_err(classify)?, is_live))
            };
            let found = found.iter().map(columns).collect::<Result<_, Error>>()?;
            current.extend(CurrentRow::of(keys, found));
        }
        Ok(current)
    }

    async fn insert(&mut self, mut rows: &[Row<'_>]) -> Result<(), Error> {
        while !rows.is_empty() {
            let part = self.one_statement(rows);
            let sql = self.insert.of(part);
            self.write(sql, part, false).await?;
            rows = &rows[part.len()..];
        }
        Ok(())
    }

    async fn overwrite(&mut self, mut rows: &[Row<'_>]) -> Result<(), Error> {
        while !rows.is_empty() {
            let part = self.one_statement(rows);
            let sql = self.upsert.of(part);
            self.write(sql, part, true).await?;
            rows = &rows[part.len()..];
        }
        Ok(())
    }

    async fn upsert(&mut self, mut rows: &[Row<'_>]) -> Result<Vec<UpsertResult>, Error> {
        let mut all = Vec::with_capacity(rows.len());
        while !rows.is_empty() {
            let part = self.one_statement(rows);
            let sql = self.upsert.of(part);
            let done = self.write(sql, part, true).await?;
            // An insert counts 1 and an update 2. A last_insert_id says that a row had expired, or that its stored revision was
            // not lower.
            let as_planned = done.last_insert_id() == 0;
            let (affected, rows_written) = (done.rows_affected(), part.len() as u64);
            let results = |created| part.iter().map(move |row| UpsertResult { rev: row.rev, created });
            if as_planned && affected == rows_written {
                all.extend(results(true));
            } else if as_planned && affected == 2 * rows_written {
                all.extend(results(false));
            } else {
                all.extend(self.read_upserted(part).await?);
            }
            rows = &rows[part.len()..];
        }
        Ok(all)
    }

    async fn add_hints(&mut self, mut hints: &[Hint]) -> Result<(), Error> {
        while !hints.is_empty() {
            // Even a statement of the longest keys must fit.
            let most = (self.statement_bytes_max / (KEY_BYTES_MAX + ROW_BYTES)).max(1);
            let part = &hints[..filled(hints.len().min(most))];
            let sql = self.add_hints.of(part.len());
            self.execute(sql, hint_list(part)?).await?;
            hints = &hints[part.len()..];
        }
        Ok(())
    }

    async fn log_changes(&mut self, lane: u64, seq: u64, keys: &[Key]) -> Result<(), Error> {
        let floor = self.checker.known_floor();
        let parts = changes::parts(keys.iter().map(Key::as_bytes), self.statement_bytes_max);
        for part in changes::arguments(lane, seq, floor, &parts) {
            self.execute(text::changes::LOG_CHANGES.into(), part?).await?;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), Error> {
        self.is_brief = false;
        sqlx::query(text::COMMIT).execute(&mut self.connection).await.map(drop).map_err(classify)
    }

    async fn rollback(&mut self) -> Result<(), Error> {
        self.is_brief = false;
        sqlx::query(text::ROLLBACK).execute(&mut self.connection).await.map(drop).map_err(classify)
    }

    async fn touch(&mut self, lane: u64) -> Result<(), Error> {
        if self.checker.fresh_floor().is_some() {
            return Ok(());
        }
        let CheckResult { floor, stored, is_durable: _ } = self.checker.check(&mut self.connection).await?;
        if stored.saturating_add(STORED_AGE_MAX_MICROS) < floor && self.has_hints().await? {
            let store = sqlx::query(text::STORE_TIME).bind(floor).bind(lane);
            store.execute(&mut self.connection).await.map_err(classify)?;
        }
        self.commit().await
    }
}
