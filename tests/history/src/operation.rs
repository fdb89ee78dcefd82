//! An operation of a history.

use std::time::Instant;

/// One operation on a key, and its reply.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// The key.
    pub key: u64,
    /// The time when it was sent. An earlier time is allowed, too.
    pub called: Instant,
    /// The time when its reply had come. A later time is allowed, too. `None`: there was no reply, so the operation may have taken
    /// effect at any time after `called`, or not at all. This field is ignored for a write whose `reply` is `None`.
    pub answered: Option<Instant>,
    /// The operation and its outcome.
    pub did: Did,
}

/// The request of an operation, and the outcome that its reply shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    /// Sets this value if the condition holds. Each value is written only once.
    Set {
        /// The value.
        value: u64,
        /// The condition: this is the revision of the key; 0: the key is absent.
        if_rev: Option<u64>,
        /// The outcome that the reply shows. `None`: unknown, the write was applied or not.
        reply: Option<ReplyOutcome>,
    },
    /// Deletes the key if the condition holds.
    Delete {
        /// The condition: this is the revision of the key; 0: the key is absent, and then nothing is deleted.
        if_rev: Option<u64>,
        /// The outcome that the reply shows. `None`: unknown, the write was applied or not.
        reply: Option<ReplyOutcome>,
    },
    /// The value that was read, with its revision if the reply shows it; `None`: the key is absent.
    Read(Option<(u64, Option<u64>)>),
}

/// The outcome of a write that a reply shows. A revision is `None` if the reply does not show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyOutcome {
    /// The value was set, and the key was absent. The revision of the new value.
    Created(Option<u64>),
    /// The value was set, and the key was there. The revision of the new value.
    Updated(Option<u64>),
    /// The key was deleted. The revision of the delete.
    Deleted(Option<u64>),
    /// There was nothing to delete.
    Absent,
    /// Not applied: the condition is false. The revision of the key; 0 if it is absent.
    Mismatch(Option<u64>),
}

impl Did {
    /// Whether the outcome is known.
    pub(crate) fn is_answered(&self) -> bool {
        match self {
            Self::Set { reply, .. } | Self::Delete { reply, .. } => reply.is_some(),
            Self::Read(_) => true,
        }
    }
}
