//! The vocabulary of the store: keys, values, revisions, writes and their outcomes.

use std::fmt;

pub use self::scanned::{KeyRecord, Record};

/// The most bytes of a key: the width of its column.
pub const KEY_BYTES_MAX: usize = 512;

/// The most bytes of a value.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// A key that fits its column: 1 to [`KEY_BYTES_MAX`] bytes of UTF-8. Keys are compared byte for byte.
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

/// A text is too long for a [`Value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueTooLong {
    /// Its length in bytes.
    pub len: usize,
    /// The limit in bytes.
    pub max: usize,
}

/// The revision of a key: it grows with every committed write of the key, and is never used twice.
///
/// Only the order of revisions has a meaning. 0 means absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rev(pub u64);

/// A live key with its value and revision, as one SELECT read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: String,
    /// The revision of this value.
    pub rev: Rev,
}

/// How long a value lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// Until the key is overwritten or deleted.
    Never,
    /// This number of seconds after the write, by the clock of the database.
    After(u64),
    /// Until this instant: microseconds since 1970 UTC, less than 2^63.
    At(u64),
}

/// A change of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Store this value for this long.
    Set(Value, Expiry),
    /// Remove the value.
    Delete,
}

/// One change of one key, with or without a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// The key to change.
    pub key: Key,
    /// The change.
    pub change: Change,
    /// Change the key only if it has this revision. 0: only if it is absent.
    pub if_rev: Option<Rev>,
    /// The outcome must show the revision. [`Write::shows_rev`] says which outcomes show it in any case.
    pub asks_rev: bool,
}

/// One or several ops that get one outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// One op.
    One(Op),
    /// Ops of different keys. All of them take effect at one instant, or none does.
    Atomic(Vec<Op>),
}

/// The outcome of an [`Op`] of a committed transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Set; the key was absent. There is a revision if and only if [`Write::shows_rev`].
    Created(Option<Rev>),
    /// Set; the key existed.
    Updated(Option<Rev>),
    /// Deleted; the revision of the deletion.
    Deleted(Rev),
    /// There was nothing to delete.
    Absent,
    /// Not applied, because the condition is false: the key has this revision (0: it is absent).
    Mismatch(Rev),
}

/// The outcome of a [`Write`] of a committed transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The outcome of the only op.
    One(Outcome),
    /// All ops took effect. The outcome of each, none of them [`Outcome::Mismatch`].
    All(Vec<Outcome>),
    /// No op took effect, because the condition of this op is false.
    Mismatch {
        /// The index of the op in the write, from 0.
        index: usize,
        /// The revision of its key. 0: it is absent.
        rev: Rev,
    },
}

/// Why a write was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not applied: the database cannot be reached, or refuses.
    #[error("the database is not available")]
    Unavailable,
    /// Not applied: the database works, but there was not enough time left to commit the write.
    #[error("too many writes are waiting")]
    Overloaded,
    /// Perhaps applied: a COMMIT with the write was sent, and its outcome could not be found out in time.
    #[error("the outcome of the write is not known")]
    OutcomeUnknown,
    /// Not applied: the database cannot store this write, now or later: for example, the revision of its key cannot grow.
    #[error("the database cannot write this key")]
    Unwritable,
}

impl Key {
    /// Makes a key of `text`, which must have 1 to `max` bytes. A larger `max` than [`KEY_BYTES_MAX`] counts as [`KEY_BYTES_MAX`].
    ///
    /// # Errors
    /// [`KeyError`] says which limit is broken.
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

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Value {
    /// Makes a value of `text`, which must have at most `max` bytes. A larger `max` than [`VALUE_BYTES_MAX`] counts as
    /// [`VALUE_BYTES_MAX`].
    ///
    /// # Errors
    /// [`ValueTooLong`] has the length and the limit.
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

impl Expiry {
    /// Whether the value expires at some instant.
    pub(crate) fn ends(self) -> bool {
        match self {
            Self::Never => false,
            Self::After(_) | Self::At(_) => true,
        }
    }
}

impl Outcome {
    /// The revision that the op took, if the outcome shows it. `None` for an op that took none.
    #[must_use]
    pub fn rev(self) -> Option<Rev> {
        match self {
            Self::Created(rev) | Self::Updated(rev) => rev,
            Self::Deleted(rev) => Some(rev),
            Self::Absent | Self::Mismatch(_) => None,
        }
    }
}

/// About the bytes of memory that an op and its reply take, without key and value.
pub(crate) const OP_BYTES: usize = 256;

impl Op {
    /// The size of this op in a queue or a batch, in bytes: key, value, and 256 for the rest.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let value = match &self.change {
            Change::Set(value, _) => value.0.len(),
            Change::Delete => 0,
        };
        self.key.0.len() + value + OP_BYTES
    }

    /// Whether the outcome shows the revision if this is the only op of its write.
    fn shows_rev(&self) -> bool {
        let shows_unasked = match &self.change {
            Change::Set(_, expiry) => expiry.ends(),
            Change::Delete => true,
        };
        shows_unasked || self.if_rev.is_some() || self.asks_rev
    }
}

impl Write {
    /// The ops, in the order given.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        match self {
            Self::One(op) => std::slice::from_ref(op),
            Self::Atomic(ops) => ops,
        }
    }

    /// Whether this is a [`Write::Atomic`].
    #[must_use]
    pub fn is_atomic(&self) -> bool {
        match self {
            Self::One(_) => false,
            Self::Atomic(_) => true,
        }
    }

    /// Whether the outcome shows the revisions that the ops take. To know them can cost a read.
    ///
    /// A single set that has no condition and never expires shows its revision only if [`Op::asks_rev`]. Every other op, and
    /// every op of an atomic write, always shows it.
    #[must_use]
    pub fn shows_rev(&self) -> bool {
        match self {
            Self::One(op) => op.shows_rev(),
            Self::Atomic(_) => true,
        }
    }

    /// The size of the write in a queue or a batch, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.ops().iter().map(Op::bytes).sum()
    }
}

impl fmt::Display for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

mod logged;
mod scanned;
#[cfg(test)]
mod tests;
