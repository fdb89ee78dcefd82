//! The log of changes, and what should be in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::Key;

/// A lane and the seq of one of its batches.
type BatchId = (u64, u64);

/// The table of the log, and the keys that each batch wrote.
#[derive(Debug, Default)]
pub(super) struct ChangeLog {
    rows: BTreeMap<BatchId, BTreeSet<Key>>,
    written: BTreeMap<BatchId, BTreeSet<Key>>,
    /// Each lane, and whether it logs.
    lanes: BTreeMap<u64, bool>,
    violations: Vec<String>,
}

impl ChangeLog {
    pub(super) fn register(&mut self, lane: u64, logs: bool) {
        self.lanes.entry(lane).or_insert(logs);
    }

    /// Adds a row.
    pub(super) fn add(&mut self, lane: u64, seq: u64, keys: Vec<Key>) {
        let given = keys.len();
        let row = BTreeSet::from_iter(keys);
        if row.len() < given {
            self.violations.push(format!("a key is logged twice by {lane}, seq {seq}: {row:?}"));
        }
        self.rows.insert((lane, seq), row);
    }

    /// The batch `seq` of `lane` is committed. It wrote `keys` and the row `logged`.
    pub(super) fn commit<'k>(
        &mut self,
        lane: u64,
        seq: u64,
        keys: impl Iterator<Item = &'k Key>,
        logged: Option<(u64, u64, Vec<Key>)>,
    ) {
        if let Some((lane, seq, keys)) = logged {
            self.add(lane, seq, keys);
        }
        let written: BTreeSet<Key> = keys.cloned().collect();
        if self.lanes.get(&lane) == Some(&true) && !written.is_empty() {
            self.written.insert((lane, seq), written);
        }
    }

    /// What is wrong with the log, once the run is over.
    pub(super) fn judge(&self) -> Vec<String> {
        let mut wrong = self.violations.clone();
        for (batch, keys) in self.written.iter().filter(|(batch, keys)| self.rows.get(*batch) != Some(*keys))
        {
            let logged = self.rows.get(batch);
            wrong.push(format!("the batch {batch:?} wrote {keys:?}, and its log says {logged:?}"));
        }
        for (batch, keys) in self.rows.iter().filter(|(batch, _)| !self.written.contains_key(*batch)) {
            wrong.push(format!("a batch {batch:?} that was never committed is in the log: {keys:?}"));
        }
        wrong
    }
}
