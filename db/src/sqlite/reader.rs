//! Gets from `SQLite`.

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Row as _};

use super::arguments::{key_list, unsigned};
use super::connection::Connection;
use super::error::classify;
use super::text;
use crate::engine::ReadSession;
use crate::engine::columns::entry;
use crate::engine::shapes::{StatementTexts, padded};
use crate::entry::{Entry, Key};
use crate::error::Error;

/// One connection for gets.
#[derive(Debug)]
pub(crate) struct SqliteReader {
    connection: Connection,
    get: StatementTexts,
}

impl SqliteReader {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, get: StatementTexts::new(text::get) }
    }
}

impl ReadSession for SqliteReader {
    async fn get(&mut self, keys: &[Key], mut on_entry: impl FnMut(Entry) + Send) -> Result<(), Error> {
        self.connection.check_read()?;
        let sql = self.get.of(padded(keys.len()));
        let query = sqlx::query_with(AssertSqlSafe(sql), key_list(keys.iter().map(Key::as_bytes))?);
        let mut rows = query.fetch(&mut *self.connection);
        while let Some(row) = rows.try_next().await.map_err(classify)? {
            let key: &[u8] = row.try_get_unchecked(0).map_err(classify)?;
            let value: &[u8] = row.try_get_unchecked(1).map_err(classify)?;
            on_entry(entry(key, value, unsigned(row.try_get_unchecked(2).map_err(classify)?)?)?);
        }
        Ok(())
    }
}
