//! An operation with what the rest of its history says about it, so that few orders are left to try.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::{Answer, Did, Op};

/// An operation as the checker takes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// When it was sent.
    pub(crate) called: Instant,
    /// When it was over, if it ever was.
    pub(crate) answered: Option<Instant>,
    pub(crate) did: Did,
    /// The revision that it gave or found, if its answer shows it.
    pub(crate) told: Option<u64>,
    /// The same, also if only the answer of another operation with this value shows it.
    pub(crate) rev: Option<u64>,
    /// How many operations come before it in any case, because their revisions are smaller. None without a revision.
    pub(crate) behind: Option<usize>,
}

/// A revision with a place in the order: those of a key only grow, and it is given before it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    rev: u64,
    is_seen: bool,
}

impl Step {
    /// The steps of a history, in the order of `ops`.
    pub(crate) fn all(ops: &[&Op]) -> Vec<Self> {
        // Of each value that anybody was told of.
        let revs: BTreeMap<u64, u64> = ops.iter().filter_map(|op| value(op.did).zip(told(op.did))).collect();
        let step = |op: &&Op| {
            let (did, told) = (op.did, told(op.did));
            let rev = told.or_else(|| revs.get(&value(did)?).copied());
            let answered = op.answered.filter(|_| did.is_answered());
            Self { called: op.called, answered, did, told, rev, behind: None }
        };
        let mut steps: Vec<Self> = ops.iter().map(step).collect();
        let mut places: Vec<Place> = steps.iter().filter_map(Self::place).collect();
        places.sort_unstable();
        for step in &mut steps {
            step.behind = step.place().map(|place| places.partition_point(|other| *other < place));
        }
        steps
    }

    /// Whether its answer says what became of it.
    pub(crate) fn is_answered(&self) -> bool {
        self.did.is_answered()
    }

    fn place(&self) -> Option<Place> {
        // 0 is that of what is absent: it comes again.
        let rev = self.rev.filter(|rev| *rev > 0)?;
        Some(Place { rev, is_seen: matches!(self.did, Did::Read(_)) || is_mismatch(self.did) })
    }
}

/// What was read, or set if the condition was not false.
fn value(did: Did) -> Option<u64> {
    match did {
        Did::Set { value, .. } => Some(value).filter(|_| !is_mismatch(did)),
        Did::Read(found) => found.map(|(value, _)| value),
        Did::Delete { .. } => None,
    }
}

/// The revision of what was written, read or found instead, if the answer shows it.
fn told(did: Did) -> Option<u64> {
    match did {
        Did::Read(found) => found?.1,
        Did::Set { answer, .. } | Did::Delete { answer, .. } => match answer? {
            Answer::Created(rev) | Answer::Updated(rev) | Answer::Deleted(rev) | Answer::Mismatch(rev) => rev,
            Answer::Absent => None,
        },
    }
}

fn is_mismatch(did: Did) -> bool {
    match did {
        Did::Set { answer, .. } | Did::Delete { answer, .. } => matches!(answer, Some(Answer::Mismatch(_))),
        Did::Read(_) => false,
    }
}
