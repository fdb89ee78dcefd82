//! The limits of a message and of its reply.

/// The most ops of a batch.
pub(super) const OPS_MAX: usize = 1000;

/// The most unknown members of an object. They are ignored, but each costs time and memory.
pub(super) const UNKNOWN_MEMBERS_MAX: usize = 64;

/// An upper bound of the bytes of a result, without its key and its `id`.
pub(super) const RESULT_BYTES: usize = 128;

/// Whether the unknown members of an object are ignored or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownMembers {
    /// Up to 64 are ignored, as by the original service. More are refused.
    Ignored,
    /// The first one is refused, so that a misspelt member is noticed.
    Refused,
}

impl UnknownMembers {
    /// The most unknown members of an object.
    pub(super) fn max(self) -> usize {
        match self {
            Self::Ignored => UNKNOWN_MEMBERS_MAX,
            Self::Refused => 0,
        }
    }
}

/// The limits of one write.
#[derive(Debug, Clone, Copy)]
pub struct MessageLimits {
    /// The most bytes of a key.
    pub key_bytes_max: usize,
    /// The most bytes of a value.
    pub value_bytes_max: usize,
}

impl MessageLimits {
    /// The most bytes of a message. A control character takes six bytes in JSON.
    #[must_use]
    pub fn message_bytes_max(&self) -> usize {
        6 * (self.key_bytes_max + self.value_bytes_max) + 4096
    }

    /// The most bytes of a reply. The longest is the reply to a batch: it repeats the keys and ids of its message.
    #[must_use]
    pub fn reply_bytes_max(&self) -> usize {
        self.message_bytes_max() + OPS_MAX * RESULT_BYTES
    }
}
