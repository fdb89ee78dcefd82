//! The rows of the log of changes, as arguments of statements.

use sqlx::mysql::MySqlArguments;

use super::arguments::bind;
use crate::changes::keys::{PART_BYTES_MAX, pack};
use crate::error::Error;

/// The bytes of a statement that adds a part, without the part.
const ROW_BYTES: usize = 128;

/// `keys` in parts that each fit a statement of `statement_bytes_max` bytes.
pub(super) fn parts<'k>(keys: impl Iterator<Item = &'k [u8]>, statement_bytes_max: usize) -> Vec<Vec<u8>> {
    pack(keys, PART_BYTES_MAX.min(statement_bytes_max.saturating_sub(ROW_BYTES)))
}

/// The arguments of the statement for each part. `floor` is the time of the store, as far as this process knows it.
pub(super) fn arguments(
    lane: u64,
    seq: u64,
    floor: u64,
    parts: &[Vec<u8>],
) -> impl Iterator<Item = Result<MySqlArguments, Error>> {
    (0_u16..).zip(parts).map(move |(number, part)| {
        let mut arguments = MySqlArguments::default();
        bind(&mut arguments, lane)?;
        bind(&mut arguments, seq)?;
        bind(&mut arguments, number)?;
        bind(&mut arguments, floor)?;
        bind(&mut arguments, part.as_slice())?;
        Ok(arguments)
    })
}
