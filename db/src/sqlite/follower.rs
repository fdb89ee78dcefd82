//! Follows the log of changes of `SQLite`.

use std::ops::ControlFlow;

use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::arguments::{bind, bind_keys, signed, unsigned};
use super::clock::now;
use super::connection::Connection;
use super::error::classify;
use super::scanner::{bounds, saturated};
use super::text;
use crate::changes::{LanePosition, LogState};
use crate::engine::FollowSession;
use crate::engine::clock::StoreClock;
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
pub(crate) struct SqliteFollower {
    connection: Connection,
    clock: StoreClock,
    rows: StatementTexts,
    rows_without_values: StatementTexts,
}

impl SqliteFollower {
    pub(super) fn new(connection: Connection, clock: StoreClock) -> Self {
        let rows = StatementTexts::new(text::follower::rows);
        let rows_without_values = StatementTexts::new(text::follower::rows_without_values);
        Self { connection, clock, rows, rows_without_values }
    }

    /// Reads the state of the log. `read_at` is a reading of the store clock.
    async fn state(&mut self, read_at: u64) -> Result<LogState, Error> {
        let rows = sqlx::query(text::follower::STATE).fetch_all(&mut *self.connection).await;
        let rows = rows.map_err(classify)?;
        let store = rows.first().map(store_columns).transpose()?;
        let lanes = rows.iter().filter_map(|row| lane_position(row).transpose());
        state(store, lanes.collect::<Result<_, Error>>()?, read_at)
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), Error> {
        sqlx::query(sql).execute(&mut *self.connection).await.map(drop).map_err(classify)
    }
}

impl FollowSession for SqliteFollower {
    async fn poll(&mut self) -> Result<LogState, Error> {
        self.connection.check_read()?;
        let read_at = now(&mut self.connection, &self.clock).await?;
        self.state(read_at).await
    }

    async fn begin(&mut self) -> Result<LogState, Error> {
        self.connection.check_read()?;
        // Not in the transaction, which would see the stored time as it was at its snapshot.
        let read_at = now(&mut self.connection, &self.clock).await?;
        self.run(text::BEGIN_SNAPSHOT).await?;
        self.state(read_at).await
    }

    async fn changes(
        &mut self,
        lane: u64,
        (seq, part): (u64, u16),
        rows_max: usize,
        mut on_key: impl FnMut(u64, Key) + Send,
    ) -> Result<Option<(u64, u16)>, Error> {
        self.connection.check_read()?;
        let query = sqlx::query(text::follower::CHANGES).bind(signed(lane)?).bind(signed(seq)?).bind(part);
        let mut rows = query.bind(saturated(rows_max)).fetch(&mut *self.connection);
        let mut last = None;
        while let Some(row) = rows.try_next().await.map_err(classify)? {
            let seq = unsigned(row.try_get_unchecked(0).map_err(classify)?)?;
            let part: i64 = row.try_get_unchecked(1).map_err(classify)?;
            let part = u16::try_from(part)
                .map_err(|_| Error::Internal(format!("{part} as the part of a batch").into()))?;
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
        self.connection.check_read()?;
        let mut arguments = SqliteArguments::default();
        let texts = match values {
            Values::No => &mut self.rows_without_values,
            Values::UpTo(max) => {
                bind(&mut arguments, signed(now)?)?;
                bind(&mut arguments, saturated(max))?;
                &mut self.rows
            }
        };
        bind_keys(&mut arguments, keys.iter().map(Key::as_bytes))?;
        let query = sqlx::query_with(AssertSqlSafe(texts.of(padded(keys.len()))), arguments);
        let mut rows = query.fetch(&mut *self.connection);
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
        self.connection.check_read()?;
        let query = match values {
            Values::No => sqlx::query(text::follower::RANGE_WITHOUT_VALUES),
            Values::UpTo(max) => sqlx::query(text::follower::RANGE).bind(signed(now)?).bind(saturated(max)),
        };
        let (start, end) = bounds(range);
        let mut rows = query.bind(start).bind(end).bind(saturated(limit)).fetch(&mut *self.connection);
        let mut count = 0;
        while let Some(row) = rows.try_next().await.map_err(classify)? {
            count += 1;
            let columns = columns(&row, values)?;
            // To drop the rows ends the statement.
            if on_row(columns.row(now, values)).is_break() {
                break;
            }
            yielding::after_value(columns.value_len()).await;
        }
        Ok(count)
    }

    fn displaced(&self) -> impl Future<Output = Error> + Send + use<> {
        self.connection.displaced()
    }

    async fn end(&mut self) -> Result<(), Error> {
        self.run(text::COMMIT).await
    }

    async fn close(self) {
        self.connection.close().await;
    }
}

/// The row of the store in a row of the state.
fn store_columns(row: &SqliteRow) -> Result<StoreColumns, Error> {
    let retention: Option<i64> = row.try_get_unchecked(1).map_err(classify)?;
    Ok(StoreColumns {
        id: unsigned(row.try_get_unchecked(0).map_err(classify)?)?,
        retention: retention.map(unsigned).transpose()?,
        floor: unsigned(row.try_get_unchecked(2).map_err(classify)?)?,
    })
}

/// The lane in a row of the state. `None`: the store has no lanes.
fn lane_position(row: &SqliteRow) -> Result<Option<LanePosition>, Error> {
    let Some(id) = row.try_get_unchecked(3).map_err(classify)? else { return Ok(None) };
    Ok(Some(LanePosition {
        id: unsigned(id)?,
        seq: unsigned(row.try_get_unchecked(4).map_err(classify)?)?,
        rev: unsigned(row.try_get_unchecked(5).map_err(classify)?)?,
        logs: row.try_get_unchecked::<i64, _>(6).map_err(classify)? != 0,
        // Null: the log has no row of the lane.
        removed: unsigned(row.try_get_unchecked::<Option<i64>, _>(7).map_err(classify)?.unwrap_or(0))?,
    }))
}

/// The columns of a row of an entry.
fn columns(row: &SqliteRow, values: Values) -> Result<FoundColumns<'_, i64>, Error> {
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

#[cfg(test)]
mod tests {
    use crate::engine::Engine as _;
    use crate::sqlite::fixture::TestStore;

    use super::*;

    #[tokio::test]
    async fn each_statement_searches_a_primary_key() {
        let store = TestStore::new().await;
        let mut follower = store.engine.open_follower().await.expect("it opens");
        let range = "SEARCH entries USING PRIMARY KEY (k>? AND k<?)";
        let key = "SEARCH entries USING PRIMARY KEY (k=?)";
        for (statement, plan) in [
            (
                text::follower::CHANGES.to_owned(),
                "SEARCH changes USING PRIMARY KEY (lane=? AND (seq,part)>(?,?))",
            ),
            (text::follower::RANGE.to_owned(), range),
            (text::follower::RANGE_WITHOUT_VALUES.to_owned(), range),
            (text::follower::rows(128), key),
            (text::follower::rows_without_values(128), key),
        ] {
            let explain = AssertSqlSafe(format!("explain query plan {statement}"));
            let steps = sqlx::query(explain).fetch_all(&mut *follower.connection).await;
            let steps: Vec<String> =
                steps.expect("it can be explained").iter().map(|step| step.get("detail")).collect();
            assert_eq!(steps, [plan], "{statement}");
        }
    }
}
