//! Follows the log of changes of `MySQL` and `MariaDB`.

use std::future::pending;
use std::ops::ControlFlow;

use futures_util::TryStreamExt;
use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::{AssertSqlSafe, MySqlConnection, Row as _};

use super::arguments::{bind, bind_keys};
use super::connect::close;
use super::error::classify;
use super::scanner::bind_last;
use super::server_check::ServerChecker;
use super::text;
use crate::changes::{LanePosition, LogState};
use crate::engine::FollowSession;
use crate::engine::columns::FoundColumns;
use crate::engine::log::{LogRow, StoreColumns, state};
use crate::engine::shapes::{StatementTexts, padded};
use crate::engine::yielding;
use crate::entry::Key;
use crate::error::Error;
use crate::follower::{FoundRow, Values};
use crate::row::RowError;
use crate::scanner::range::Range;

/// One connection that follows the log of changes.
#[derive(Debug)]
pub(crate) struct MySqlFollower {
    connection: MySqlConnection,
    checker: ServerChecker,
    rows: StatementTexts,
    rows_without_values: StatementTexts,
}

impl MySqlFollower {
    pub(super) async fn new(mut connection: MySqlConnection, checker: ServerChecker) -> Result<Self, Error> {
        for setting in text::SCANNER_SETTINGS {
            sqlx::raw_sql(setting).execute(&mut connection).await.map_err(classify)?;
        }
        let rows = StatementTexts::new(text::follower::rows);
        let rows_without_values = StatementTexts::new(text::follower::rows_without_values);
        Ok(Self { connection, checker, rows, rows_without_values })
    }

    /// Reads the state of the log. `read_at` is a reading of the store clock.
    async fn state(&mut self, read_at: u64) -> Result<LogState, Error> {
        let rows = sqlx::query(text::follower::STATE).fetch_all(&mut self.connection).await;
        let rows = rows.map_err(classify)?;
        let store = rows.first().map(store_columns).transpose()?;
        let lanes = rows.iter().filter_map(|row| lane_position(row).transpose());
        state(store, lanes.collect::<Result<_, Error>>()?, read_at)
    }
}

impl FollowSession for MySqlFollower {
    async fn poll(&mut self) -> Result<LogState, Error> {
        let read_at = self.checker.floor(&mut self.connection).await?;
        self.state(read_at).await
    }

    async fn begin(&mut self) -> Result<LogState, Error> {
        // Not in the transaction, which would see the stored time as it was at its snapshot.
        let read_at = self.checker.floor(&mut self.connection).await?;
        // This statement cannot be prepared.
        let begin = sqlx::raw_sql(text::BEGIN_SNAPSHOT);
        begin.execute(&mut self.connection).await.map_err(classify)?;
        self.state(read_at).await
    }

    async fn changes(
        &mut self,
        lane: u64,
        (seq, part): (u64, u16),
        rows_max: usize,
        mut on_key: impl FnMut(u64, Key) + Send,
    ) -> Result<Option<(u64, u16)>, Error> {
        let query = sqlx::query(text::follower::CHANGES).bind(lane).bind(seq).bind(seq).bind(part);
        let mut rows = query.bind(rows_max as u64).fetch(&mut self.connection);
        let mut last = None;
        while let Some(row) = rows.try_next().await.map_err(classify)? {
            let seq = row.try_get_unchecked(0).map_err(classify)?;
            let part = row.try_get_unchecked(1).map_err(classify)?;
            let ks: &[u8] = row.try_get_unchecked(2).map_err(classify)?;
            LogRow { lane, seq, part }.keys(ks, &mut on_key)?;
            last = Some((seq, part));
            yielding::after_value(ks.len()).await;
        }
        Ok(last)
    }

    async fn rows(
        &mut self,
        keys: &[Key],
        now: u64,
        values: Values,
        mut on_row: impl FnMut(Result<FoundRow<'_>, RowError>) + Send,
    ) -> Result<(), Error> {
        let mut arguments = MySqlArguments::default();
        let texts = match values {
            Values::No => &mut self.rows_without_values,
            Values::UpTo(max) => {
                [now, max as u64, now].into_iter().try_for_each(|value| bind(&mut arguments, value))?;
                &mut self.rows
            }
        };
        bind_keys(&mut arguments, keys.iter().map(Key::as_bytes))?;
        let query = sqlx::query_with(AssertSqlSafe(texts.of(padded(keys.len()))), arguments);
        let mut rows = query.fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await.map_err(classify)? {
            let columns = columns(&row, values)?;
            on_row(columns.row(now, values));
            yielding::after_value(columns.value_len()).await;
        }
        Ok(())
    }

    async fn range(
        &mut self,
        range: &Range,
        limit: usize,
        now: u64,
        values: Values,
        mut on_row: impl FnMut(Result<FoundRow<'_>, RowError>) -> ControlFlow<()> + Send,
    ) -> Result<usize, Error> {
        let bounds = range.bounds();
        let query = sqlx::query(match (values, bounds.1.is_some()) {
            (Values::No, true) => text::follower::RANGE_WITHOUT_VALUES,
            (Values::No, false) => text::follower::TO_THE_END_WITHOUT_VALUES,
            (Values::UpTo(_), true) => text::follower::RANGE,
            (Values::UpTo(_), false) => text::follower::TO_THE_END,
        });
        let query = match values {
            Values::No => query,
            Values::UpTo(max) => query.bind(now).bind(max as u64).bind(now),
        };
        let mut rows = bind_last(query, bounds, limit).fetch(&mut self.connection);
        let (mut count, mut flow) = (0, ControlFlow::Continue(()));
        while let Some(row) = rows.try_next().await.map_err(classify)? {
            count += 1;
            if flow.is_continue() {
                let columns = columns(&row, values)?;
                flow = on_row(columns.row(now, values));
                yielding::after_value(columns.value_len()).await;
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

/// The row of the store in a row of the state.
fn store_columns(row: &MySqlRow) -> Result<StoreColumns, Error> {
    Ok(StoreColumns {
        id: row.try_get_unchecked(0).map_err(classify)?,
        retention: row.try_get_unchecked(1).map_err(classify)?,
        floor: row.try_get_unchecked(2).map_err(classify)?,
    })
}

/// The lane in a row of the state. `None`: the store has no lanes.
fn lane_position(row: &MySqlRow) -> Result<Option<LanePosition>, Error> {
    let Some(id) = row.try_get_unchecked(3).map_err(classify)? else { return Ok(None) };
    Ok(Some(LanePosition {
        id,
        seq: row.try_get_unchecked(4).map_err(classify)?,
        rev: row.try_get_unchecked(5).map_err(classify)?,
        logs: row.try_get_unchecked::<u8, _>(6).map_err(classify)? != 0,
        // Null: the log has no row of the lane.
        removed: row.try_get_unchecked::<Option<u64>, _>(7).map_err(classify)?.unwrap_or(0),
    }))
}

/// The columns of a row of an entry.
fn columns(row: &MySqlRow, values: Values) -> Result<FoundColumns<'_, u64>, Error> {
    let (value, value_bytes) = match values {
        Values::No => (None, None),
        Values::UpTo(_) => {
            (row.try_get_unchecked(3).map_err(classify)?, row.try_get_unchecked(4).map_err(classify)?)
        }
    };
    Ok(FoundColumns {
        key: row.try_get_unchecked(0).map_err(classify)?,
        rev: row.try_get_unchecked(1).map_err(classify)?,
        expires_at: row.try_get_unchecked(2).map_err(classify)?,
        value,
        value_bytes,
    })
}
