//! What the planner is held to: a store of a few keys, written to as the engines write. For tests and fuzzers only.

use std::collections::BTreeMap;

use crate::entry::{Expiry, Key, Rev, Settled, Write};
use crate::plan::Plan;
use crate::plan::run::{Held, Row, Stored, TOMBSTONE};

/// What a store holds of a key, dead or alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Empty if it is dead.
    pub value: String,
    /// Its revision.
    pub rev: u64,
    /// [`Expiry::At`] 0 if it is dead; no other instant has passed.
    pub expiry: Expiry,
}

/// A store: its records by their keys.
pub type Model = BTreeMap<String, Record>;

impl Record {
    fn is_live(&self) -> bool {
        self.expiry != TOMBSTONE
    }
}

/// A batch means what the same writes one by one mean. `first` is the first revision reserved for either.
///
/// # Panics
/// If it does not.
pub fn means_the_same(start: &Model, writes: &[Write], first: u64) {
    let (mut together, mut alone) = (start.clone(), start.clone());
    let batch = carry_out(&mut together, writes, first);
    let singly: Vec<Settled> =
        writes.iter().flat_map(|write| carry_out(&mut alone, std::slice::from_ref(write), first)).collect();
    assert_eq!(batch, singly);

    assert!(together.keys().eq(alone.keys()), "{together:?} {alone:?}");
    for (key, record) in &mut together {
        let expected = &alone[key];
        if !is_exact(writes, key) {
            let before = start.get(key).map_or(first - 1, |before| before.rev);
            assert!(before < record.rev && record.rev <= expected.rev, "{key}: {record:?} {expected:?}");
            record.rev = expected.rev;
        }
        assert_eq!(record, expected);
    }
}

/// Revisions that replies show grow, and none is given twice. `first` is the first revision reserved for the batch.
///
/// # Panics
/// If that is not so.
pub fn revs_grow(start: &Model, writes: &[Write], first: u64) {
    let mut model = start.clone();
    let mut last: BTreeMap<&str, u64> =
        start.iter().map(|(key, record)| (key.as_str(), record.rev)).collect();
    let settled = carry_out(&mut model, writes, first);
    assert_eq!(settled.len(), writes.len());
    for (write, settled) in writes.iter().zip(&settled) {
        let outcomes = match settled {
            Settled::One(outcome) => std::slice::from_ref(outcome),
            Settled::All(outcomes) => outcomes,
            Settled::Failed { .. } => continue,
        };
        assert_eq!(write.ops().len(), outcomes.len());
        for (op, outcome) in write.ops().iter().zip(outcomes) {
            let Some(Rev(rev)) = outcome.rev() else { continue };
            let before = last.insert(op.key.as_str(), rev);
            assert!(before < Some(rev), "{rev} after {before:?}");
            assert!(rev <= model[op.key.as_str()].rev);
        }
    }
}

/// Carries out writes as the engines do, with the revisions from `first` on.
pub(crate) fn carry_out(model: &mut Model, writes: &[Write], first: u64) -> Vec<Settled> {
    let mut plan = Plan::new(writes.iter());
    let held = |key: &&Key| match model.get(key.as_str()) {
        Some(record) => Held::Present { rev: record.rev, live: record.is_live() },
        None => Held::Absent,
    };
    let held: Vec<Held> = plan.asked().iter().map(held).collect();
    let last = first + plan.revs() - 1;
    let rows = plan.decide(Rev(last), &held);
    let behind = |row: &&Row<'_>| model.get(row.key.as_str()).is_none_or(|record| record.rev < first);
    let known = rows.absent.iter().chain(&rows.present).chain(&rows.free);
    assert!(known.filter(behind).all(|row| row.rev <= last), "no more revisions than were reserved");
    let record = |row: &Row<'_>, rev| Record { value: row.value.into(), rev, expiry: row.expiry };
    for row in &rows.absent {
        let before = model.insert(row.key.as_str().into(), record(row, row.rev));
        assert_eq!(before, None, "a plain INSERT of a key that is there");
    }
    for row in &rows.present {
        let before = model.insert(row.key.as_str().into(), record(row, row.rev));
        assert!(before.is_some_and(|before| before.rev < row.rev), "a locked row goes forward");
    }
    let mut upsert = |row: &Row<'_>| {
        let before = model.get(row.key.as_str()).cloned();
        let rev = before.as_ref().map_or(row.rev, |before| row.rev.max(before.rev + 1));
        model.insert(row.key.as_str().into(), record(row, rev));
        Stored { rev, created: before.is_none_or(|before| !before.is_live()) }
    };
    let stored: Vec<Stored> = rows.free.iter().map(&mut upsert).collect();
    plan.settle(&stored)
}

/// Whether the replies of a key showed every revision it took, so that it is known to the number.
fn is_exact(writes: &[Write], key: &str) -> bool {
    let of_key = |write: &&Write| write.ops().iter().any(|op| op.key.as_str() == key);
    let mut writes = writes.iter().filter(of_key);
    let shown = writes.clone().any(Write::shows_rev);
    shown || writes.nth(1).is_none()
}
