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
use crate::engine::columns::ScannedColumns;
use crate::engine::yielding;
use crate::entry::{KEY_BYTES_MAX, Record};
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
        let (start, end) = range.bounds();
        // No table has more rows than that, and no value more bytes.
        let [limit, bytes] = [limit, value_bytes_max].map(|max| i64::try_from(max).unwrap_or(i64::MAX));
        // Longer than any key, so it comes after every key, even after keys that are no UTF-8.
        let end = end.unwrap_or_else(|| vec![u8::MAX; KEY_BYTES_MAX + 1]);
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

    fn displaced(&self) -> impl Future<Output = Error> + Send + use<> {
        let moved = self.connection.moved();
        async move {
            moved.await;
            Error::Unavailable("the files of the database were moved or replaced".into())
        }
    }

    async fn end(&mut self) -> Result<(), Error> {
        self.run(text::COMMIT).await
    }

    async fn close(self) {
        self.connection.close().await;
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::{DatabaseUsers, Engine as _};
    use crate::sqlite::connect::Sqlite;
    use crate::store::Store;

    use super::*;

    #[tokio::test]
    async fn a_page_is_a_search_in_the_primary_key_wherever_it_begins() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let url = format!("sqlite://{}", folder.path().join("plan.db").display());
        let store = Store::new(&url, None, false).expect("the URL is valid");
        store.migrate(&DatabaseUsers::default()).await.expect("the schema can be made");
        let mut scanner =
            Sqlite::new(&url).expect("the URL is valid").open_scanner().await.expect("it opens");
        let explain = sqlx::AssertSqlSafe(format!("explain query plan {}", text::RECORDS));
        let explain = sqlx::query(explain).bind(1).bind(vec![1]).bind(vec![2]).bind(10);
        let steps = explain.fetch_all(&mut *scanner.connection).await.expect("it can be explained");
        let steps: Vec<String> = steps.iter().map(|step| step.get("detail")).collect();
        assert_eq!(steps, ["SEARCH entries USING PRIMARY KEY (k>? AND k<?)"]);
    }
}
