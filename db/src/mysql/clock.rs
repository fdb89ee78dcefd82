//! The time of a store in `MySQL` or `MariaDB`.

use sqlx::{MySqlConnection, Row as _};
use tokio::time::Instant;

use super::error::{classify, number};
use super::text;
use crate::engine::clock::StoreClock;
use crate::error::Error;

/// The database user may not read a table, or a column.
const ACCESS_DENIED: [u16; 2] = [1142, 1143];

/// What a look at the clock of the database and at the time in the store found.
pub(super) struct Sample {
    /// The time before which no statement may see the store.
    pub(super) floor: u64,
    /// The largest time in the store.
    pub(super) stored: u64,
}

/// The time before which no statement may see the store. Asks the database if this process has not asked it for a second.
pub(super) async fn floor(connection: &mut MySqlConnection, clock: &StoreClock) -> Result<u64, Error> {
    match clock.fresh_floor() {
        Some(floor) => Ok(floor),
        None => Ok(sample(connection, clock).await?.floor),
    }
}

/// Looks at the clock of the database and at the time in the store.
pub(super) async fn sample(connection: &mut MySqlConnection, clock: &StoreClock) -> Result<Sample, Error> {
    let asked = Instant::now();
    let row = sqlx::query(text::SAMPLE).fetch_one(connection).await.map_err(|error| {
        if number(&error).is_some_and(|number| ACCESS_DENIED.contains(&number)) {
            return Error::NotReady(
                "the database user may not read `writers`: run `ws-ingest migrate`".into(),
            );
        }
        classify(error)
    })?;
    let stored = row.try_get_unchecked(1).map_err(classify)?;
    let floor = clock.sampled(asked, row.try_get_unchecked(0).map_err(classify)?, stored);
    Ok(Sample { floor, stored })
}
