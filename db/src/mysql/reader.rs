//! Gets from `MySQL` and `MariaDB`.

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, MySqlConnection, Row as _};

use super::arguments::{bind, key_list};
use super::clock::floor;
use super::error::classify;
use super::text;
use crate::engine::ReadSession;
use crate::engine::clock::StoreClock;
use crate::engine::columns::entry;
use crate::engine::shapes::{StatementTexts, padded};
use crate::entry::{Entry, Key};
use crate::error::Error;

/// One connection for gets: autocommit on.
#[derive(Debug)]
pub(crate) struct MySqlReader {
    connection: MySqlConnection,
    clock: StoreClock,
    get: StatementTexts,
}

impl MySqlReader {
    pub(super) fn new(connection: MySqlConnection, clock: StoreClock) -> Self {
        Self { connection, clock, get: StatementTexts::new(text::get) }
    }
}

impl ReadSession for MySqlReader {
    async fn get(&mut self, keys: &[Key], mut on_entry: impl FnMut(Entry) + Send) -> Result<(), Error> {
        let sql = self.get.of(padded(keys.len()));
        let mut arguments = key_list(keys.iter().map(Key::as_bytes))?;
        bind(&mut arguments, floor(&mut self.connection, &self.clock).await?)?;
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
        let mut rows = query.fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await.map_err(classify)? {
            let key: &[u8] = row.try_get_unchecked(0).map_err(classify)?;
            let value: &[u8] = row.try_get_unchecked(1).map_err(classify)?;
            on_entry(entry(key, value, row.try_get_unchecked(2).map_err(classify)?)?);
        }
        Ok(())
    }
}
