//! Rows that bring no entry. They are given to the caller one by one, so that they harm no other row of their statement.

use std::fmt;

/// The most bytes of a key that a message shows.
const SHOWN_BYTES_MAX: usize = 128;

/// Why a row brings no entry. The rows before and after it are read all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowError {
    /// The value has more bytes than the statement was to bring for one value, so only its size came.
    LeftOut {
        /// The key.
        key: String,
        /// The bytes of the value.
        bytes: usize,
    },
    /// A column holds what Keywire never writes there.
    Damaged(DamagedRow),
}

/// A row with a column that holds what Keywire never writes there. The text names the key, escaped and cut. It may be shown to
/// clients that may read the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the row of the key {} is damaged: {fault}", Escaped(.key))]
pub struct DamagedRow {
    key: Vec<u8>,
    fault: &'static str,
}

/// Bytes that should be text, in quotes. What is not printable or not UTF-8 is escaped, and a long text is cut.
pub(crate) struct Escaped<'b>(pub(crate) &'b [u8]);

impl DamagedRow {
    pub(crate) fn new(key: &[u8], fault: &'static str) -> Self {
        Self { key: key.to_vec(), fault }
    }

    /// The bytes in the column of the key. They may be no UTF-8.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = self;
        f.write_str("\"")?;
        for chunk in bytes[..bytes.len().min(SHOWN_BYTES_MAX)].utf8_chunks() {
            write!(f, "{}{}", chunk.valid().escape_debug(), chunk.invalid().escape_ascii())?;
        }
        f.write_str(if bytes.len() > SHOWN_BYTES_MAX { "\"..." } else { "\"" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(key: &[u8]) -> String {
        DamagedRow::new(key, "its value is not UTF-8").to_string()
    }

    #[test]
    fn a_damaged_row_is_named_by_its_key_in_one_short_line() {
        assert_eq!(shown("é/1".as_bytes()), r#"the row of the key "é/1" is damaged: its value is not UTF-8"#);
        assert!(shown(b"a\xff\n\"b").contains(r#" "a\xff\n\"b" "#), "{}", shown(b"a\xff\n\"b"));
        assert!(shown(&[b'\n'; 512]).len() < 4 * SHOWN_BYTES_MAX);
        assert!(shown(&[0; 512]).contains("\"... is damaged"), "{}", shown(&[0; 512]));
    }
}
