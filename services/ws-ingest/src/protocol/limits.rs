//! How large a message and its reply may be.

/// The most ops of a batch.
pub(super) const OPS_MAX: usize = 1000;

/// More than the bytes of a result beside its key and its id.
pub(super) const RESULT_BYTES: usize = 128;

/// The limits of one write, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes of a key.
    pub key_bytes_max: usize,
    /// The most bytes of a value.
    pub value_bytes_max: usize,
}

impl Limits {
    /// The most bytes of a message: in JSON a control character takes six bytes.
    #[must_use]
    pub fn message_bytes_max(&self) -> usize {
        6 * (self.key_bytes_max + self.value_bytes_max) + 4096
    }

    /// The most bytes of a reply, that to a batch: its keys and ids as they came in its message, and what stands around them.
    #[must_use]
    pub fn reply_bytes_max(&self) -> usize {
        self.message_bytes_max() + OPS_MAX * RESULT_BYTES
    }
}
