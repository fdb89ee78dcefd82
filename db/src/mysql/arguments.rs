//! Arguments of statements.

use sqlx::Arguments as _;
use sqlx::mysql::MySqlArguments;

use crate::engine::clock::micros;
use crate::engine::shapes::pad;
use crate::entry::Expiry;
use crate::error::Error;
use crate::sweeper::hint::Hint;

pub(super) fn bind<'t, T>(arguments: &mut MySqlArguments, value: T) -> Result<(), Error>
where
    T: sqlx::Encode<'t, sqlx::MySql> + sqlx::Type<sqlx::MySql>,
{
    arguments.add(value).map_err(|e| Error::Internal(e.to_string().into()))
}

/// `keys`, padded to a prepared size by repeating the last one.
pub(super) fn key_list<'k>(
    keys: impl ExactSizeIterator<Item = &'k [u8]> + Clone,
) -> Result<MySqlArguments, Error> {
    let mut arguments = MySqlArguments::default();
    bind_keys(&mut arguments, keys)?;
    Ok(arguments)
}

/// `keys` behind other arguments, padded in the same way.
pub(super) fn bind_keys<'k>(
    arguments: &mut MySqlArguments,
    keys: impl ExactSizeIterator<Item = &'k [u8]> + Clone,
) -> Result<(), Error> {
    pad(keys).try_for_each(|key| bind(arguments, key))
}

/// The instant and the key of each hint.
pub(super) fn hint_list<'h>(hints: impl IntoIterator<Item = &'h Hint>) -> Result<MySqlArguments, Error> {
    let mut arguments = MySqlArguments::default();
    for hint in hints {
        bind(&mut arguments, hint.at)?;
        bind(&mut arguments, hint.key.as_slice())?;
    }
    Ok(arguments)
}

/// The two arguments of an instant: microseconds from now, and the earliest instant in microseconds since 1970. `floor` is the time of
/// the store, as far as this process knows it.
pub(super) fn bind_instant(arguments: &mut MySqlArguments, expiry: Expiry, floor: u64) -> Result<(), Error> {
    let (from_now, at) = match expiry {
        Expiry::Never => (None, None),
        Expiry::After(seconds) => {
            let passes = micros(seconds)?;
            (Some(passes), Some(floor.saturating_add(passes)))
        }
        Expiry::At(micros) => (None, Some(micros)),
    };
    bind(arguments, from_now)?;
    bind(arguments, at)
}
