//! The planner means what one write after another means.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::entry::{Change, Outcome, Value};

/// What a store holds of a key, dead or alive.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    value: String,
    rev: u64,
    expiry: Expiry,
}

impl Record {
    /// In these tests the only instant that has passed is the tombstone's.
    fn is_live(&self) -> bool {
        self.expiry != TOMBSTONE
    }
}

type Model = BTreeMap<String, Record>;

/// Whether the replies of a key showed every revision it took, so that it is known to the number.
fn is_exact(writes: &[Write], key: &str) -> bool {
    let mut ops = writes.iter().flat_map(Write::ops).filter(|op| op.key.as_str() == key);
    let shown = ops.clone().any(|op| op.shows_rev);
    shown || ops.nth(1).is_none()
}

/// Carries out writes as the engines do, with the revisions from `first` on.
fn carry_out(model: &mut Model, writes: &[Write], first: u64) -> Vec<Settled> {
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

const FIRST: u64 = 300;

fn key(number: u8) -> Key {
    Key::new(format!("k{number}"), 512).expect("short")
}

fn an_expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![4 => Just(Expiry::Never), 1 => (1u64..9).prop_map(Expiry::After), 1 => (1u64..9).prop_map(Expiry::At)]
}

fn a_change() -> impl Strategy<Value = Change> {
    let value = |number: u8| Value::new(format!("v{number}"), 512).expect("short");
    prop_oneof![
        3 => (any::<u8>(), an_expiry()).prop_map(move |(v, expiry)| Change::Set(value(v), expiry)),
        2 => Just(Change::Delete),
    ]
}

/// An op with any condition: absent, a revision that a start can hold, or one that the batch may just have given.
fn an_op() -> impl Strategy<Value = Op> {
    let if_rev = prop_oneof![6 => Just(None), 2 => Just(Some(0)), 2 => (FIRST - 3..FIRST + 6).prop_map(Some)];
    (0u8..5, a_change(), if_rev, any::<bool>()).prop_map(|(number, change, if_rev, shows)| {
        let shows_rev = shows || if_rev.is_some() || change == Change::Delete;
        Op { key: key(number), change, if_rev: if_rev.map(Rev), shows_rev }
    })
}

fn a_write() -> impl Strategy<Value = Write> {
    let atomic = prop::collection::vec(an_op(), 1..5).prop_map(|ops| {
        let once: BTreeMap<Key, Op> =
            ops.into_iter().map(|op| (op.key.clone(), Op { shows_rev: true, ..op })).collect();
        Write::Atomic(once.into_values().rev().collect())
    });
    prop_oneof![3 => an_op().prop_map(Write::One), 1 => atomic]
}

/// Keys that live, have expired or were deleted, some with revisions ahead of the batch's.
fn a_start() -> impl Strategy<Value = Model> {
    let record = (FIRST - 4..FIRST + 9, prop_oneof![2 => an_expiry(), 1 => Just(TOMBSTONE)]);
    prop::collection::btree_map(0u8..5, record, 0..5).prop_map(|start| {
        let record = |(number, (rev, expiry))| {
            (format!("k{number}"), Record { value: format!("old{number}"), rev, expiry })
        };
        start.into_iter().map(record).collect()
    })
}

/// `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(3000), ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_batch_means_what_the_same_writes_one_by_one_mean(
        start in a_start(),
        writes in prop::collection::vec(a_write(), 1..24),
    ) {
        let (mut together, mut alone) = (start.clone(), start.clone());
        let batch = carry_out(&mut together, &writes, FIRST);
        let singly: Vec<Settled> =
            writes.iter().flat_map(|write| carry_out(&mut alone, std::slice::from_ref(write), FIRST)).collect();
        prop_assert_eq!(batch, singly);

        prop_assert!(together.keys().eq(alone.keys()), "{together:?} {alone:?}");
        for (key, record) in &mut together {
            let expected = &alone[key];
            if !is_exact(&writes, key) {
                let before = start.get(key).map_or(FIRST - 1, |before| before.rev);
                prop_assert!(before < record.rev && record.rev <= expected.rev);
                record.rev = expected.rev;
            }
            prop_assert_eq!(&*record, expected);
        }
    }

    #[test]
    fn revisions_shown_grow_and_none_is_given_twice(
        start in a_start(),
        writes in prop::collection::vec(a_write(), 1..24),
    ) {
        let mut model = start.clone();
        let mut last: BTreeMap<&str, u64> = start.iter().map(|(key, record)| (key.as_str(), record.rev)).collect();
        let settled = carry_out(&mut model, &writes, FIRST);
        for (write, settled) in writes.iter().zip(&settled) {
            let outcomes = match settled {
                Settled::One(outcome) => std::slice::from_ref(outcome),
                Settled::All(outcomes) => outcomes,
                Settled::Failed { .. } => continue,
            };
            for (op, outcome) in write.ops().iter().zip(outcomes) {
                let (Outcome::Created(Some(Rev(rev))) | Outcome::Updated(Some(Rev(rev))) | Outcome::Deleted(Rev(rev))) =
                    *outcome
                else {
                    continue;
                };
                let before = last.insert(op.key.as_str(), rev);
                prop_assert!(before < Some(rev), "{rev} after {before:?}");
                prop_assert!(rev <= model[op.key.as_str()].rev);
            }
        }
    }
}

fn set(number: u8, value: &str) -> Write {
    let change = Change::Set(Value::new(value.into(), 512).expect("short"), Expiry::Never);
    Write::One(Op { key: key(number), change, if_rev: None, shows_rev: false })
}

fn delete(number: u8) -> Op {
    Op { key: key(number), change: Change::Delete, if_rev: None, shows_rev: true }
}

#[test]
fn rows_come_in_key_order_and_hold_the_last_value() {
    let writes = [set(2, "a"), set(1, "b"), set(2, "c")];
    let mut plan = Plan::new(writes.iter());
    assert!(plan.asked().is_empty(), "plain sets depend on nothing");
    let rows = plan.decide(Rev(FIRST), &[]);
    let free: Vec<_> = rows.free.iter().map(|row| (row.key.as_str(), row.value)).collect();
    assert_eq!(free, [("k1", "b"), ("k2", "c")]);
}

#[test]
fn if_anything_depends_on_what_is_there_all_keys_are_asked_for_in_one_order() {
    let writes = [set(2, "a"), Write::One(delete(4)), set(1, "b")];
    let asked: Vec<&str> = Plan::new(writes.iter()).asked().iter().map(|key| key.as_str()).collect();
    assert_eq!(asked, ["k1", "k2", "k4"]);
}

#[test]
fn the_first_false_condition_is_named_and_nothing_applied() {
    let wanting = |number, rev| Op { if_rev: Some(Rev(rev)), ..delete(number) };
    let atomic = Write::Atomic(vec![wanting(3, 0), wanting(1, 7), wanting(2, 8)]);
    let mut model = Model::new();
    assert_eq!(carry_out(&mut model, &[atomic], FIRST), [Settled::Failed { index: 1, rev: Rev(0) }]);
    assert_eq!(model, Model::new());
}

#[test]
fn an_absence_that_an_atomic_write_relies_on_is_written_down() {
    let mut model = Model::new();
    let settled = carry_out(&mut model, &[Write::Atomic(vec![delete(1)]), Write::One(delete(2))], FIRST);
    assert_eq!(settled, [Settled::All(vec![Outcome::Absent]), Settled::One(Outcome::Absent)]);
    let tombstone = Record { value: String::new(), rev: FIRST, expiry: TOMBSTONE };
    assert_eq!(model, Model::from([("k1".into(), tombstone)]));
}
