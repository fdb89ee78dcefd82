//! What the store holds of each key that is read, and when a run needs to know it.

use super::*;
use crate::entry::{Expiry, Value};

fn key(name: &str) -> Key {
    Key::new(name.into(), 512).expect("short")
}

fn set() -> Op {
    let change = Change::Set(Value::new("v".into(), 512).expect("short"), Expiry::Never);
    Op { key: key("k"), change, if_rev: None, asks_rev: false }
}

fn row(name: &str, rev: u64) -> (Vec<u8>, u64, bool) {
    (name.into(), rev, true)
}

fn current(keys: [&str; 3], found: Vec<(Vec<u8>, u64, bool)>) -> Vec<CurrentRow> {
    let keys = keys.map(key);
    CurrentRow::of(&keys.iter().collect::<Vec<_>>(), found)
}

#[test]
fn a_key_without_a_row_is_absent() {
    let present = |rev| CurrentRow::Present { rev, is_live: true };
    assert_eq!(current(["a", "b", "c"], vec![]), [CurrentRow::Absent; 3]);
    let found = vec![row("a", 1), row("c", 3)];
    assert_eq!(current(["a", "b", "c"], found), [present(1), CurrentRow::Absent, present(3)]);
}

#[test]
#[should_panic(expected = "a row of a key that it was not asked for")]
fn a_row_of_another_key_is_not_overlooked() {
    current(["a", "b", "c"], vec![row("a", 1), row("bb", 2)]);
}

#[test]
#[should_panic(expected = "a row of a key that it was not asked for")]
fn rows_out_of_order_are_not_overlooked() {
    current(["a", "b", "c"], vec![row("b", 2), row("a", 1)]);
}

#[test]
#[should_panic(expected = "a row of a key that it was not asked for")]
fn a_key_has_no_second_row() {
    current(["a", "b", "c"], vec![row("c", 1), row("c", 2)]);
}

#[test]
fn a_run_reads_if_an_outcome_depends_on_the_row() {
    let delete = Op { change: Change::Delete, ..set() };
    let wanting = Op { if_rev: Some(Rev(0)), ..set() };
    let (first, second) = (set(), set());
    let needs_read = |ops: &[(&Op, bool)]| {
        let [(first, shows_rev), others @ ..] = ops else { panic!("a run is not empty") };
        let mut run = Run::new(first, *shows_rev);
        for (op, shows_rev) in others {
            run.add(op, *shows_rev);
        }
        assert_eq!(run.ops(), ops.len() as u64);
        run.needs_read()
    };
    assert!(needs_read(&[(&delete, true)]));
    assert!(needs_read(&[(&wanting, true)]));
    for dependent in [&delete, &wanting] {
        assert!(
            needs_read(&[(&first, false), (dependent, false), (&second, false)]),
            "even if nothing is shown"
        );
    }
    assert!(!needs_read(&[(&first, true)]), "the store tells the only revision");
    assert!(!needs_read(&[(&first, false), (&second, false)]), "nothing is shown");
    assert!(needs_read(&[(&first, false), (&second, true)]));
    assert!(needs_read(&[(&first, true), (&second, false)]));
}
