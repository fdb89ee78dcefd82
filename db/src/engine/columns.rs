//! Entries, records and found rows from their columns. A row that holds what it should not fails alone.

use crate::entry::{Entry, KEY_BYTES_MAX, Key, KeyRecord, Record, Rev};
use crate::follower::{Content, FoundRow, Values};
use crate::row::{DamagedRow, RowError};

const BAD_KEY: &str = "its key is not UTF-8, is empty or is too long";
const BAD_VALUE: &str = "its value is not UTF-8";
const BAD_SIZE: &str = "its value has an impossible size";
const BAD_REV: &str = "its rev is not between 1 and 2^63-1";
const BAD_EXPIRY: &str = "its expires_at is not between 1 and 2^63-1";

/// A number of a column. `SQLite` has signed ones, `MySQL` unsigned ones.
pub(crate) trait Number: TryInto<i64> {}

impl Number for i64 {}
impl Number for u64 {}

/// The columns of one row of a scan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScannedColumns<'r, N> {
    pub(crate) key: &'r [u8],
    /// `None` if the row is dead, and if the value was left out.
    pub(crate) value: Option<&'r [u8]>,
    pub(crate) rev: N,
    pub(crate) expires_at: Option<N>,
    /// `None` if the row is dead.
    pub(crate) value_bytes: Option<N>,
}

/// The columns of one row that a follower reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FoundColumns<'r, N> {
    pub(crate) key: &'r [u8],
    pub(crate) rev: N,
    pub(crate) expires_at: Option<N>,
    /// `None` if the row is dead, and if the value was left out or not asked for.
    pub(crate) value: Option<&'r [u8]>,
    /// `None` if the row is dead, and if values were not asked for.
    pub(crate) value_bytes: Option<N>,
}

/// An entry from its columns.
pub(crate) fn entry(key: &[u8], value: &[u8], rev: impl Number) -> Result<Entry, RowError> {
    let damaged = |fault| RowError::Damaged(DamagedRow::new(key, fault));
    let text = key_text(key)?.to_owned();
    let value = std::str::from_utf8(value).map_err(|_| damaged(BAD_VALUE))?.to_owned();
    let rev = positive(rev).map(Rev).ok_or_else(|| damaged(BAD_REV))?;
    Ok(Entry { key: Key::new(text, KEY_BYTES_MAX).map_err(|_| damaged(BAD_KEY))?, value, rev })
}

/// A row of a scan without values, from its columns.
pub(crate) fn key_record(key: &[u8], rev: impl Number, is_live: bool) -> Result<KeyRecord<'_>, RowError> {
    let text = key_text(key)?;
    let rev = positive(rev).map(Rev).ok_or_else(|| RowError::Damaged(DamagedRow::new(key, BAD_REV)))?;
    Ok(KeyRecord { key: text, rev, is_live })
}

/// The row of `key` without its value, which has `bytes` bytes.
pub(crate) fn left_out(key: &[u8], bytes: impl Number) -> RowError {
    let bytes = positive(bytes).and_then(|bytes| usize::try_from(bytes).ok());
    match (key_text(key), bytes) {
        (Ok(key), Some(bytes)) => RowError::LeftOut { key: key.to_owned(), bytes },
        (Ok(_), None) => RowError::Damaged(DamagedRow::new(key, BAD_SIZE)),
        (Err(error), _) => error,
    }
}

impl<'r, N: Number + Copy> ScannedColumns<'r, N> {
    /// The record of the row. Values of more than `value_bytes_max` bytes were left out.
    pub(crate) fn record(self, value_bytes_max: usize) -> Result<Record<'r>, RowError> {
        let damaged = |fault| RowError::Damaged(DamagedRow::new(self.key, fault));
        let key = key_text(self.key)?;
        let rev = positive(self.rev).map(Rev).ok_or_else(|| damaged(BAD_REV))?;
        let Some(value) = self.value else {
            // The row may have expired after its value was looked at and before its size was.
            let is_left_out = |bytes: &N| positive(*bytes).is_none_or(|bytes| bytes > value_bytes_max as u64);
            return match self.value_bytes.filter(is_left_out) {
                Some(bytes) => Err(left_out(self.key, bytes)),
                // Nobody needs to know when a dead row expired.
                None => Ok(Record { key, value: None, rev, expires_at: None }),
            };
        };
        let value = std::str::from_utf8(value).map_err(|_| damaged(BAD_VALUE))?;
        let expires_at = self.expires_at.map(|at| positive(at).ok_or_else(|| damaged(BAD_EXPIRY)));
        Ok(Record { key, value: Some(value), rev, expires_at: expires_at.transpose()? })
    }
}

impl<'r, N: Number + Copy> FoundColumns<'r, N> {
    /// What the row says of its key at the instant `now`, by which the statement judged too. It asked for `values`.
    pub(crate) fn row(self, now: u64, values: Values) -> Result<FoundRow<'r>, RowError> {
        let damaged = |fault| RowError::Damaged(DamagedRow::new(self.key, fault));
        let key = key_text(self.key)?;
        let rev = positive(self.rev).map(Rev).ok_or_else(|| damaged(BAD_REV))?;
        let expires_at = match self.expires_at.map(TryInto::<i64>::try_into) {
            None => None,
            Some(Ok(0)) => return Ok(FoundRow { key, rev, content: Content::Deleted }),
            Some(Ok(at)) => match u64::try_from(at) {
                Ok(at) if at > now => Some(at),
                // Nobody needs to know when a dead row expired.
                Ok(_) | Err(_) => return Ok(FoundRow { key, rev, content: Content::Expired }),
            },
            Some(Err(_)) => return Err(damaged(BAD_EXPIRY)),
        };
        let value = match (values, self.value) {
            (Values::No, _) => None,
            (Values::UpTo(_), Some(value)) => {
                Some(std::str::from_utf8(value).map_err(|_| damaged(BAD_VALUE))?)
            }
            (Values::UpTo(_), None) => {
                let bytes = self.value_bytes.ok_or_else(|| damaged(BAD_SIZE))?;
                return Err(left_out(self.key, bytes));
            }
        };
        Ok(FoundRow { key, rev, content: Content::Live { value, expires_at } })
    }

    /// The bytes of the value that the row brought.
    pub(crate) fn value_len(&self) -> usize {
        self.value.map_or(0, <[u8]>::len)
    }
}

fn key_text(key: &[u8]) -> Result<&str, RowError> {
    let text = std::str::from_utf8(key).ok().filter(|text| (1..=KEY_BYTES_MAX).contains(&text.len()));
    text.ok_or_else(|| RowError::Damaged(DamagedRow::new(key, BAD_KEY)))
}

/// `number`, if it is between 1 and 2^63-1.
fn positive(number: impl Number) -> Option<u64> {
    let number: i64 = number.try_into().ok()?;
    u64::try_from(number).ok().filter(|&number| number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damaged<T: std::fmt::Debug>(row: Result<T, RowError>) -> bool {
        matches!(row, Err(RowError::Damaged(row)) if row.to_string().contains("of the key"))
    }

    fn scanned(value: Option<&[u8]>, rev: i64, expires_at: Option<i64>) -> ScannedColumns<'_, i64> {
        let value_bytes = value.map(|value| value.len().try_into().expect("it is short"));
        ScannedColumns { key: b"k", value, rev, expires_at, value_bytes }
    }

    #[test]
    fn an_entry_has_text_and_a_revision() {
        assert!(entry(b"k", b"", 1_i64).is_ok());
        assert!(entry(b"k", b"v", i64::MAX.unsigned_abs()).is_ok());
        for (key, value) in [(&b"\xff"[..], &b"v"[..]), (b"", b"v"), (&[b'k'; 513], b"v"), (b"k", b"\xc3")] {
            assert!(damaged(entry(key, value, 1_i64)), "{key:?} {value:?}");
        }
        assert!([0_i64, -1, i64::MIN].iter().all(|rev| damaged(entry(b"k", b"v", *rev))));
        assert!([0, 1 << 63, u64::MAX].iter().all(|rev| damaged(entry(b"k", b"v", *rev))));
    }

    #[test]
    fn a_record_without_a_value_has_a_key_and_a_revision() {
        let expected = KeyRecord { key: "k", rev: Rev(7), is_live: true };
        assert!(key_record(b"k", 7_i64, true).is_ok_and(|record| record == expected));
        for (key, rev) in [(&b"\xff"[..], 1_i64), (b"", 1), (b"k", 0), (b"k", -1)] {
            assert!(damaged(key_record(key, rev, false)), "{key:?} {rev}");
        }
    }

    #[test]
    fn a_record_has_an_expiry_in_range_unless_it_is_dead() {
        for (rev, expires_at, is_damaged) in
            [(1, None, false), (1, Some(1), false), (1, Some(0), true), (-1, None, true)]
        {
            assert_eq!(
                damaged(scanned(Some(b"v"), rev, expires_at).record(10)),
                is_damaged,
                "{rev} {expires_at:?}"
            );
        }
        assert!(scanned(None, 1, Some(-1)).record(10).is_ok_and(|record| record.value.is_none()));
        assert!(damaged(scanned(None, 0, None).record(10)), "the next writer of the key needs its revision");
    }

    #[test]
    fn a_value_that_was_left_out_is_told_from_a_dead_row() {
        let sized = |bytes| ScannedColumns { value_bytes: bytes, ..scanned(None, 1, None) }.record(10);
        let long = Err(RowError::LeftOut { key: "k".into(), bytes: 11 });
        assert_eq!(sized(Some(11)), long);
        assert!(sized(Some(10)).is_ok_and(|record| record.value.is_none()), "it has just expired");
        assert!(sized(None).is_ok_and(|record| record.value.is_none()));
        assert!(damaged(sized(Some(-1))));
        assert!(damaged(Err::<(), _>(left_out(b"\xff", 11_i64))));
    }
}
