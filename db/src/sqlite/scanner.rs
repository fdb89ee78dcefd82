//! Reads from `SQLite` in key order.

use std::ops::ControlFlow;

use futures_util::TryStreamExt;
use sqlx::{Connection as _, Row as _, SqliteConnection};

use super::arguments::{signed, unsigned};
use super::clock::now;
use super::error::classify;
use super::text;
use crate::engine::ScanSession;
use crate::engine::clock::StoreClock;
use crate::engine::columns::record;
use crate::entry::Record;
use crate::error::Error;
use crate::scanner::range::Range;

/// One connection for reads in key order.
#[derive(Debug)]
pub(crate) struct SqliteScanner {
    connection: SqliteConnection,
    clock: StoreClock,
}

impl SqliteScanner {
    pub(super) fn new(connection: SqliteConnection, clock: StoreClock) -> Self {
        Self { connection, clock }
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), Error> {
        sqlx::query(sql).execute(&mut self.connection).await.map(drop).map_err(classify)
    }
}

impl ScanSession for SqliteScanner {
    async fn begin(&mut self) -> Result<(), Error> {
        // Not in the transaction, which would see the time in the store as it was at its snapshot.
        now(&mut self.connection, &self.clock).await?;
        self.run(text::BEGIN_SNAPSHOT).await
    }

    async fn records(
        &mut self,
        range: &Range,
        limit: usize,
        mut on_record: impl FnMut(Record<'_>) -> ControlFlow<()> + Send,
    ) -> Result<usize, Error> {
        let (start, end) = range.bounds();
        // No table has more rows than that.
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        // This byte is in no UTF-8, so it comes after every key.
        let end = end.unwrap_or_else(|| vec![u8::MAX]);
        let now = signed(self.clock.now()?)?;
        let query = sqlx::query(text::RECORDS).bind(now).bind(start).bind(end).bind(limit);
        let mut rows = query.fetch(&mut self.connection);
        let (mut count, mut flow) = (0, ControlFlow::Continue(()));
        while let Some(row) = rows.try_next().await.map_err(classify)? {
            count += 1;
            if flow.is_continue() {
                let key = row.try_get_unchecked(0).map_err(classify)?;
                let value = row.try_get_unchecked(1).map_err(classify)?;
                let rev = unsigned(row.try_get_unchecked(2).map_err(classify)?)?;
                let expires_at: Option<i64> = row.try_get_unchecked(3).map_err(classify)?;
                let expires_at = expires_at.map(unsigned).transpose()?;
                flow = on_record(record(key, value, rev, expires_at)?);
            }
        }
        Ok(count)
    }

    async fn end(&mut self) -> Result<(), Error> {
        self.run(text::COMMIT).await
    }

    async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "the connection could not be closed properly");
        }
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
        let steps = explain.fetch_all(&mut scanner.connection).await.expect("it can be explained");
        let steps: Vec<String> = steps.iter().map(|step| step.get("detail")).collect();
        assert_eq!(steps, ["SEARCH entries USING PRIMARY KEY (k>? AND k<?)"]);
    }
}
