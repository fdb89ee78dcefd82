//! Copies a table of `MySQL` or `MariaDB`.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySqlConnection, Row as _};

use super::copy::PrivateCopy;
use super::row::{ForeignCell, ForeignRow};
use super::{ForeignNames, text};
use crate::error::Error;
use crate::mysql::connect::{MySql, close};
use crate::mysql::error::classify;
use crate::timeouts::{CONNECT_TIMEOUT, QUERY_TIMEOUT, within};

/// How long the server may send nothing. It may have to find the first row behind many that were deleted.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// Rows go into the copy when there are this many bytes or rows of them.
const BATCH_BYTES: usize = 1024 * 1024;
const BATCH_ROWS: usize = 1024;

/// Column types that hold bytes. Their text has to be UTF-8.
const BINARY_TYPES: [&str; 6] = ["binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"];

/// A column with text, as the server describes it.
struct TextColumn {
    /// The expression for its bytes in UTF-8.
    bytes: String,
    collation: Option<String>,
}

pub(super) async fn copy(server: &MySql, names: &ForeignNames) -> Result<PrivateCopy, Error> {
    let mut connection = within(CONNECT_TIMEOUT, server.open_unchecked()).await?;
    for setting in text::SETTINGS {
        sqlx::raw_sql(setting).execute(&mut connection).await.map_err(classify)?;
    }
    let key = TextColumn::find(&mut connection, &names.table, &names.key).await?;
    let value = TextColumn::find(&mut connection, &names.table, &names.value).await?;
    let mut copy = PrivateCopy::empty().await?;
    copy.folding = key.collation.filter(|collation| collation.ends_with("_ci"));

    // One SELECT reads one snapshot.
    let select = AssertSqlSafe(text::rows(names, &key.bytes, &value.bytes));
    let mut found = sqlx::query(select).fetch(&mut connection);
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(found) = within(SILENCE_MAX, async { found.try_next().await.map_err(classify) }).await? {
        let row = row(&found).map_err(classify)?;
        bytes += row.bytes();
        rows.push(row);
        if bytes >= BATCH_BYTES || rows.len() >= BATCH_ROWS {
            copy.add(std::mem::take(&mut rows)).await?;
            bytes = 0;
        }
    }
    copy.add(rows).await?;
    drop(found);
    close(connection).await;
    copy.sort().await
}

impl TextColumn {
    async fn find(connection: &mut MySqlConnection, table: &str, column: &str) -> Result<Self, Error> {
        let found = sqlx::query(text::COLUMN).bind(table).bind(column).fetch_optional(connection);
        let found = within(QUERY_TIMEOUT, async { found.await.map_err(classify) }).await?;
        let Some(found) = found else {
            let missing =
                format!("there is no table {table:?} with a column {column:?} that this user may read");
            return Err(Error::NotReady(missing.into()));
        };
        let kind: String = found.try_get_unchecked(0).map_err(classify)?;
        let collation: Option<String> = found.try_get_unchecked(1).map_err(classify)?;
        let bytes = if collation.is_some() || kind == "json" {
            text::utf8(column)
        } else if BINARY_TYPES.contains(&kind.as_str()) {
            text::bytes(column)
        } else {
            let reason =
                format!("the column {column:?} is {kind}, not text: make a view that casts it to char");
            return Err(Error::NotReady(reason.into()));
        };
        Ok(Self { bytes, collation })
    }
}

fn row(found: &MySqlRow) -> sqlx::Result<ForeignRow> {
    Ok(ForeignRow { key: cell(found, 0)?, value: cell(found, 2)? })
}

/// The bytes in the column `at`, and their length in the next one.
fn cell(found: &MySqlRow, at: usize) -> sqlx::Result<ForeignCell> {
    let len: Option<i64> = found.try_get_unchecked(at + 1)?;
    match len {
        None => Ok(ForeignCell::other("null")),
        Some(len) => Ok(ForeignCell {
            kind: "text".into(),
            bytes: found.try_get_unchecked(at)?,
            len: len.unsigned_abs(),
        }),
    }
}
