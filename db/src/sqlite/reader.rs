//! Reads from `SQLite`.

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::{NOW, error, key_list, unsigned};
use crate::engine::columns::entry;
use crate::engine::shapes::{Texts, list, padded};
use crate::entry::{Entry, Key};
use crate::error::Error;

/// One connection for reads.
#[derive(Debug)]
pub(crate) struct SqliteReader {
    connection: SqliteConnection,
    get: Texts,
}

impl SqliteReader {
    pub(super) fn new(connection: SqliteConnection) -> Self {
        Self { connection, get: Texts::new(get) }
    }

    pub(crate) async fn get(
        &mut self,
        keys: &[Key],
        mut on_entry: impl FnMut(Entry) + Send,
    ) -> Result<(), Error> {
        let sql = self.get.of(padded(keys.len()));
        let query = sqlx::query_with(AssertSqlSafe(sql), key_list(keys.iter())?);
        let mut rows = query.fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await.map_err(error)? {
            let key: &[u8] = row.try_get_unchecked(0).map_err(error)?;
            let value: &[u8] = row.try_get_unchecked(1).map_err(error)?;
            on_entry(entry(key, value, unsigned(row.try_get_unchecked(2).map_err(error)?)?)?);
        }
        Ok(())
    }
}

fn get(keys: usize) -> String {
    let keys = list("?", keys);
    format!(
        "select k, v, rev from entries where k in ({keys}) and (expires_at is null or expires_at > {NOW})"
    )
}
