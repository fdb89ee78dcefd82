//! Statements of lanes, and their results.

use super::locks::{ConnectionId, Lock};
use super::tables::OwnedRow;
use crate::engine::FoundLocks;
use crate::entry::{Key, Rev};
use crate::plan::run::{CurrentRow, UpsertResult};
use crate::sweeper::hint::Hint;

/// A statement that a lane sends.
#[derive(Debug, Clone)]
pub(super) enum LaneStatement {
    Sample,
    Register { lane: u64, logs: bool },
    Fence { lane: u64, seq: u64, revs: u64, floor: u64 },
    ReadSeq { lane: u64 },
    FindLocked(Vec<Key>),
    ReadForUpdate(Vec<Key>),
    Insert(Vec<OwnedRow>),
    Overwrite(Vec<OwnedRow>),
    Upsert(Vec<OwnedRow>),
    AddHints(Vec<Hint>),
    LogChanges { lane: u64, seq: u64, keys: Vec<Key> },
    Commit,
    Rollback,
    StoreTime { lane: u64 },
    Kill(ConnectionId),
}

/// The result of a statement.
#[derive(Debug, Clone)]
pub(super) enum StatementResult {
    Done,
    /// The clock of the server, and the stored time.
    Sampled(u64, u64),
    Fenced(Option<Rev>),
    Seq(Option<u64>),
    CurrentRows(Vec<CurrentRow>),
    UpsertResults(Vec<UpsertResult>),
    FoundLocks(FoundLocks),
}

impl LaneStatement {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Register { .. } => "register",
            Self::Fence { .. } => "fence",
            Self::ReadSeq { .. } => "read_seq",
            Self::FindLocked(_) => "find_locked",
            Self::ReadForUpdate(_) => "read_for_update",
            Self::Insert(_) => "insert",
            Self::Overwrite(_) => "overwrite",
            Self::Upsert(_) => "upsert",
            Self::AddHints(_) => "add_hints",
            Self::LogChanges { .. } => "log_changes",
            Self::Commit => "commit",
            Self::Rollback => "rollback",
            Self::StoreTime { .. } => "store_time",
            Self::Kill(_) => "kill",
        }
    }

    /// Whether the statement writes a row of `key`.
    pub(super) fn writes(&self, key: &Key) -> bool {
        match self {
            Self::Insert(rows) | Self::Overwrite(rows) | Self::Upsert(rows) => {
                rows.iter().any(|row| row.key == *key)
            }
            Self::Sample
            | Self::Register { .. }
            | Self::Fence { .. }
            | Self::ReadSeq { .. }
            | Self::FindLocked(_)
            | Self::ReadForUpdate(_)
            | Self::AddHints(_)
            | Self::LogChanges { .. }
            | Self::Commit
            | Self::Rollback
            | Self::StoreTime { .. }
            | Self::Kill(_) => false,
        }
    }

    /// The locks that the statement takes, in this order.
    pub(super) fn locks(&self, is_one_writer: bool) -> Vec<Lock> {
        let rows = |rows: &[OwnedRow]| rows.iter().map(|row| Lock::Row(row.key.clone())).collect();
        match self {
            Self::Register { .. } | Self::Fence { .. } | Self::StoreTime { .. } if is_one_writer => {
                vec![Lock::Store]
            }
            Self::Fence { lane, .. } | Self::Register { lane, .. } | Self::StoreTime { lane } => {
                vec![Lock::Fence(*lane)]
            }
            _ if is_one_writer => Vec::new(),
            Self::ReadForUpdate(keys) => keys.iter().cloned().map(Lock::Row).collect(),
            Self::Insert(written) | Self::Overwrite(written) | Self::Upsert(written) => rows(written),
            // A look for locks waits for none.
            Self::FindLocked(_)
            | Self::Sample
            | Self::ReadSeq { .. }
            | Self::AddHints(_)
            | Self::LogChanges { .. }
            | Self::Commit
            | Self::Rollback
            | Self::Kill(_) => Vec::new(),
        }
    }
}
