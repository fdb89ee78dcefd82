//! An operation, prepared for the search. The replies to other operations may show its revision, and operations with known
//! revisions leave few orders to try.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::operation::{Did, Operation, ReplyOutcome};

/// An operation, prepared for the search.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// When it was sent.
    pub(crate) called: Instant,
    /// When its reply came, if it came.
    pub(crate) answered: Option<Instant>,
    pub(crate) did: Did,
    /// The revision that it wrote or found, if its own reply shows it.
    pub(crate) told: Option<u64>,
    /// The revision that it wrote or found, if its own reply or the reply to another operation with the same value shows it.
    pub(crate) rev: Option<u64>,
    /// The number of operations that are before it in every order, because their revisions are smaller. `None` without a revision.
    pub(crate) behind: Option<usize>,
}

/// The position that a revision gives to an operation: revisions of a key only grow, and each is written before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct RevPosition {
    rev: u64,
    is_seen: bool,
}

impl Step {
    /// The steps of a history, in the order of `ops`.
    pub(crate) fn all(ops: &[&Operation]) -> Vec<Self> {
        // The revision of each value, if any reply shows it.
        let revs: BTreeMap<u64, u64> = ops.iter().filter_map(|op| value(op.did).zip(told(op.did))).collect();
        let step = |op: &&Operation| {
            let (did, told) = (op.did, told(op.did));
            let rev = told.or_else(|| revs.get(&value(did)?).copied());
            let answered = op.answered.filter(|_| did.is_answered());
            Self { called: op.called, answered, did, told, rev, behind: None }
        };
        let mut steps: Vec<Self> = ops.iter().map(step).collect();
        let mut positions: Vec<RevPosition> = steps.iter().filter_map(Self::position).collect();
        positions.sort_unstable();
        for step in &mut steps {
            step.behind =
                step.position().map(|position| positions.partition_point(|other| *other < position));
        }
        steps
    }

    /// Whether its outcome is known.
    pub(crate) fn is_answered(&self) -> bool {
        self.did.is_answered()
    }

    fn position(&self) -> Option<RevPosition> {
        // 0 is the revision of an absent key, which can occur several times.
        let rev = self.rev.filter(|rev| *rev > 0)?;
        Some(RevPosition { rev, is_seen: matches!(self.did, Did::Read(_)) || is_mismatch(self.did) })
    }
}

/// The value that was read, or set if the condition was not false.
fn value(did: Did) -> Option<u64> {
    match did {
        Did::Set { value, .. } => Some(value).filter(|_| !is_mismatch(did)),
        Did::Read(found) => found.map(|(value, _)| value),
        Did::Delete { .. } => None,
    }
}

/// The revision that was written, read or found instead, if the reply shows it.
fn told(did: Did) -> Option<u64> {
    match did {
        Did::Read(found) => found?.1,
        Did::Set { reply, .. } | Did::Delete { reply, .. } => match reply? {
            ReplyOutcome::Created(rev)
            | ReplyOutcome::Updated(rev)
            | ReplyOutcome::Deleted(rev)
            | ReplyOutcome::Mismatch(rev) => rev,
            ReplyOutcome::Absent => None,
        },
    }
}

fn is_mismatch(did: Did) -> bool {
    match did {
        Did::Set { reply, .. } | Did::Delete { reply, .. } => {
            matches!(reply, Some(ReplyOutcome::Mismatch(_)))
        }
        Did::Read(_) => false,
    }
}
