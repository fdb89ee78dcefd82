//! Gets from `MySQL` and `MariaDB`.

use std::ops::ControlFlow;

use futures_util::TryStreamExt;
use sqlx::mysql::MySqlArguments;
use sqlx::{AssertSqlSafe, MySqlConnection, Row as _};

use super::arguments::{bind, bind_keys};
use super::error::classify;
use super::server_check::ServerChecker;
use super::text;
use crate::engine::ReadSession;
use crate::engine::columns::{entry, left_out};
use crate::engine::shapes::{StatementTexts, padded};
use crate::engine::yielding;
use crate::entry::{Entry, Key};
use crate::error::Error;
use crate::row::RowError;

/// One connection for gets: autocommit on.
#[derive(Debug)]
pub(crate) struct MySqlReader {
    connection: MySqlConnection,
    checker: ServerChecker,
    get: StatementTexts,
    get_bounded: StatementTexts,
}

impl MySqlReader {
    pub(super) fn new(connection: MySqlConnection, checker: ServerChecker) -> Self {
        let (get, get_bounded) = (StatementTexts::new(text::get), StatementTexts::new(text::get_bounded));
        Self { connection, checker, get, get_bounded }
    }
}

impl ReadSession for MySqlReader {
    async fn get(
        &mut self,
        keys: &[Key],
        value_bytes_max: Option<usize>,
        mut on_row: impl FnMut(Result<Entry, RowError>) -> ControlFlow<()> + Send,
    ) -> Result<(), Error> {
        let mut arguments = MySqlArguments::default();
        let texts = match value_bytes_max {
            None => &mut self.get,
            Some(max) => {
                bind(&mut arguments, max as u64)?;
                &mut self.get_bounded
            }
        };
        bind_keys(&mut arguments, keys.iter().map(Key::as_bytes))?;
        bind(&mut arguments, self.checker.floor(&mut self.connection).await?)?;
        let query = sqlx::query_with(AssertSqlSafe(texts.of(padded(keys.len()))), arguments);
        let mut rows = query.fetch(&mut self.connection);
        let mut flow = ControlFlow::Continue(());
        while let Some(row) = rows.try_next().await.map_err(classify)? {
            if flow.is_break() {
                continue;
            }
            let key: &[u8] = row.try_get_unchecked(0).map_err(classify)?;
            let value: Option<&[u8]> = row.try_get_unchecked(1).map_err(classify)?;
            let value_bytes = value.map_or(0, <[u8]>::len);
            flow = on_row(match value {
                Some(value) => entry(key, value, row.try_get_unchecked::<u64, _>(2).map_err(classify)?),
                None => Err(left_out(key, row.try_get_unchecked::<u64, _>(3).map_err(classify)?)),
            });
            yielding::after_value(value_bytes).await;
        }
        Ok(())
    }
}
