//! The vocabulary of the store: keys, values, revisions, one write and what became of it.

use std::fmt;

/// The most bytes a key may have; the width of its column.
pub const KEY_BYTES_MAX: usize = 512;

/// The most bytes a value may have.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// A key that fits its column: 1 to [`KEY_BYTES_MAX`] bytes of UTF-8, compared byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// A value that fits its column: up to [`VALUE_BYTES_MAX`] bytes of UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value(String);

/// Why a text is not a [`Key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// A key has at least one byte.
    Empty,
    /// The key has more bytes than allowed.
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
}

/// Why a text is not a [`Value`]: it has `len` bytes where `max` are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueTooLong {
    /// Its length in bytes.
    pub len: usize,
    /// The limit in bytes.
    pub max: usize,
}

/// The revision of a key: grows with every committed write of it and is never used twice.
///
/// Opaque but for its order; 0 means absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rev(pub u64);

/// A live key with its value and revision, as one SELECT saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: String,
    /// The revision of this value.
    pub rev: Rev,
}

/// A write that was asked for: `key` shall hold `value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// The key to write.
    pub key: Key,
    /// What it shall hold.
    pub value: Value,
    /// Whether the reply tells the revision; knowing it can cost a read.
    pub shows_rev: bool,
}

/// What a committed [`Set`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The key was not there before.
    pub created: bool,
    /// The revision it wrote; given if and only if the [`Set`] shows it.
    pub rev: Option<Rev>,
}

impl Key {
    /// Makes a key of `text` if it has 1 to `max` bytes (never more than [`KEY_BYTES_MAX`]).
    ///
    /// # Errors
    /// [`KeyError`] says which bound is broken.
    pub fn new(text: String, max: usize) -> Result<Self, KeyError> {
        let (len, max) = (text.len(), max.min(KEY_BYTES_MAX));
        match len {
            0 => Err(KeyError::Empty),
            _ if len > max => Err(KeyError::TooLong { len, max }),
            _ => Ok(Self(text)),
        }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value {
    /// Makes a value of `text` if it has at most `max` bytes (never more than [`VALUE_BYTES_MAX`]).
    ///
    /// # Errors
    /// [`ValueTooLong`] with its length and the limit.
    pub fn new(text: String, max: usize) -> Result<Self, ValueTooLong> {
        let (len, max) = (text.len(), max.min(VALUE_BYTES_MAX));
        if len > max {
            return Err(ValueTooLong { len, max });
        }
        Ok(Self(text))
    }

    /// The value as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Set {
    /// What this write weighs in a queue or a batch, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.key.0.len() + self.value.0.len()
    }
}

impl fmt::Display for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_to_512_bytes_however_the_limit_is_configured() {
        assert_eq!(Key::new(String::new(), 512), Err(KeyError::Empty));
        assert!(Key::new("k".repeat(512), 512).is_ok());
        let too_long = Err(KeyError::TooLong { len: 513, max: 512 });
        assert_eq!(Key::new("k".repeat(513), usize::MAX), too_long);
        let lower = Err(KeyError::TooLong { len: 4, max: 3 });
        assert_eq!(Key::new("é é".replace(' ', ""), 3), lower);
    }

    #[test]
    fn a_value_may_be_empty_and_has_at_most_a_mebibyte() {
        assert!(Value::new(String::new(), VALUE_BYTES_MAX).is_ok());
        let too_long = ValueTooLong { len: 1_048_577, max: 1_048_576 };
        assert_eq!(Value::new("v".repeat(1_048_577), usize::MAX), Err(too_long));
    }
}
