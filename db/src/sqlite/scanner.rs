//! Reads from `SQLite` in key order.

use std::ops::ControlFlow;

use futures_util::TryStreamExt;
use sqlx::Row as _;

use super::arguments::signed;
use super::clock::now;
use super::connection::Connection;
use super::error::classify;
use super::text;
use crate::engine::ScanSession;
use crate::engine::clock::StoreClock;
use crate::engine::columns::{ScannedColumns, key_record};
use crate::engine::yielding;
use crate::entry::{KEY_BYTES_MAX, KeyRecord, Record};
use crate::error::Error;
use crate::row::RowError;
use crate::scanner::range::Range;

/// One connection for reads in key order.
#[derive(Debug)]
pub(crate) struct SqliteScanner {
    connection: Connection,
    clock: StoreClock,
}

impl SqliteScanner {
    pub(super) fn new(connection: Connection, clock: StoreClock) -> Self {
        Self { connection, clock }
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), Error> {
        sqlx::query(sql).execute(&mut *self.connection).await.map(drop).map_err(classify)
    }
}

impl ScanSession for SqliteScanner {
    async fn begin(&mut self) -> Result<(), Error> {
        self.connection.check_read()?;
        // Not in the transaction, which would see the stored time as it was at its snapshot.
        now(&mut self.connection, &self.clock).await?;
        self.run(text::BEGIN_SNAPSHOT).await
    }

    async fn records(
        &mut self,
        range: &Range,
        limit: usize,
        value_bytes_max: usize,
        mut on_row: impl FnMut(Result<Record<'_>, RowError>) -> ControlFlow<()> + Send,
    ) -> Result<usize, Error> {
        self.connection.check_read()?;
        let (start, end) = bounds(range);
        let [limit, bytes] = [limit, value_bytes_max].map(saturated);
        let query = sqlx::query(text::RECORDS)
            .bind(signed(self.clock.now()?)?)
            .bind(bytes)
            .bind(start)
            .bind(end)
            .bind(limit);
        let mut rows = query.fetch(&mut *self.connection);
        let mut count = 0;
        while let Some(row) = rows.try_next().await.map_err(classify)? {
            count += 1;
            let columns = ScannedColumns::<i64> {
                key: row.try_get_unchecked(0).map_err(classify)?,
                value: row.try_get_unchecked(1).map_err(classify)?,
                rev: row.try_get_unchecked(2).map_err(classify)?,
                expires_at: row.try_get_unchecked(3).map_err(classify)?,
                value_bytes: row.try_get_unchecked(4).map_err(classify)?,
            };
            let value_bytes = columns.value.map_or(0, <[u8]>::len);
            // To drop the rows ends the statement.
            if on_row(columns.record(value_bytes_max)).is_break() {
                break;
            }
            yielding::after_value(value_bytes).await;
        }
        Ok(count)
    }

    async fn keys(
        &mut self,
        range: &Range,
        limit: usize,
        mut on_row: impl FnMut(Result<KeyRecord<'_>, RowError>) -> ControlFlow<()> + Send,
    ) -> Result<usize, Error> {
        self.connection.check_read()?;
        let (start, end) = bounds(range);
        let query = sqlx::query(text::KEYS).bind(signed(self.clock.now()?)?).bind(start).bind(end);
        let mut rows = query.bind(saturated(limit)).fetch(&mut *self.connection);
        let mut count = 0;
        while let Some(row) = rows.try_next().await.map_err(classify)? {
            count += 1;
            let key: &[u8] = row.try_get_unchecked(0).map_err(classify)?;
            let rev: i64 = row.try_get_unchecked(1).map_err(classify)?;
            let is_live: bool = row.try_get_unchecked(2).map_err(classify)?;
            // Dropping `rows` ends the statement.
            if on_row(key_record(key, rev, is_live)).is_break() {
                break;
            }
        }
        Ok(count)
    }

    fn displaced(&self) -> impl Future<Output = Error> + Send + use<> {
        self.connection.displaced()
    }

    async fn end(&mut self) -> Result<(), Error> {
        self.run(text::COMMIT).await
    }

    async fn close(self) {
        self.connection.close().await;
    }
}

/// The lower bound (inclusive) and the upper bound (exclusive) of `range`.
pub(super) fn bounds(range: &Range) -> (Vec<u8>, Vec<u8>) {
    let (start, end) = range.bounds();
    // Longer than any key, so it comes after every key, even after keys that are no UTF-8.
    (start, end.unwrap_or_else(|| vec![u8::MAX; KEY_BYTES_MAX + 1]))
}

/// `max` as an argument of a statement, cut at `i64::MAX`. No table has so many rows, and no value so many bytes.
pub(super) fn saturated(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::engine::Engine as _;
    use crate::sqlite::fixture::TestStore;

    use super::*;

    #[tokio::test]
    async fn a_page_is_a_search_in_the_primary_key_wherever_it_begins() {
        let store = TestStore::new().await;
        let mut scanner = store.engine.open_scanner().await.expect("it opens");
        for statement in [text::RECORDS, text::KEYS] {
            let explain = sqlx::AssertSqlSafe(format!("explain query plan {statement}"));
            let explain = sqlx::query(explain).bind(1).bind(vec![1]).bind(vec![2]).bind(10);
            let steps = explain.fetch_all(&mut *scanner.connection).await.expect("it can be explained");
            let steps: Vec<String> = steps.iter().map(|step| step.get("detail")).collect();
            assert_eq!(steps, ["SEARCH entries USING PRIMARY KEY (k>? AND k<?)"], "{statement}");
        }
    }

    #[tokio::test]
    async fn a_page_without_values_needs_no_value() {
        let store = TestStore::new().await;
        let mut scanner = store.engine.open_scanner().await.expect("it opens");
        for (statement, needs_values) in [(text::RECORDS, true), (text::KEYS, false)] {
            let explain = sqlx::AssertSqlSafe(format!("explain {statement}"));
            let steps = sqlx::query(explain).fetch_all(&mut *scanner.connection).await;
            // The value is column 1.
            let is_value = |step: &sqlx::sqlite::SqliteRow| {
                step.get::<String, _>("opcode") == "Column" && step.get::<i64, _>("p2") == 1
            };
            let steps = steps.expect("it can be explained");
            assert_eq!(steps.iter().any(is_value), needs_values, "{statement}");
        }
    }
}
