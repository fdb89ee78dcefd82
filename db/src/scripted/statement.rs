//! What a lane sends to the server, and what it is answered.

use super::locks::{ConnectionId, Lock};
use super::tables::Written;
use crate::entry::{Key, Rev};
use crate::plan::run::{Held, Stored};
use crate::sweeper::hint::Hint;

/// A statement on its way.
#[derive(Debug, Clone)]
pub(super) enum Statement {
    Register { lane: u64 },
    Fence { lane: u64, seq: u64, revs: u64 },
    Seq { lane: u64 },
    Held(Vec<Key>),
    Insert(Vec<Written>),
    Overwrite(Vec<Written>),
    Upsert(Vec<Written>),
    Remember(Vec<Hint>),
    Commit,
    Rollback,
    Touch,
    Kill(ConnectionId),
}

/// The answer to a statement that was carried out.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Done,
    Fenced(Option<Rev>),
    Seq(Option<u64>),
    Held(Vec<Held>),
    Stored(Vec<Stored>),
}

impl Statement {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Register { .. } => "register",
            Self::Fence { .. } => "fence",
            Self::Seq { .. } => "seq",
            Self::Held(_) => "held",
            Self::Insert(_) => "insert",
            Self::Overwrite(_) => "overwrite",
            Self::Upsert(_) => "upsert",
            Self::Remember(_) => "remember",
            Self::Commit => "commit",
            Self::Rollback => "rollback",
            Self::Touch => "touch",
            Self::Kill(_) => "kill",
        }
    }

    /// The locks it needs, in the order in which it takes them.
    pub(super) fn locks(&self, is_one_writer: bool) -> Vec<Lock> {
        let rows = |rows: &[Written]| rows.iter().map(|row| Lock::Row(row.key.clone())).collect();
        match self {
            Self::Register { .. } | Self::Fence { .. } if is_one_writer => vec![Lock::Store],
            Self::Fence { lane, .. } | Self::Register { lane } => vec![Lock::Fence(*lane)],
            _ if is_one_writer => Vec::new(),
            Self::Held(keys) => keys.iter().cloned().map(Lock::Row).collect(),
            Self::Insert(written) | Self::Overwrite(written) | Self::Upsert(written) => rows(written),
            Self::Seq { .. }
            | Self::Remember(_)
            | Self::Commit
            | Self::Rollback
            | Self::Touch
            | Self::Kill(_) => Vec::new(),
        }
    }
}
