//! The specification of the planner: a store of a few keys that is written as the engines write. For tests and fuzzers only.

use std::collections::BTreeMap;

use crate::entry::{Expiry, Key, Rev, Write, WriteOutcome};
use crate::plan::Plan;
use crate::plan::run::{CurrentRow, Row, TOMBSTONE, UpsertResult};

/// The row of a key, live or dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRow {
    /// Empty if it is dead.
    pub value: String,
    /// Its revision.
    pub rev: u64,
    /// [`Expiry::At`] 0 if it is dead; no other instant has passed.
    pub expiry: Expiry,
}

/// A store: its rows by their keys.
pub type Model = BTreeMap<String, ModelRow>;

impl ModelRow {
    fn is_live(&self) -> bool {
        self.expiry != TOMBSTONE
    }
}

/// Checks that a batch has the same meaning as its writes one by one. `first` is the first revision that is reserved, for the
/// batch and for each single write.
///
/// # Panics
/// If the meaning differs.
pub fn means_the_same(start: &Model, writes: &[Write], first: u64) {
    let (mut together, mut alone) = (start.clone(), start.clone());
    let batch = carry_out(&mut together, writes, first);
    let singly: Vec<WriteOutcome> =
        writes.iter().flat_map(|write| carry_out(&mut alone, std::slice::from_ref(write), first)).collect();
    assert_eq!(batch, singly);

    assert!(together.keys().eq(alone.keys()), "{together:?} {alone:?}");
    for (key, row) in &mut together {
        let expected = &alone[key];
        if !is_exact(writes, key) {
            let before = start.get(key).map_or(first - 1, |before| before.rev);
            assert!(before < row.rev && row.rev <= expected.rev, "{key}: {row:?} {expected:?}");
            row.rev = expected.rev;
        }
        assert_eq!(row, expected);
    }
}

/// Checks that revisions in outcomes grow and that none occurs twice. `first` is the first revision that is reserved for the
/// batch.
///
/// # Panics
/// If a revision does not grow, or occurs twice.
pub fn revs_grow(start: &Model, writes: &[Write], first: u64) {
    let mut model = start.clone();
    let mut last: BTreeMap<&str, u64> = start.iter().map(|(key, row)| (key.as_str(), row.rev)).collect();
    let batch = carry_out(&mut model, writes, first);
    assert_eq!(batch.len(), writes.len());
    for (write, outcome) in writes.iter().zip(&batch) {
        let outcomes = match outcome {
            WriteOutcome::One(outcome) => std::slice::from_ref(outcome),
            WriteOutcome::All(outcomes) => outcomes,
            WriteOutcome::Mismatch { .. } => continue,
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

/// Writes as the engines do, with the revisions from `first` on.
pub(crate) fn carry_out(model: &mut Model, writes: &[Write], first: u64) -> Vec<WriteOutcome> {
    let mut plan = Plan::new(writes.iter());
    let current = |key: &&Key| match model.get(key.as_str()) {
        Some(row) => CurrentRow::Present { rev: row.rev, is_live: row.is_live() },
        None => CurrentRow::Absent,
    };
    let current: Vec<CurrentRow> = plan.keys_to_read().iter().map(current).collect();
    let last = first + plan.revs() - 1;
    let rows = plan.decide(Rev(last), &current);
    let behind = |row: &&Row<'_>| model.get(row.key.as_str()).is_none_or(|before| before.rev < first);
    let known = rows.insert.iter().chain(&rows.overwrite).chain(&rows.upsert);
    assert!(known.filter(behind).all(|row| row.rev <= last), "no more revisions than were reserved");
    let model_row = |row: &Row<'_>, rev| ModelRow { value: row.value.into(), rev, expiry: row.expiry };
    for row in &rows.insert {
        let before = model.insert(row.key.as_str().into(), model_row(row, row.rev));
        assert_eq!(before, None, "a plain INSERT of a key that is there");
    }
    for row in &rows.overwrite {
        let before = model.insert(row.key.as_str().into(), model_row(row, row.rev));
        assert!(before.is_some_and(|before| before.rev < row.rev), "a locked row goes forward");
    }
    let mut upsert = |row: &Row<'_>| {
        let before = model.get(row.key.as_str()).cloned();
        let rev = before.as_ref().map_or(row.rev, |before| row.rev.max(before.rev + 1));
        model.insert(row.key.as_str().into(), model_row(row, rev));
        UpsertResult { rev, created: before.is_none_or(|before| !before.is_live()) }
    };
    let upserted: Vec<UpsertResult> = rows.upsert.iter().map(&mut upsert).collect();
    plan.outcomes(&upserted)
}

/// Whether the outcomes show every revision of a key, so that the revision of its row is known exactly.
fn is_exact(writes: &[Write], key: &str) -> bool {
    let of_key = |write: &&Write| write.ops().iter().any(|op| op.key.as_str() == key);
    let mut writes = writes.iter().filter(of_key);
    let shown = writes.clone().any(Write::shows_rev);
    shown || writes.nth(1).is_none()
}
