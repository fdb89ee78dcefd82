//! Gets from `SQLite`.

use std::ops::ControlFlow;

use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Row as _};

use super::arguments::{bind, bind_keys, signed};
use super::clock::now;
use super::connection::Connection;
use super::error::classify;
use super::text;
use crate::engine::ReadSession;
use crate::engine::clock::StoreClock;
use crate::engine::columns::{entry, left_out};
use crate::engine::shapes::{StatementTexts, padded};
use crate::engine::yielding;
use crate::entry::{Entry, Key};
use crate::error::Error;
use crate::row::RowError;

/// One connection for gets.
#[derive(Debug)]
pub(crate) struct SqliteReader {
    connection: Connection,
    clock: StoreClock,
    get: StatementTexts,
    get_bounded: StatementTexts,
}

impl SqliteReader {
    pub(super) fn new(connection: Connection, clock: StoreClock) -> Self {
        let (get, get_bounded) = (StatementTexts::new(text::get), StatementTexts::new(text::get_bounded));
        Self { connection, clock, get, get_bounded }
    }
}

impl ReadSession for SqliteReader {
    async fn get(
        &mut self,
        keys: &[Key],
        value_bytes_max: Option<usize>,
        mut on_row: impl FnMut(Result<Entry, RowError>) -> ControlFlow<()> + Send,
    ) -> Result<(), Error> {
        self.connection.check_read()?;
        let mut arguments = SqliteArguments::default();
        let texts = match value_bytes_max {
            None => &mut self.get,
            Some(max) => {
                // No value has more bytes than that.
                bind(&mut arguments, i64::try_from(max).unwrap_or(i64::MAX))?;
                &mut self.get_bounded
            }
        };
        bind_keys(&mut arguments, keys.iter().map(Key::as_bytes))?;
        bind(&mut arguments, signed(now(&mut self.connection, &self.clock).await?)?)?;
        let query = sqlx::query_with(AssertSqlSafe(texts.of(padded(keys.len()))), arguments);
        let mut rows = query.fetch(&mut *self.connection);
        while let Some(row) = rows.try_next().await.map_err(classify)? {
            let key: &[u8] = row.try_get_unchecked(0).map_err(classify)?;
            let value: Option<&[u8]> = row.try_get_unchecked(1).map_err(classify)?;
            let value_bytes = value.map_or(0, <[u8]>::len);
            let row = match value {
                Some(value) => entry(key, value, row.try_get_unchecked::<i64, _>(2).map_err(classify)?),
                None => Err(left_out(key, row.try_get_unchecked::<i64, _>(3).map_err(classify)?)),
            };
            // To drop the rows ends the statement.
            if on_row(row).is_break() {
                break;
            }
            yielding::after_value(value_bytes).await;
        }
        Ok(())
    }
}
