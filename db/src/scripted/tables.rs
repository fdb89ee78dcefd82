//! Committed rows, and the changes of open transactions.

use std::collections::BTreeMap;

use super::log::ChangeLog;
use crate::entry::{Expiry, Key};
use crate::plan::run::{CurrentRow, Row, UpsertResult};
use crate::sweeper::hint::Hint;

/// A row of `entries`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryRow {
    pub(super) value: String,
    pub(super) rev: u64,
    /// Microseconds since 1970.
    pub(super) expires_at: Option<u64>,
}

/// A row of `writers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FenceRow {
    pub(crate) seq: u64,
    pub(super) rev: u64,
}

/// A [`Row`] that does not borrow from its batch.
#[derive(Debug, Clone)]
pub(super) struct OwnedRow {
    pub(super) key: Key,
    value: String,
    rev: u64,
    expiry: Expiry,
}

/// The changes of a transaction that is not committed.
#[derive(Debug, Default)]
pub(super) struct OpenTransaction {
    pub(super) fence: Option<(u64, FenceRow)>,
    entries: BTreeMap<Key, EntryRow>,
    hints: Vec<Hint>,
    /// The keys to log, with their lane and seq.
    pub(super) logged: Option<(u64, u64, Vec<Key>)>,
}

/// The committed rows, and every promise about them that was found broken.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(super) entries: BTreeMap<Key, EntryRow>,
    pub(crate) writers: BTreeMap<u64, FenceRow>,
    /// The last revision of every key that was ever committed, also if its row was swept.
    revs: BTreeMap<Key, u64>,
    /// All values that were committed, in the order of their commits.
    pub(super) values: Vec<String>,
    pub(crate) commits: u64,
    pub(super) violations: Vec<String>,
    pub(super) log: ChangeLog,
}

impl EntryRow {
    pub(super) fn is_live(&self, now: u64) -> bool {
        self.expires_at.is_none_or(|at| at > now)
    }

    /// Whether both the expiry and the revision are not after `ripe`.
    pub(super) fn is_dead_at(&self, ripe: u64) -> bool {
        self.expires_at.is_some_and(|at| at.max(self.rev) <= ripe)
    }
}

impl OwnedRow {
    pub(super) fn all(rows: &[Row<'_>]) -> Vec<Self> {
        let written = |row: &Row<'_>| Self {
            key: row.key.clone(),
            value: row.value.to_owned(),
            rev: row.rev,
            expiry: row.expiry,
        };
        rows.iter().map(written).collect()
    }

    fn into_entry(self, rev: u64, now: u64) -> EntryRow {
        let expires_at = match self.expiry {
            Expiry::Never => None,
            Expiry::After(seconds) => Some(now + seconds * 1_000_000),
            Expiry::At(micros) => Some(micros),
        };
        EntryRow { value: self.value, rev, expires_at }
    }
}

impl Tables {
    fn violation(&mut self, violation: String) {
        self.violations.push(violation);
    }

    /// The stored time. 0 if there is none.
    pub(super) fn stored_time(&self) -> u64 {
        self.writers.values().map(|row| row.rev).max().unwrap_or(0)
    }

    /// The row of `key`, live or dead. A key that the transaction itself has written is a violation.
    fn before(&mut self, transaction: &OpenTransaction, key: &Key) -> Option<EntryRow> {
        if transaction.entries.contains_key(key) {
            self.violation(format!("{key:?} is written twice in one transaction"));
        }
        self.entries.get(key).cloned()
    }

    fn in_key_order(&mut self, rows: &[OwnedRow]) {
        if !rows.is_sorted_by(|a, b| a.key < b.key) {
            self.violation(format!("rows out of key order: {rows:?}"));
        }
    }

    pub(super) fn current(
        &mut self,
        transaction: &OpenTransaction,
        keys: &[Key],
        now: u64,
    ) -> Vec<CurrentRow> {
        let current = |key| match self.before(transaction, key) {
            Some(entry) => CurrentRow::Present { rev: entry.rev, is_live: entry.is_live(now) },
            None => CurrentRow::Absent,
        };
        keys.iter().map(current).collect()
    }

    /// Writes `rows` if none of them exists. Returns whether it did.
    pub(super) fn insert(
        &mut self,
        transaction: &mut OpenTransaction,
        rows: Vec<OwnedRow>,
        now: u64,
    ) -> bool {
        self.in_key_order(&rows);
        for row in rows {
            if self.before(transaction, &row.key).is_some() {
                return false;
            }
            let (key, rev) = (row.key.clone(), row.rev);
            transaction.entries.insert(key, row.into_entry(rev, now));
        }
        true
    }

    pub(super) fn overwrite(&mut self, transaction: &mut OpenTransaction, rows: Vec<OwnedRow>, now: u64) {
        self.in_key_order(&rows);
        for row in rows {
            let before = self.before(transaction, &row.key);
            if before.is_none_or(|before| before.rev >= row.rev) {
                self.violation(format!("{row:?} does not go forward"));
            }
            let (key, rev) = (row.key.clone(), row.rev);
            transaction.entries.insert(key, row.into_entry(rev, now));
        }
    }

    pub(super) fn upsert(
        &mut self,
        transaction: &mut OpenTransaction,
        rows: Vec<OwnedRow>,
        now: u64,
    ) -> Vec<UpsertResult> {
        self.in_key_order(&rows);
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            let before = self.before(transaction, &row.key);
            let rev = before.as_ref().map_or(row.rev, |before| row.rev.max(before.rev + 1));
            all.push(UpsertResult { rev, created: before.is_none_or(|before| !before.is_live(now)) });
            transaction.entries.insert(row.key.clone(), row.into_entry(rev, now));
        }
        all
    }

    pub(super) fn add_hints(&mut self, transaction: &mut OpenTransaction, hints: Vec<Hint>) {
        if hints
            .iter()
            .any(|hint| !transaction.entries.keys().any(|key| *key.as_str().as_bytes() == *hint.key))
        {
            self.violation(format!("a hint for a key that was not written: {hints:?}"));
        }
        transaction.hints.extend(hints);
    }

    pub(super) fn commit(&mut self, transaction: OpenTransaction) {
        let OpenTransaction { fence, entries, hints, logged } = transaction;
        self.commits += 1;
        if let Some((lane, FenceRow { seq, .. })) = fence {
            self.log.commit(lane, seq, entries.keys(), logged);
        }
        match fence {
            Some((lane, fence)) => {
                self.writers.insert(lane, fence);
            }
            None if entries.is_empty() => {}
            None => self.violation(format!("{entries:?} committed without a fence")),
        }
        for (key, entry) in entries {
            let is_hinted = hints.iter().any(|hint| *hint.key == *key.as_str().as_bytes());
            if entry.expires_at.is_some() && !is_hinted {
                self.violation(format!("no hint for the sweeper of {key:?}: {entry:?}"));
            }
            self.values.push(entry.value.clone());
            let rev = entry.rev;
            self.entries.insert(key.clone(), entry);
            if self.revs.insert(key.clone(), rev).is_some_and(|before| before >= rev) {
                self.violation(format!("the revision of {key:?} does not grow: {rev}"));
            }
        }
    }
}
