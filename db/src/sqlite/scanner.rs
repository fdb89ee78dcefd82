//! Reads from `SQLite` in key order.

use std::ops::ControlFlow;
use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use super::{NOW, Sqlite, error, unsigned};
use crate::engine::columns::record;
use crate::entry::Record;
use crate::error::Error;
use crate::scanner::range::Range;

/// One connection for reads in key order.
#[derive(Debug)]
pub(crate) struct SqliteScanner {
    connection: SqliteConnection,
    records: Arc<str>,
}

impl Sqlite {
    pub(crate) async fn scanner(&self) -> Result<SqliteScanner, Error> {
        Ok(SqliteScanner { connection: self.open().await?, records: records().into() })
    }
}

impl SqliteScanner {
    /// The snapshot is the one that the first statement sees.
    pub(crate) async fn begin(&mut self) -> Result<(), Error> {
        self.run("begin deferred").await
    }

    pub(crate) async fn records(
        &mut self,
        range: &Range,
        most: usize,
        mut on_record: impl FnMut(Record<'_>) -> ControlFlow<()> + Send,
    ) -> Result<usize, Error> {
        let (start, end) = range.bounds();
        // More rows than a table can have are all of them.
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let query = sqlx::query(AssertSqlSafe(Arc::clone(&self.records)));
        // Behind every key, because it is no UTF-8.
        let end = end.unwrap_or_else(|| vec![u8::MAX]);
        let mut rows = query.bind(start).bind(end).bind(most).fetch(&mut self.connection);
        let (mut count, mut flow) = (0, ControlFlow::Continue(()));
        while let Some(row) = rows.try_next().await.map_err(error)? {
            count += 1;
            if flow.is_continue() {
                let key = row.try_get_unchecked(0).map_err(error)?;
                let value = row.try_get_unchecked(1).map_err(error)?;
                let rev = unsigned(row.try_get_unchecked(2).map_err(error)?)?;
                let expires_at: Option<i64> = row.try_get_unchecked(3).map_err(error)?;
                let expires_at = expires_at.map(unsigned).transpose()?;
                flow = on_record(record(key, value, rev, expires_at)?);
            }
        }
        Ok(count)
    }

    pub(crate) async fn end(&mut self) -> Result<(), Error> {
        self.run("commit").await
    }

    pub(crate) async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "the file was closed all the same");
        }
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), Error> {
        sqlx::query(sql).execute(&mut self.connection).await.map(drop).map_err(error)
    }
}

fn records() -> String {
    format!(
        "select k, iif(expires_at is null or expires_at > {NOW}, v, null), rev, expires_at from entries \
         where k >= ? and k < ? order by k limit ?"
    )
}

#[cfg(test)]
mod tests {
    use crate::engine::Grants;
    use crate::store::Store;

    use super::*;

    #[tokio::test]
    async fn a_page_is_a_search_in_the_primary_key_wherever_it_begins() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let url = format!("sqlite://{}", folder.path().join("plan.db").display());
        let store = Store::new(&url, None, false).expect("the URL is valid");
        store.migrate(&Grants::default()).await.expect("the schema can be made");
        let mut scanner = Sqlite::new(&url).expect("the URL is valid").scanner().await.expect("it opens");
        let explain = AssertSqlSafe(format!("explain query plan {}", records()));
        let explain = sqlx::query(explain).bind(vec![1]).bind(vec![2]).bind(10);
        let steps = explain.fetch_all(&mut scanner.connection).await.expect("it can be explained");
        let steps: Vec<String> = steps.iter().map(|step| step.get("detail")).collect();
        assert_eq!(steps, ["SEARCH entries USING PRIMARY KEY (k>? AND k<?)"]);
    }
}
