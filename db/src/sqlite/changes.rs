//! The rows of the log of changes, as arguments of statements.

use sqlx::sqlite::SqliteArguments;

use super::arguments::bind;
use crate::changes::keys::{PART_BYTES_MAX, pack};
use crate::error::Error;

/// The arguments of the statement for each part of `keys`, which the batch `seq` of `lane` wrote at the instant `at`.
pub(super) fn arguments<'k>(
    lane: u64,
    seq: u64,
    at: u64,
    keys: impl Iterator<Item = &'k [u8]>,
) -> Result<Vec<SqliteArguments>, Error> {
    let arguments = |(number, part): (u16, Vec<u8>)| {
        let mut arguments = SqliteArguments::default();
        bind(&mut arguments, lane.cast_signed())?;
        bind(&mut arguments, seq.cast_signed())?;
        bind(&mut arguments, number)?;
        bind(&mut arguments, at.cast_signed())?;
        bind(&mut arguments, part)?;
        Ok(arguments)
    };
    (0..).zip(pack(keys, PART_BYTES_MAX)).map(arguments).collect()
}
