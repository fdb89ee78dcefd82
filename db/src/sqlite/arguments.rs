//! Arguments of statements, and numbers of columns.

use sqlx::Arguments as _;
use sqlx::sqlite::SqliteArguments;

use crate::engine::clock::micros;
use crate::engine::shapes::pad;
use crate::entry::Expiry;
use crate::error::Error;
use crate::sweeper::hint::Hint;

pub(super) fn bind<'t, T>(arguments: &mut SqliteArguments, value: T) -> Result<(), Error>
where
    T: sqlx::Encode<'t, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    arguments.add(value).map_err(|e| Error::Internal(e.to_string().into()))
}

/// `keys`, padded to a prepared size by repeating the last one.
pub(super) fn key_list<'k>(
    keys: impl ExactSizeIterator<Item = &'k [u8]> + Clone,
) -> Result<SqliteArguments, Error> {
    let mut arguments = SqliteArguments::default();
    bind_keys(&mut arguments, keys)?;
    Ok(arguments)
}

/// `keys` behind other arguments, padded in the same way.
pub(super) fn bind_keys<'k>(
    arguments: &mut SqliteArguments,
    keys: impl ExactSizeIterator<Item = &'k [u8]> + Clone,
) -> Result<(), Error> {
    pad(keys).try_for_each(|key| bind(arguments, key.to_vec()))
}

/// The instant and the key of each hint.
pub(super) fn hint_list<'h>(hints: impl IntoIterator<Item = &'h Hint>) -> Result<SqliteArguments, Error> {
    let mut arguments = SqliteArguments::default();
    for hint in hints {
        bind(&mut arguments, signed(hint.at)?)?;
        bind(&mut arguments, hint.key.clone())?;
    }
    Ok(arguments)
}

/// The argument of an expiry, in microseconds since 1970.
pub(super) fn bind_expiry(arguments: &mut SqliteArguments, expiry: Expiry, now: u64) -> Result<(), Error> {
    let at = match expiry {
        Expiry::Never => None,
        Expiry::After(seconds) => Some(signed(now.saturating_add(micros(seconds)?))?),
        Expiry::At(micros) => Some(signed(micros)?),
    };
    bind(arguments, at)
}

/// `number` as a column holds it.
pub(super) fn signed(number: u64) -> Result<i64, Error> {
    i64::try_from(number).map_err(|_| Error::Internal(format!("{number} does not fit a column").into()))
}

/// A number of a column.
pub(super) fn unsigned(number: i64) -> Result<u64, Error> {
    u64::try_from(number)
        .map_err(|_| Error::Internal(format!("{number} in a column that is never negative").into()))
}
