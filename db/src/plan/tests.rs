//! A plan has the same meaning as its writes one after another.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::*;
use crate::entry::{Change, Expiry, Outcome, Value};
use crate::plan::model::{Model, ModelRow, carry_out, means_the_same, revs_grow};
use crate::plan::run::TOMBSTONE;

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

/// An op with any condition: absent, a revision that a start can have, or a revision that the batch itself can give.
fn an_op() -> impl Strategy<Value = Op> {
    let if_rev = prop_oneof![6 => Just(None), 2 => Just(Some(0)), 2 => (FIRST - 3..FIRST + 6).prop_map(Some)];
    (0u8..5, a_change(), if_rev, any::<bool>()).prop_map(|(number, change, if_rev, asks_rev)| Op {
        key: key(number),
        change,
        if_rev: if_rev.map(Rev),
        asks_rev,
    })
}

fn a_write() -> impl Strategy<Value = Write> {
    let atomic = prop::collection::vec(an_op(), 1..5).prop_map(|ops| {
        let once: BTreeMap<Key, Op> = ops.into_iter().map(|op| (op.key.clone(), op)).collect();
        Write::Atomic(once.into_values().rev().collect())
    });
    prop_oneof![3 => an_op().prop_map(Write::One), 1 => atomic]
}

/// Live, expired and deleted keys, some with higher revisions than the batch.
fn a_start() -> impl Strategy<Value = Model> {
    let row = (FIRST - 4..FIRST + 9, prop_oneof![2 => an_expiry(), 1 => Just(TOMBSTONE)]);
    prop::collection::btree_map(0u8..5, row, 0..5).prop_map(|start| {
        let row = |(number, (rev, expiry))| {
            (format!("k{number}"), ModelRow { value: format!("old{number}"), rev, expiry })
        };
        start.into_iter().map(row).collect()
    })
}

/// `PROPTEST_CASES` can raise the number of cases.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(3000), ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_batch_means_the_same_as_its_writes_one_by_one(
        start in a_start(),
        writes in prop::collection::vec(a_write(), 1..24),
    ) {
        means_the_same(&start, &writes, FIRST);
    }

    #[test]
    fn revisions_shown_grow_and_none_is_given_twice(
        start in a_start(),
        writes in prop::collection::vec(a_write(), 1..24),
    ) {
        revs_grow(&start, &writes, FIRST);
    }
}

#[test]
fn every_kind_of_change_is_tried() {
    let mut runner = TestRunner::deterministic();
    let (mut sets, mut deletes) = (0, 0);
    for _ in 0..100 {
        match a_change().new_tree(&mut runner).expect("there is one").current() {
            Change::Set(_, _) => sets += 1,
            Change::Delete => deletes += 1,
        }
    }
    assert!(sets > 0 && deletes > 0, "{sets} sets and {deletes} deletes");
}

fn set(number: u8, value: &str) -> Write {
    let change = Change::Set(Value::new(value.into(), 512).expect("short"), Expiry::Never);
    Write::One(Op { key: key(number), change, if_rev: None, asks_rev: false })
}

fn delete(number: u8) -> Op {
    Op { key: key(number), change: Change::Delete, if_rev: None, asks_rev: false }
}

#[test]
fn rows_come_in_key_order_and_hold_the_last_value() {
    let writes = [set(2, "a"), set(1, "b"), set(2, "c")];
    let mut plan = Plan::new(writes.iter());
    assert!(plan.keys_to_read().is_empty(), "plain sets depend on nothing");
    let rows = plan.decide(Rev(FIRST), &[]);
    let free: Vec<_> = rows.upsert.iter().map(|row| (row.key.as_str(), row.value)).collect();
    assert_eq!(free, [("k1", "b"), ("k2", "c")]);
}

#[test]
fn if_an_outcome_depends_on_a_row_all_keys_are_read_in_one_order() {
    let writes = [set(2, "a"), Write::One(delete(4)), set(1, "b")];
    let asked: Vec<&str> = Plan::new(writes.iter()).keys_to_read().iter().map(|key| key.as_str()).collect();
    assert_eq!(asked, ["k1", "k2", "k4"]);
}

#[test]
fn the_first_false_condition_is_named_and_nothing_applied() {
    let wanting = |number, rev| Op { if_rev: Some(Rev(rev)), ..delete(number) };
    let atomic = Write::Atomic(vec![wanting(3, 0), wanting(1, 7), wanting(2, 8)]);
    let mut model = Model::new();
    assert_eq!(carry_out(&mut model, &[atomic], FIRST), [WriteOutcome::Mismatch { index: 1, rev: Rev(0) }]);
    assert_eq!(model, Model::new());
}

#[test]
fn an_absence_that_an_atomic_write_relies_on_is_written_down() {
    let mut model = Model::new();
    let outcomes = carry_out(&mut model, &[Write::Atomic(vec![delete(1)]), Write::One(delete(2))], FIRST);
    assert_eq!(outcomes, [WriteOutcome::All(vec![Outcome::Absent]), WriteOutcome::One(Outcome::Absent)]);
    let tombstone = ModelRow { value: String::new(), rev: FIRST, expiry: TOMBSTONE };
    assert_eq!(model, Model::from([("k1".into(), tombstone)]));
}

#[test]
fn an_absence_that_a_row_holds_is_not_written_again() {
    let dead = |rev| ModelRow { value: String::new(), rev, expiry: TOMBSTONE };
    let mut model = Model::from([("k1".into(), dead(7))]);
    let writes = [
        Write::Atomic(vec![delete(1), delete(2)]),
        Write::Atomic(vec![delete(2)]),
        set(3, "a"),
        Write::One(delete(3)),
        Write::Atomic(vec![delete(3)]),
    ];
    carry_out(&mut model, &writes, FIRST);
    let expected = [("k1".into(), dead(7)), ("k2".into(), dead(FIRST)), ("k3".into(), dead(FIRST + 1))];
    assert_eq!(model, Model::from(expected));
}

#[test]
fn a_batch_reserves_one_revision_or_those_of_its_longest_run() {
    let revs = |writes: &[Write]| Plan::new(writes.iter()).revs();
    assert_eq!(revs(&[]), 1);
    assert_eq!(revs(&[set(1, "a"), set(1, "b"), set(1, "c")]), 1, "all take the same");
    let longest = [set(1, "a"), set(1, "b"), set(2, "c"), set(1, "d"), Write::One(delete(2))];
    assert_eq!(revs(&longest), 3);
}

#[test]
fn a_key_whose_revision_cannot_grow_is_named() {
    let writes = [set(1, "a"), Write::One(delete(2)), Write::One(delete(2))];
    let plan = Plan::new(writes.iter());
    let row = |rev| CurrentRow::Present { rev, is_live: true };
    assert!(plan.check(&[row(REV_MAX - 1), row(REV_MAX - 2)]).is_ok());
    assert!(plan.check(&[CurrentRow::Absent, CurrentRow::Absent]).is_ok());
    for (rows, named) in [
        ([row(REV_MAX), row(1)], "k1"),
        ([row(1), row(REV_MAX - 1)], "k2"),
        ([CurrentRow::Absent, row(u64::MAX)], "k2"),
    ] {
        let error = plan.check(&rows).expect_err("there is no higher revision").to_string();
        assert!(error.contains(named), "{error}");
    }
}

const CURRENT: CurrentRow = CurrentRow::Present { rev: 1, is_live: true };
const UPSERTED: UpsertResult = UpsertResult { rev: 1, created: false };

#[test]
#[should_panic(expected = "a batch has reserved all revisions that it gives")]
fn no_revision_is_given_that_was_not_reserved() {
    Plan::new([set(1, "a")].iter()).decide(Rev(0), &[]);
}

#[test]
#[should_panic(expected = "every key that is read has one state")]
fn each_key_that_is_read_has_a_row() {
    Plan::new([Write::One(delete(1)), set(2, "a")].iter()).decide(Rev(FIRST), &[CURRENT]);
}

#[test]
#[should_panic(expected = "rows of keys that were not to be read")]
fn no_key_has_a_row_if_none_is_read() {
    Plan::new([set(1, "a")].iter()).decide(Rev(FIRST), &[CURRENT]);
}

#[test]
#[should_panic(expected = "every key has one row that was upserted")]
fn each_upserted_row_has_a_result() {
    let writes = [set(1, "a"), set(2, "b")];
    let mut plan = Plan::new(writes.iter());
    plan.decide(Rev(FIRST), &[]);
    plan.outcomes(&[UPSERTED]);
}

#[test]
#[should_panic(expected = "every key was read")]
fn a_plan_that_reads_its_keys_has_no_upserts() {
    let writes = [Write::One(delete(1))];
    let mut plan = Plan::new(writes.iter());
    plan.decide(Rev(FIRST), &[CURRENT]);
    plan.outcomes(&[UPSERTED]);
}

#[test]
#[should_panic(expected = "every write was decided on before it is answered")]
fn there_are_no_outcomes_before_the_decision() {
    Plan::new([Write::One(delete(1))].iter()).outcomes(&[]);
}
