//! The vocabulary of the store: keys, values, revisions, what is written and what became of it.

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

/// A row as a snapshot shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'r> {
    /// The key.
    pub key: &'r str,
    /// The value; none if the entry is deleted or expired by the database's clock when the row is read.
    pub value: Option<&'r str>,
    /// The revision.
    pub rev: Rev,
    /// When it expires, in microseconds UTC, if ever.
    pub expires_at: Option<u64>,
}

/// How long a value lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// Until it is overwritten or deleted.
    Never,
    /// So many seconds from the write on, by the database's clock.
    After(u64),
    /// Until this instant: microseconds since 1970 UTC, below 2^63.
    At(u64),
}

/// What is done to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It shall hold this value for this long.
    Set(Value, Expiry),
    /// It shall hold nothing.
    Delete,
}

/// One change of one key, perhaps under a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// The key to change.
    pub key: Key,
    /// What shall become of it.
    pub change: Change,
    /// Only if this is the key's revision; 0 = only if it is absent.
    pub if_rev: Option<Rev>,
    /// The sender asks for the revision. [`Write::shows_rev`] tells which replies show it unasked.
    pub asks_rev: bool,
}

/// What travels and is answered as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// One op.
    One(Op),
    /// Ops of different keys, of which all take effect at one instant, or none.
    Atomic(Vec<Op>),
}

/// What became of an [`Op`] of a committed transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Set; the key was absent. The revision is given if and only if [`Write::shows_rev`].
    Created(Option<Rev>),
    /// Set; the key was there.
    Updated(Option<Rev>),
    /// Deleted; the revision of the deletion.
    Deleted(Rev),
    /// There was nothing to delete.
    Absent,
    /// Not applied: the key has this revision (0: it is absent), not the one asked for.
    Mismatch(Rev),
}

/// What became of a [`Write`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Of its only op.
    One(Outcome),
    /// Of each op, none of them [`Outcome::Mismatch`]: all took effect.
    All(Vec<Outcome>),
    /// Nothing took effect, because the condition of this op is false.
    Failed {
        /// The place of the op among those of the write, from 0.
        index: usize,
        /// The revision its key has; 0: it is absent.
        rev: Rev,
    },
}

/// Why a write was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not applied: the database cannot be reached or refuses.
    #[error("the database is not available")]
    Unavailable,
    /// Not applied: there was not enough time left to commit it, though the database works.
    #[error("too many writes are waiting")]
    Overloaded,
    /// Perhaps applied: a COMMIT with it was sent, and its outcome could not be found out in time.
    #[error("the outcome of the write is not known")]
    OutcomeUnknown,
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

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
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

impl Expiry {
    /// Whether there is an instant at which the value is gone.
    pub(crate) fn ends(self) -> bool {
        match self {
            Self::Never => false,
            Self::After(_) | Self::At(_) => true,
        }
    }
}

impl Outcome {
    /// The revision that the op took, if it took one and its reply shows it.
    #[must_use]
    pub fn rev(self) -> Option<Rev> {
        match self {
            Self::Created(rev) | Self::Updated(rev) => rev,
            Self::Deleted(rev) => Some(rev),
            Self::Absent | Self::Mismatch(_) => None,
        }
    }
}

/// What an op takes in memory beside its key and its value, with what its reply needs; about that, in bytes.
pub(crate) const OP_BYTES: usize = 256;

impl Op {
    /// What this op weighs in a queue or a batch, in bytes: key, value, and 256 for the rest.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let value = match &self.change {
            Change::Set(value, _) => value.0.len(),
            Change::Delete => 0,
        };
        self.key.0.len() + value + OP_BYTES
    }

    /// Whether the reply shows the revision if the op travels alone.
    fn shows_rev(&self) -> bool {
        let shows_unasked = match &self.change {
            Change::Set(_, expiry) => expiry.ends(),
            Change::Delete => true,
        };
        shows_unasked || self.if_rev.is_some() || self.asks_rev
    }
}

impl Write {
    /// Its ops, in the order given.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        match self {
            Self::One(op) => std::slice::from_ref(op),
            Self::Atomic(ops) => ops,
        }
    }

    /// Whether its ops take effect at one instant, or none of them.
    #[must_use]
    pub fn is_atomic(&self) -> bool {
        match self {
            Self::One(_) => false,
            Self::Atomic(_) => true,
        }
    }

    /// Whether the reply shows the revisions that the ops take; knowing them can cost a read.
    ///
    /// A set without a condition that never expires shows its revision only if the sender asks for it. Every other op shows
    /// it always, and so does every op of an atomic write.
    #[must_use]
    pub fn shows_rev(&self) -> bool {
        match self {
            Self::One(op) => op.shows_rev(),
            Self::Atomic(_) => true,
        }
    }

    /// What it weighs in a queue or a batch, in bytes.
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

#[cfg(test)]
mod tests;
