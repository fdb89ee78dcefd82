//! What many clients did to some keys at the same time, and whether there is an order in which it makes sense.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

/// One operation on a key, and what was heard of it.
#[derive(Debug, Clone, Copy)]
pub struct Op {
    /// The key.
    pub key: u64,
    /// When it was sent, or before.
    pub called: Instant,
    /// When its answer had come, or later. None if there was none: it may have taken effect at any time since, or not.
    pub answered: Option<Instant>,
    /// What it did.
    pub did: Did,
}

/// What an operation did, as far as its answer said. Each value is written once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    /// Set the value; whether there was one before.
    Set(u64, Option<bool>),
    /// Set the value if there was none; whether that was so.
    Create(u64, Option<bool>),
    /// Deleted; whether there was a value.
    Delete(Option<bool>),
    /// Read this value, or that there is none.
    Read(Option<u64>),
}

/// What a single key is to be: a register that may be empty.
struct Register;

impl Specification for Register {
    type State = Option<u64>;
    type Operation = Did;

    fn init() -> Option<u64> {
        None
    }

    fn apply(did: &Did, state: &Option<u64>) -> (bool, Option<u64>) {
        let fits = |said: &Option<bool>, is: bool| said.is_none_or(|said| said == is);
        match did {
            Did::Set(value, found) => (fits(found, state.is_some()), Some(*value)),
            Did::Create(value, took) => (fits(took, state.is_none()), state.or(Some(*value))),
            Did::Delete(found) => (fits(found, state.is_some()), None),
            Did::Read(found) => (found == state, *state),
        }
    }
}

/// The keys of `ops` for which there is no order of the operations that explains every answer and keeps one that was
/// answered before another was sent in front of it: what is not linearizable.
#[must_use]
pub fn not_linearizable(ops: &[Op]) -> BTreeSet<u64> {
    let mut keys: BTreeMap<u64, Vec<&Op>> = BTreeMap::new();
    for op in ops {
        keys.entry(op.key).or_default().push(op);
    }
    keys.into_iter().filter(|(_, ops)| !is_linearizable(ops)).map(|(key, _)| key).collect()
}

fn is_linearizable(ops: &[&Op]) -> bool {
    let end = ops.iter().map(|op| op.answered.unwrap_or(op.called)).max();
    let mut events = Vec::with_capacity(2 * ops.len());
    for (process, op) in ops.iter().enumerate() {
        // At the same instant calls come first, answers that never came last: the weaker claim.
        events.push(((op.called, 0), process, Action::Call(op.did)));
        let answered = op.answered.map_or((end.unwrap_or(op.called), 2), |answered| (answered, 1));
        events.push((answered, process, Action::Response(op.did)));
    }
    events.sort_by_key(|(at, ..)| *at);
    let actions: Vec<_> = events.into_iter().map(|(_, process, action)| (process, action)).collect();
    actions.is_empty() || WGLChecker::<Register>::is_linearizable(History::from_actions(actions))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Ops as `(called, answered, did)`, in milliseconds; answered 0 = never.
    fn judge(ops: &[(u64, u64, Did)]) -> bool {
        let zero = Instant::now();
        let at = |ms| zero + Duration::from_millis(ms);
        let op = |&(called, answered, did): &(u64, u64, Did)| Op {
            key: 7,
            called: at(called),
            answered: Some(at(answered)).filter(|_| answered > 0),
            did,
        };
        not_linearizable(&ops.iter().map(op).collect::<Vec<_>>()).is_empty()
    }

    #[test]
    fn good_histories_are_told_from_bad_ones() {
        use Did::{Create, Delete, Read, Set};
        let good: [&[(u64, u64, Did)]; 6] = [
            &[],
            &[
                (1, 2, Set(1, Some(false))),
                (3, 4, Read(Some(1))),
                (5, 6, Delete(Some(true))),
                (7, 8, Read(None)),
            ],
            // At the same time either order will do.
            &[
                (1, 9, Set(1, Some(false))),
                (1, 9, Set(2, Some(true))),
                (2, 3, Read(Some(1))),
                (4, 5, Read(Some(2))),
            ],
            // Without an answer it may have taken effect late, or never.
            &[(1, 0, Set(1, None)), (2, 3, Read(None)), (4, 5, Read(Some(1)))],
            &[(1, 0, Set(1, None)), (2, 3, Read(None)), (4, 5, Set(2, Some(false))), (6, 7, Read(Some(2)))],
            &[(1, 9, Create(1, Some(true))), (2, 8, Create(2, Some(false))), (10, 11, Read(Some(1)))],
        ];
        for ops in good {
            assert!(judge(ops), "{ops:?}");
        }
        let bad: [&[(u64, u64, Did)]; 8] = [
            // A write that was acknowledged and is not read.
            &[(1, 2, Set(1, Some(false))), (3, 4, Read(None))],
            // A read that goes back behind another.
            &[(1, 9, Set(1, Some(false))), (2, 3, Read(Some(1))), (4, 5, Read(None))],
            // An old write that undoes a newer one.
            &[(1, 2, Set(1, Some(false))), (3, 4, Set(2, Some(true))), (5, 6, Read(Some(1)))],
            // A write without an answer that takes effect twice.
            &[(1, 0, Set(1, None)), (2, 3, Read(Some(1))), (4, 5, Set(2, Some(true))), (6, 7, Read(Some(1)))],
            // What nobody wrote.
            &[(1, 2, Read(Some(1)))],
            // Two that found the same absence.
            &[(1, 9, Create(1, Some(true))), (2, 8, Create(2, Some(true)))],
            // The wrong word for it.
            &[(1, 2, Set(1, Some(false))), (3, 4, Set(2, Some(false)))],
            &[(1, 2, Delete(Some(true)))],
        ];
        for ops in bad {
            assert!(!judge(ops), "{ops:?}");
        }
    }
}
