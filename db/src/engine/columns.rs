//! Entries and records from the bytes of their columns.

use crate::entry::{Entry, Key, Record, Rev};
use crate::error::Error;

/// An entry from its columns.
pub(crate) fn entry(key: &[u8], value: &[u8], rev: u64) -> Result<Entry, Error> {
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).map_err(|_| Error::Internal("a key or a value is not UTF-8".into()))
    };
    let key = Key::new(text(key)?, usize::MAX)
        .map_err(|_| Error::Internal("a key has an impossible length".into()))?;
    Ok(Entry { key, value: text(value)?, rev: Rev(rev) })
}

/// A record from its columns.
pub(crate) fn record<'r>(
    key: &'r [u8],
    value: Option<&'r [u8]>,
    rev: u64,
    expires_at: Option<u64>,
) -> Result<Record<'r>, Error> {
    let text = |bytes: &'r [u8]| {
        std::str::from_utf8(bytes).map_err(|_| Error::Internal("a key or a value is not UTF-8".into()))
    };
    Ok(Record { key: text(key)?, value: value.map(text).transpose()?, rev: Rev(rev), expires_at })
}
