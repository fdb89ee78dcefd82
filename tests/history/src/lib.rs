//! What many clients did to some keys at the same time, and whether there is an order in which it makes sense.

mod register;
mod search;
mod step;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod model;
#[cfg(test)]
mod properties;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::search::some_order_makes_sense;
use crate::step::Step;

/// One operation on a key, and what was heard of it.
#[derive(Debug, Clone, Copy)]
pub struct Op {
    /// The key.
    pub key: u64,
    /// When it was sent, or before.
    pub called: Instant,
    /// When its answer had come, or later. None if there was none: it may have taken effect at any time since, or not.
    /// The same is assumed of a write whose answer is None, whatever stands here.
    pub answered: Option<Instant>,
    /// What it did.
    pub did: Did,
}

/// What an operation was asked to do, and what its answer said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    /// Set this value if the condition holds. Each value is written once.
    Set {
        /// The value.
        value: u64,
        /// Only if this is the revision of the key; 0: only if the key is absent.
        if_rev: Option<u64>,
        /// What the writer was told. None: nothing is known, it may have been applied or not.
        answer: Option<Answer>,
    },
    /// Delete the key if the condition holds.
    Delete {
        /// Only if this is the revision of the key; 0: only if the key is absent, and then nothing is deleted.
        if_rev: Option<u64>,
        /// What the writer was told. None: nothing is known, it may have been applied or not.
        answer: Option<Answer>,
    },
    /// Read the value, and its revision if the reader was told it; or that there is nothing.
    Read(Option<(u64, Option<u64>)>),
}

/// What a writer was told. A revision is None if the answer did not show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Set; the key was absent. The revision of the new value.
    Created(Option<u64>),
    /// Set; the key was there. The revision of the new value.
    Updated(Option<u64>),
    /// Deleted; the revision of the deletion.
    Deleted(Option<u64>),
    /// There was nothing to delete.
    Absent,
    /// Not applied: the condition is false. The revision of the key; 0 if it is absent.
    Mismatch(Option<u64>),
}

/// The keys of `ops` for which there is no order of the operations that explains every answer and keeps one that was
/// answered before another was sent in front of it: what is not linearizable.
///
/// Each key is to be a register, empty at first. A write that is applied gives it a revision that is larger than every
/// earlier one, those of deletes included. The condition of a write is judged first; where it is false nothing is done.
#[must_use]
pub fn not_linearizable(ops: &[Op]) -> BTreeSet<u64> {
    let mut keys: BTreeMap<u64, Vec<&Op>> = BTreeMap::new();
    for op in ops {
        keys.entry(op.key).or_default().push(op);
    }
    keys.into_iter().filter(|(_, ops)| !some_order_makes_sense(Step::all(ops))).map(|(key, _)| key).collect()
}

impl Did {
    /// Whether its answer says what became of it.
    fn is_answered(&self) -> bool {
        match self {
            Self::Set { answer, .. } | Self::Delete { answer, .. } => answer.is_some(),
            Self::Read(_) => true,
        }
    }
}
