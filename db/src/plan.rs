//! The planner: folds the writes that wait together into one row per key and tells each write what it did.
//!
//! Pure. A batch means what the same writes one by one in arrival order would mean.

use crate::entry::{Key, Outcome, Rev, Set, Value};

/// One row to write: the last of a run of writes of one key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) key: &'a Key,
    pub(crate) value: &'a Value,
    /// The revision to write unless the stored one is ahead of it.
    pub(crate) rev: u64,
    /// How many revisions the run takes: its writes, if one of them shows its revision, else 1.
    run: u64,
}

/// What the store holds of a key, read under lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// No row: not locked either, so it is written by a plain INSERT that fails if one appears.
    Absent,
    /// A row, live or not, of this revision.
    Present(Rev),
}

impl Held {
    /// One per row of `rows` (in key order), from the keys and revisions `found` (in key order too).
    pub(crate) fn of(rows: &[Row<'_>], found: Vec<(Vec<u8>, u64)>) -> Vec<Self> {
        let mut found = found.into_iter().peekable();
        let held = |row: &Row<'_>| {
            let key = row.key.as_str().as_bytes();
            found.next_if(|(k, _)| k == key).map_or(Self::Absent, |(_, rev)| Self::Present(Rev(rev)))
        };
        rows.iter().map(held).collect()
    }
}

/// What the store made of a [`Row`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) rev: u64,
    pub(crate) created: bool,
}

/// The rows of a batch in key order, and which write belongs to which row.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    rows: Vec<Row<'a>>,
    /// Per write in arrival order.
    writes: Vec<Write>,
    needs_held: bool,
}

/// Where a write stands: its row, and how many writes of the same key stand before it.
#[derive(Debug, Clone, Copy)]
struct Write {
    row: usize,
    nth: u64,
    shows_rev: bool,
}

impl<'a> Plan<'a> {
    /// Folds `sets`, given in arrival order.
    pub(crate) fn new(sets: impl Iterator<Item = &'a Set>) -> Self {
        let sets: Vec<&Set> = sets.collect();
        let mut order: Vec<usize> = (0..sets.len()).collect();
        order.sort_unstable_by(|&a, &b| (&sets[a].key, a).cmp(&(&sets[b].key, b)));

        let mut plan = Self {
            rows: Vec::with_capacity(sets.len()),
            writes: vec![Write { row: 0, nth: 0, shows_rev: false }; sets.len()],
            needs_held: false,
        };
        for run in order.chunk_by(|&a, &b| sets[a].key == sets[b].key) {
            plan.add_run(&sets, run);
        }
        plan
    }

    fn add_run(&mut self, sets: &[&'a Set], run: &[usize]) {
        let shown = run.iter().any(|&at| sets[at].shows_rev);
        let last = sets[run[run.len() - 1]];
        for (nth, &at) in (0..).zip(run) {
            self.writes[at] = Write { row: self.rows.len(), nth, shows_rev: sets[at].shows_rev };
        }
        // The revisions inside a run can only be told when the one before it is known.
        self.needs_held |= shown && run.len() > 1;
        self.rows.push(Row {
            key: &last.key,
            value: &last.value,
            rev: 0,
            run: if shown { run.len() as u64 } else { 1 },
        });
    }

    /// How many revisions the batch must reserve: those of its longest run.
    pub(crate) fn revs(&self) -> u64 {
        self.rows.iter().map(|row| row.run).max().unwrap_or(1)
    }

    /// Whether [`Plan::place`] must be given what the store holds.
    pub(crate) fn needs_held(&self) -> bool {
        self.needs_held
    }

    /// The rows, in key order.
    pub(crate) fn rows(&self) -> &[Row<'a>] {
        &self.rows
    }

    /// Gives every row its revision: of those reserved for the batch, of which `last` is the last, or the next after
    /// the one the store holds.
    ///
    /// `held` is empty, or has one element per row.
    pub(crate) fn place(&mut self, last: Rev, held: &[Held]) {
        let first = last.0 - (self.revs() - 1);
        for (at, row) in self.rows.iter_mut().enumerate() {
            let next = match held.get(at) {
                Some(Held::Present(rev)) => rev.0 + 1,
                Some(Held::Absent) | None => 0,
            };
            row.rev = first.max(next) + row.run - 1;
        }
    }

    /// One outcome per write in arrival order, from what the store made of each row.
    pub(crate) fn outcomes(&self, stored: &[Stored]) -> Vec<Outcome> {
        let outcome = |write: &Write| {
            let (row, stored) = (&self.rows[write.row], stored[write.row]);
            Outcome {
                created: stored.created && write.nth == 0,
                rev: write.shows_rev.then(|| Rev(stored.rev - (row.run - 1) + write.nth)),
            }
        };
        self.writes.iter().map(outcome).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// What a store would hold: value and revision of each key.
    type Model = BTreeMap<String, (String, u64)>;

    fn set(key: u8, value: u8, shows_rev: bool) -> Set {
        Set {
            key: Key::new(format!("k{key}"), 512).expect("short"),
            value: Value::new(format!("v{value}"), 512).expect("short"),
            shows_rev,
        }
    }

    /// Applies a planned batch as the engines do: an upsert that never lets a revision go back.
    fn apply(model: &mut Model, sets: &[Set], batch: u64) -> Vec<Outcome> {
        let mut plan = Plan::new(sets.iter());
        let held: Vec<Held> = if plan.needs_held() {
            let held = |row: &Row<'_>| match model.get(row.key.as_str()) {
                Some((_, rev)) => Held::Present(Rev(*rev)),
                None => Held::Absent,
            };
            plan.rows().iter().map(held).collect()
        } else {
            Vec::new()
        };
        plan.place(Rev(batch), &held);
        let stored: Vec<Stored> = plan
            .rows()
            .iter()
            .map(|row| {
                let old = model.get(row.key.as_str()).map(|(_, rev)| *rev);
                let rev = old.map_or(row.rev, |old| row.rev.max(old + 1));
                model.insert(row.key.as_str().into(), (row.value.as_str().into(), rev));
                Stored { rev, created: old.is_none() }
            })
            .collect();
        plan.outcomes(&stored)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_batch_means_what_the_same_writes_one_by_one_mean(
            start in prop::collection::btree_map(0u8..6, 0u64..500, 0..6),
            sets in prop::collection::vec((0u8..6, any::<u8>(), any::<bool>()), 1..40),
            batch in 256u64..400,
        ) {
            let start: Model = start.into_iter().map(|(k, rev)| (format!("k{k}"), ("old".into(), rev))).collect();
            let sets: Vec<Set> = sets.into_iter().map(|(k, v, shows)| set(k, v, shows)).collect();
            let (mut together, mut alone) = (start.clone(), start.clone());

            let outcomes = apply(&mut together, &sets, batch);
            let singly: Vec<Outcome> =
                sets.iter().flat_map(|set| apply(&mut alone, std::slice::from_ref(set), batch)).collect();

            let created = |all: &[Outcome]| all.iter().map(|o| o.created).collect::<Vec<_>>();
            let values = |model: &Model| model.values().map(|(v, _)| v.clone()).collect::<Vec<_>>();
            prop_assert_eq!(created(&outcomes), created(&singly));
            prop_assert_eq!(values(&together), values(&alone));

            let mut last: BTreeMap<&str, u64> = start.iter().map(|(k, (_, rev))| (k.as_str(), *rev)).collect();
            for (set, outcome) in sets.iter().zip(&outcomes) {
                prop_assert_eq!(outcome.rev.is_some(), set.shows_rev);
                if let Some(rev) = outcome.rev {
                    let before = last.insert(set.key.as_str(), rev.0);
                    prop_assert!(before < Some(rev.0), "rev {} after {:?}", rev, before);
                    prop_assert!(rev.0 <= together[set.key.as_str()].1);
                }
            }
            for (key, (_, rev)) in &together {
                prop_assert!(start.get(key).is_none_or(|(_, old)| old < rev || !sets.iter().any(|s| s.key.as_str() == key)));
            }
        }

        #[test]
        fn the_last_write_of_a_run_shows_the_revision_that_is_stored(
            start in prop::option::of(0u64..200), writes in 1u8..20, batch in 256u64..400,
        ) {
            let mut model: Model = start.map(|rev| ("k0".into(), ("old".into(), rev))).into_iter().collect();
            let sets: Vec<Set> = (0..writes).map(|value| set(0, value, true)).collect();
            let outcomes = apply(&mut model, &sets, batch);
            prop_assert_eq!(outcomes.last().and_then(|o| o.rev), Some(Rev(model["k0"].1)));
        }
    }

    #[test]
    fn rows_come_in_key_order_and_hold_the_last_value() {
        let sets = [set(2, 0, false), set(1, 1, false), set(2, 2, false)];
        let plan = Plan::new(sets.iter());
        let rows: Vec<_> = plan.rows().iter().map(|r| (r.key.as_str(), r.value.as_str())).collect();
        assert_eq!(rows, [("k1", "v1"), ("k2", "v2")]);
        assert!(!plan.needs_held(), "nobody asked for a revision");
        assert_eq!(plan.revs(), 1);
    }
}
