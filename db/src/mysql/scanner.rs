//! Reads from `MySQL` and `MariaDB` in key order.

use std::ops::ControlFlow;

use futures_util::TryStreamExt;
use sqlx::{MySqlConnection, Row as _};

use super::connect::{MySql, close, error};
use super::now;
use crate::engine::columns::record;
use crate::entry::Record;
use crate::error::Error;
use crate::scanner::range::Range;

/// A snapshot of several statements needs it. Who reads them may be gone without a word: the server then gives its
/// snapshot up after 30 s, not after hours.
const SETTINGS: [&str; 2] =
    ["set session transaction isolation level repeatable read", "set wait_timeout = 30"];

macro_rules! select {
    () => {
        concat!(
            "select k, if(expires_at is null or expires_at > ",
            now!(),
            ", v, null), rev, expires_at from entries"
        )
    };
}

const BEGIN: &str = "start transaction with consistent snapshot, read only";

/// A range of the primary key, whatever the prefix and wherever it goes on.
const RECORDS: &str = concat!(select!(), " where k >= ? and k < ? order by k limit ?");

/// To the last key. Not a bound behind it: while a statement is under way that has such bytes as an argument, `MySQL` 9.7 fails
/// whoever asks `information_schema.processlist`.
const ALL_RECORDS: &str = concat!(select!(), " where k >= ? order by k limit ?");

/// One connection for reads in key order.
#[derive(Debug)]
pub(crate) struct MySqlScanner {
    connection: MySqlConnection,
}

impl MySql {
    pub(crate) async fn scanner(&self) -> Result<MySqlScanner, Error> {
        let (mut connection, _) = self.open(false).await?;
        for setting in SETTINGS {
            sqlx::raw_sql(setting).execute(&mut connection).await.map_err(error)?;
        }
        Ok(MySqlScanner { connection })
    }
}

impl MySqlScanner {
    pub(crate) async fn begin(&mut self) -> Result<(), Error> {
        // It cannot be prepared.
        sqlx::raw_sql(BEGIN).execute(&mut self.connection).await.map(drop).map_err(error)
    }

    pub(crate) async fn records(
        &mut self,
        range: &Range,
        most: usize,
        mut on_record: impl FnMut(Record<'_>) -> ControlFlow<()> + Send,
    ) -> Result<usize, Error> {
        let (start, end) = range.bounds();
        let query = match end {
            Some(end) => sqlx::query(RECORDS).bind(start).bind(end),
            None => sqlx::query(ALL_RECORDS).bind(start),
        };
        let mut rows = query.bind(most as u64).fetch(&mut self.connection);
        let (mut count, mut flow) = (0, ControlFlow::Continue(()));
        while let Some(row) = rows.try_next().await.map_err(error)? {
            count += 1;
            if flow.is_continue() {
                let key = row.try_get_unchecked(0).map_err(error)?;
                let value = row.try_get_unchecked(1).map_err(error)?;
                let rev = row.try_get_unchecked(2).map_err(error)?;
                let expires_at = row.try_get_unchecked(3).map_err(error)?;
                flow = on_record(record(key, value, rev, expires_at)?);
            }
        }
        Ok(count)
    }

    pub(crate) async fn end(&mut self) -> Result<(), Error> {
        sqlx::query("commit").execute(&mut self.connection).await.map(drop).map_err(error)
    }

    pub(crate) async fn close(self) {
        close(self.connection).await;
    }
}
