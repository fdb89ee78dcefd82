//! What the server holds: committed rows, and the changes of open transactions.

use std::collections::BTreeMap;

use crate::entry::{Expiry, Key};
use crate::plan::run::{Held, Row, Stored};
use crate::sweeper::hint::Hint;

/// A row of `entries`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) value: String,
    pub(super) rev: u64,
    /// Microseconds since 1970.
    pub(super) expires_at: Option<u64>,
}

/// A row of `writers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fence {
    pub(super) seq: u64,
    pub(super) rev: u64,
}

/// A [`Row`] that outlives the batch it is of.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) key: Key,
    value: String,
    rev: u64,
    expiry: Expiry,
}

/// What a transaction has changed and not committed.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) fence: Option<(u64, Fence)>,
    records: BTreeMap<Key, Record>,
    hints: Vec<Hint>,
}

/// What is committed, and every promise about it that was found broken.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(super) entries: BTreeMap<Key, Record>,
    pub(crate) writers: BTreeMap<u64, Fence>,
    /// Values that were ever committed, in the order of their commits.
    pub(super) values: Vec<String>,
    pub(crate) commits: u64,
    pub(super) violations: Vec<String>,
}

impl Record {
    pub(super) fn is_live(&self, now: u64) -> bool {
        self.expires_at.is_none_or(|at| at > now)
    }
}

impl Written {
    pub(super) fn all(rows: &[Row<'_>]) -> Vec<Self> {
        let written = |row: &Row<'_>| Self {
            key: row.key.clone(),
            value: row.value.to_owned(),
            rev: row.rev,
            expiry: row.expiry,
        };
        rows.iter().map(written).collect()
    }

    fn record(self, rev: u64, now: u64) -> Record {
        let expires_at = match self.expiry {
            Expiry::Never => None,
            Expiry::After(seconds) => Some(now + seconds * 1_000_000),
            Expiry::At(micros) => Some(micros),
        };
        Record { value: self.value, rev, expires_at }
    }
}

impl Tables {
    fn found(&mut self, violation: String) {
        self.violations.push(violation);
    }

    /// What `key` holds, live or dead; never asked for a key that the transaction itself has written.
    fn before(&mut self, transaction: &Transaction, key: &Key) -> Option<Record> {
        if transaction.records.contains_key(key) {
            self.found(format!("{key:?} is written twice in one transaction"));
        }
        self.entries.get(key).cloned()
    }

    fn in_key_order(&mut self, rows: &[Written]) {
        if !rows.is_sorted_by(|a, b| a.key < b.key) {
            self.found(format!("rows out of key order: {rows:?}"));
        }
    }

    pub(super) fn held(&mut self, transaction: &Transaction, keys: &[Key], now: u64) -> Vec<Held> {
        let held = |key| match self.before(transaction, key) {
            Some(record) => Held::Present { rev: record.rev, live: record.is_live(now) },
            None => Held::Absent,
        };
        keys.iter().map(held).collect()
    }

    /// Whether none of `rows` is there; then they are written.
    pub(super) fn insert(&mut self, transaction: &mut Transaction, rows: Vec<Written>, now: u64) -> bool {
        self.in_key_order(&rows);
        for row in rows {
            if self.before(transaction, &row.key).is_some() {
                return false;
            }
            let (key, rev) = (row.key.clone(), row.rev);
            transaction.records.insert(key, row.record(rev, now));
        }
        true
    }

    pub(super) fn overwrite(&mut self, transaction: &mut Transaction, rows: Vec<Written>, now: u64) {
        self.in_key_order(&rows);
        for row in rows {
            let before = self.before(transaction, &row.key);
            if before.is_none_or(|before| before.rev >= row.rev) {
                self.found(format!("{row:?} does not go forward"));
            }
            let (key, rev) = (row.key.clone(), row.rev);
            transaction.records.insert(key, row.record(rev, now));
        }
    }

    pub(super) fn upsert(
        &mut self,
        transaction: &mut Transaction,
        rows: Vec<Written>,
        now: u64,
    ) -> Vec<Stored> {
        self.in_key_order(&rows);
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            let before = self.before(transaction, &row.key);
            let rev = before.as_ref().map_or(row.rev, |before| row.rev.max(before.rev + 1));
            all.push(Stored { rev, created: before.is_none_or(|before| !before.is_live(now)) });
            transaction.records.insert(row.key.clone(), row.record(rev, now));
        }
        all
    }

    pub(super) fn remember(&mut self, transaction: &mut Transaction, hints: Vec<Hint>) {
        if hints
            .iter()
            .any(|hint| !transaction.records.keys().any(|key| *key.as_str().as_bytes() == *hint.key))
        {
            self.found(format!("a hint for what was not written: {hints:?}"));
        }
        transaction.hints.extend(hints);
    }

    pub(super) fn commit(&mut self, transaction: Transaction) {
        let Transaction { fence, records, hints } = transaction;
        self.commits += 1;
        match fence {
            Some((lane, fence)) => {
                self.writers.insert(lane, fence);
            }
            None if records.is_empty() => {}
            None => self.found(format!("{records:?} committed without a fence")),
        }
        for (key, record) in records {
            let is_hinted = hints.iter().any(|hint| *hint.key == *key.as_str().as_bytes());
            if record.expires_at.is_some() && !is_hinted {
                self.found(format!("nothing tells the sweeper of {key:?}: {record:?}"));
            }
            self.values.push(record.value.clone());
            let rev = record.rev;
            let before = self.entries.insert(key.clone(), record);
            if before.is_some_and(|before| before.rev >= rev) {
                self.found(format!("the revision of {key:?} does not grow: {rev}"));
            }
        }
    }
}
