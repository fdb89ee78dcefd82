//! Reads from `MySQL` and `MariaDB` in key order.

use std::ops::ControlFlow;

use futures_util::TryStreamExt;
use sqlx::{MySqlConnection, Row as _};

use super::clock::floor;
use super::connect::close;
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
pub(crate) struct MySqlScanner {
    connection: MySqlConnection,
    clock: StoreClock,
}

impl MySqlScanner {
    pub(super) async fn new(mut connection: MySqlConnection, clock: StoreClock) -> Result<Self, Error> {
        for setting in text::SCANNER_SETTINGS {
            sqlx::raw_sql(setting).execute(&mut connection).await.map_err(classify)?;
        }
        Ok(Self { connection, clock })
    }
}

impl ScanSession for MySqlScanner {
    async fn begin(&mut self) -> Result<(), Error> {
        // Not in the transaction, which would see the time in the store as it was at its snapshot.
        floor(&mut self.connection, &self.clock).await?;
        // This statement cannot be prepared.
        let begin = sqlx::raw_sql(text::BEGIN_SNAPSHOT);
        begin.execute(&mut self.connection).await.map(drop).map_err(classify)
    }

    async fn records(
        &mut self,
        range: &Range,
        limit: usize,
        mut on_record: impl FnMut(Record<'_>) -> ControlFlow<()> + Send,
    ) -> Result<usize, Error> {
        let (start, end) = range.bounds();
        let floor = self.clock.floor();
        let query = match end {
            Some(end) => sqlx::query(text::RECORDS).bind(floor).bind(start).bind(end),
            None => sqlx::query(text::ALL_RECORDS).bind(floor).bind(start),
        };
        let mut rows = query.bind(limit as u64).fetch(&mut self.connection);
        let (mut count, mut flow) = (0, ControlFlow::Continue(()));
        while let Some(row) = rows.try_next().await.map_err(classify)? {
            count += 1;
            if flow.is_continue() {
                let key = row.try_get_unchecked(0).map_err(classify)?;
                let value = row.try_get_unchecked(1).map_err(classify)?;
                let rev = row.try_get_unchecked(2).map_err(classify)?;
                let expires_at = row.try_get_unchecked(3).map_err(classify)?;
                flow = on_record(record(key, value, rev, expires_at)?);
            }
        }
        Ok(count)
    }

    async fn end(&mut self) -> Result<(), Error> {
        sqlx::query(text::COMMIT).execute(&mut self.connection).await.map(drop).map_err(classify)
    }

    async fn close(self) {
        close(self.connection).await;
    }
}
