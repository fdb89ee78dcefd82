//! Checks histories: whether the operations of many clients on some keys are linearizable.

mod operation;
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

pub use crate::operation::{Did, Operation, ReplyOutcome};
use crate::search::is_linearizable;
use crate::step::Step;

/// The keys of `ops` that are not linearizable. A key is linearizable if some order of its operations explains every reply. In
/// this order an operation must come after each operation whose reply had come before it was sent.
///
/// Each key is a register that is empty at first. An applied write, also a delete, gives it a revision that is larger than every
/// earlier one. The condition of a write is judged first; if it is false, the write does nothing.
#[must_use]
pub fn not_linearizable(ops: &[Operation]) -> BTreeSet<u64> {
    let mut keys: BTreeMap<u64, Vec<&Operation>> = BTreeMap::new();
    for op in ops {
        keys.entry(op.key).or_default().push(op);
    }
    keys.into_iter().filter(|(_, ops)| !is_linearizable(Step::all(ops))).map(|(key, _)| key).collect()
}
