//! Rows as a scan finds them.

use super::Rev;

/// A row of a scan, live or dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'r> {
    /// The key.
    pub key: &'r str,
    /// The value. `None` if the entry is deleted, or expired by the clock of the database when the row is read.
    pub value: Option<&'r str>,
    /// The revision.
    pub rev: Rev,
    /// When the entry expires, in microseconds since 1970 UTC. `None`: never.
    pub expires_at: Option<u64>,
}

/// A row of a scan that reads no values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRecord<'r> {
    /// The key.
    pub key: &'r str,
    /// The revision.
    pub rev: Rev,
    /// Whether the entry is neither deleted, nor expired by the clock of the database when the row is read.
    pub is_live: bool,
}
