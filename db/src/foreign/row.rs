//! A row of another program, and why it may be no entry of Keywire. Pure.

use crate::entry::{KEY_BYTES_MAX, Key, KeyError, VALUE_BYTES_MAX, Value, ValueTooLong};
use crate::row::Escaped;

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignCell {
    /// `text` or `blob`, or else what it is instead, as `null` or `integer`.
    pub(super) kind: String,
    /// The text. Only a part of it if it is longer than a key or a value may be.
    pub(super) bytes: Vec<u8>,
    /// The length of the whole text.
    pub(super) len: u64,
}

/// A key and a value that may be unfit for Keywire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignRow {
    /// What the column of the key holds.
    pub key: ForeignCell,
    /// What the column of the value holds.
    pub value: ForeignCell,
}

/// A row that can be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignEntry {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Value,
}

/// A row that cannot be imported. The text names its key, escaped and cut, and says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnfitRow(String);

impl ForeignCell {
    /// A text.
    #[must_use]
    pub fn text(text: String) -> Self {
        let len = text.len() as u64;
        Self { kind: "text".into(), bytes: text.into_bytes(), len }
    }

    /// Something that is not text; `kind` says what, as in `number`.
    #[must_use]
    pub fn other(kind: &str) -> Self {
        Self { kind: kind.into(), bytes: Vec::new(), len: 0 }
    }

    /// The text, or why there is none.
    fn into_text(self) -> Result<String, String> {
        match self.kind.as_str() {
            "text" | "blob" => String::from_utf8(self.bytes).map_err(|error| {
                format!("is not UTF-8 from byte {} on", error.utf8_error().valid_up_to() + 1)
            }),
            other => Err(format!("is not text but {other}")),
        }
    }

    fn len(&self) -> usize {
        usize::try_from(self.len).unwrap_or(usize::MAX)
    }
}

impl ForeignRow {
    /// The bytes of key and value in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.key.bytes.len() + self.value.bytes.len()
    }

    /// The entry, or why the row is unfit to be one.
    pub(super) fn into_entry(self) -> Result<ForeignEntry, UnfitRow> {
        let key_bytes = self.key.bytes.clone();
        let unfit = |why: &str| UnfitRow(format!("the key {}: {why}", Escaped(&key_bytes)));
        if self.key.len() > KEY_BYTES_MAX {
            return Err(unfit(&format!(
                "it has {} bytes; at most {KEY_BYTES_MAX} are allowed",
                self.key.len()
            )));
        }
        let key = match self.key.into_text() {
            Ok(text) => Key::new(text, KEY_BYTES_MAX).map_err(|error| match error {
                KeyError::Empty => unfit("it must not be empty"),
                KeyError::TooLong { len, max } => {
                    unfit(&format!("it has {len} bytes; at most {max} are allowed"))
                }
            })?,
            Err(why) if key_bytes.is_empty() => return Err(UnfitRow(format!("a key {why}"))),
            Err(why) => return Err(unfit(&format!("it {why}"))),
        };
        let too_long =
            |len| unfit(&format!("its value has {len} bytes; at most {VALUE_BYTES_MAX} are allowed"));
        if self.value.len() > VALUE_BYTES_MAX {
            return Err(too_long(self.value.len()));
        }
        let text = self.value.into_text().map_err(|why| unfit(&format!("its value {why}")))?;
        let value = Value::new(text, VALUE_BYTES_MAX).map_err(|ValueTooLong { len, .. }| too_long(len))?;
        Ok(ForeignEntry { key, value })
    }
}

impl UnfitRow {
    /// A row whose key an earlier row has.
    pub(super) fn again(key: &Key) -> Self {
        Self(format!("the key {}: it is there more than once", Escaped(key.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> ForeignCell {
        ForeignCell::text(text.into())
    }

    fn blob(bytes: &[u8]) -> ForeignCell {
        ForeignCell { kind: "blob".into(), bytes: bytes.to_vec(), len: bytes.len() as u64 }
    }

    #[test]
    fn a_row_of_text_is_an_entry_to_the_byte() {
        for (key, value) in [("a", ""), ("A ", " v "), ("a/b\n\u{0}", "\u{1f600}"), (&"x".repeat(512), "v")] {
            let entry = ForeignRow { key: text(key), value: text(value) }.into_entry().expect("it fits");
            assert_eq!((entry.key.as_str(), entry.value.as_str()), (key, value));
        }
        let entry = ForeignRow { key: blob(b"k"), value: blob("\u{fc}".as_bytes()) }.into_entry();
        assert_eq!(entry.map(|entry| entry.value.as_str().to_owned()), Ok("\u{fc}".into()));
    }

    #[test]
    fn an_unfit_row_names_its_key_and_says_why() {
        let long = ForeignCell { len: 4_000_000_000, ..text("") };
        for (key, value, why) in [
            (text(""), text("v"), r#"the key "": it must not be empty"#),
            (ForeignCell::other("null"), text("v"), "a key is not text but null"),
            (blob(b"a\xff"), text("v"), r#"the key "a\xff": it is not UTF-8 from byte 2 on"#),
            (
                ForeignCell { len: 513, ..text("ab") },
                text("v"),
                r#"the key "ab": it has 513 bytes; at most 512 are allowed"#,
            ),
            (text("a\nb"), ForeignCell::other("null"), r#"the key "a\nb": its value is not text but null"#),
            (text("a"), ForeignCell::other("integer"), r#"the key "a": its value is not text but integer"#),
            (text("a"), blob(b"\xff"), r#"the key "a": its value is not UTF-8 from byte 1 on"#),
            (text("a"), long, r#"the key "a": its value has 4000000000 bytes; at most 1048576 are allowed"#),
        ] {
            let unfit = ForeignRow { key, value }.into_entry().expect_err(why);
            assert_eq!(unfit.to_string(), why);
        }
    }
}
