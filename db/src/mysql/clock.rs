//! The clock of `MySQL` or `MariaDB`, the stored time, and what else is looked at each second.

use sqlx::{MySqlConnection, Row as _};

use super::error::{classify, number};
use super::text;
use crate::error::Error;

/// The database user may not read a table, or a column.
const ACCESS_DENIED: [u16; 2] = [1142, 1143];

/// What a server answered.
pub(super) struct Sample {
    /// The clock of the database.
    pub(super) clock: u64,
    /// The stored time.
    pub(super) stored: u64,
    /// Whether the variables of the server make each commit durable.
    pub(super) is_durable: bool,
    /// Whether the server accepts writes. One that does not may be a former primary, whose data is of the past.
    pub(super) is_primary: bool,
}

/// Asks the server once.
pub(super) async fn sample(connection: &mut MySqlConnection) -> Result<Sample, Error> {
    let row = sqlx::query(text::SAMPLE).fetch_one(connection).await.map_err(|error| {
        if number(&error).is_some_and(|number| ACCESS_DENIED.contains(&number)) {
            return Error::NotReady(
                "the database user may not read `writers`: run `ws-ingest migrate`".into(),
            );
        }
        classify(error)
    })?;
    let is_true = |at: usize| Ok::<_, Error>(row.try_get_unchecked::<i64, _>(at).map_err(classify)? != 0);
    Ok(Sample {
        clock: row.try_get_unchecked(0).map_err(classify)?,
        stored: row.try_get_unchecked(1).map_err(classify)?,
        is_durable: is_true(2)?,
        is_primary: is_true(3)?,
    })
}
