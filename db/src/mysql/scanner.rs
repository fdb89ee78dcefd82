//! Reads from `MySQL` and `MariaDB` in key order.

use std::future::pending;
use std::ops::ControlFlow;

use futures_util::TryStreamExt;
use sqlx::mysql::MySqlArguments;
use sqlx::query::Query;
use sqlx::{MySql, MySqlConnection, Row as _};

use super::connect::close;
use super::error::classify;
use super::server_check::ServerChecker;
use super::text;
use crate::engine::ScanSession;
use crate::engine::columns::{ScannedColumns, key_record};
use crate::engine::yielding;
use crate::entry::{KeyRecord, Record};
use crate::error::Error;
use crate::row::RowError;
use crate::scanner::range::Range;

/// One connection for reads in key order.
#[derive(Debug)]
pub(crate) struct MySqlScanner {
    connection: MySqlConnection,
    checker: ServerChecker,
}

impl MySqlScanner {
    pub(super) async fn new(mut connection: MySqlConnection, checker: ServerChecker) -> Result<Self, Error> {
        for setting in text::SCANNER_SETTINGS {
            sqlx::raw_sql(setting).execute(&mut connection).await.map_err(classify)?;
        }
        Ok(Self { connection, checker })
    }
}

impl ScanSession for MySqlScanner {
    async fn begin(&mut self) -> Result<(), Error> {
        // Not in the transaction, which would see the stored time as it was at its snapshot.
        self.checker.floor(&mut self.connection).await?;
        // This statement cannot be prepared.
        let begin = sqlx::raw_sql(text::BEGIN_SNAPSHOT);
        begin.execute(&mut self.connection).await.map(drop).map_err(classify)
    }

    async fn records(
        &mut self,
        range: &Range,
        limit: usize,
        value_bytes_max: usize,
        mut on_row: impl FnMut(Result<Record<'_>, RowError>) -> ControlFlow<()> + Send,
    ) -> Result<usize, Error> {
        let bounds = range.bounds();
        let query = sqlx::query(if bounds.1.is_some() { text::RECORDS } else { text::ALL_RECORDS });
        let floor = self.checker.known_floor();
        let query = query.bind(floor).bind(value_bytes_max as u64).bind(floor);
        let mut rows = bind_last(query, bounds, limit).fetch(&mut self.connection);
        let (mut count, mut flow) = (0, ControlFlow::Continue(()));
        while let Some(row) = rows.try_next().await.map_err(classify)? {
            count += 1;
            if flow.is_continue() {
                let columns = ScannedColumns::<u64> {
                    key: row.try_get_unchecked(0).map_err(classify)?,
                    value: row.try_get_unchecked(1).map_err(classify)?,
                    rev: row.try_get_unchecked(2).map_err(classify)?,
                    expires_at: row.try_get_unchecked(3).map_err(classify)?,
                    value_bytes: row.try_get_unchecked(4).map_err(classify)?,
                };
                let value_bytes = columns.value.map_or(0, <[u8]>::len);
                flow = on_row(columns.record(value_bytes_max));
                yielding::after_value(value_bytes).await;
            }
        }
        Ok(count)
    }

    async fn keys(
        &mut self,
        range: &Range,
        limit: usize,
        mut on_row: impl FnMut(Result<KeyRecord<'_>, RowError>) -> ControlFlow<()> + Send,
    ) -> Result<usize, Error> {
        let bounds = range.bounds();
        let query = sqlx::query(if bounds.1.is_some() { text::KEYS } else { text::ALL_KEYS });
        let query = query.bind(self.checker.known_floor());
        let mut rows = bind_last(query, bounds, limit).fetch(&mut self.connection);
        let (mut count, mut flow) = (0, ControlFlow::Continue(()));
        while let Some(row) = rows.try_next().await.map_err(classify)? {
            count += 1;
            if flow.is_continue() {
                let key: &[u8] = row.try_get_unchecked(0).map_err(classify)?;
                let rev: u64 = row.try_get_unchecked(1).map_err(classify)?;
                let is_live: bool = row.try_get_unchecked(2).map_err(classify)?;
                flow = on_row(key_record(key, rev, is_live));
            }
        }
        Ok(count)
    }

    /// A server needs no connection to be closed.
    fn displaced(&self) -> impl Future<Output = Error> + Send + use<> {
        pending()
    }

    async fn end(&mut self) -> Result<(), Error> {
        sqlx::query(text::COMMIT).execute(&mut self.connection).await.map(drop).map_err(classify)
    }

    async fn close(self) {
        close(self.connection).await;
    }
}

/// Binds the last parameters of every scan: the bounds of its range, and the most rows.
pub(super) fn bind_last(
    query: Query<'_, MySql, MySqlArguments>,
    (start, end): (Vec<u8>, Option<Vec<u8>>),
    limit: usize,
) -> Query<'_, MySql, MySqlArguments> {
    let query = query.bind(start);
    let query = match end {
        Some(end) => query.bind(end),
        None => query,
    };
    query.bind(limit as u64)
}
