//! The ops of one key in a batch, and their effect one after another.

use crate::entry::{Change, Expiry, Key, Op, Outcome, Rev, Write};

/// One row to write: what a key holds after a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    pub(crate) key: &'a Key,
    /// Empty for a tombstone.
    pub(crate) value: &'a str,
    /// The revision to write. If the stored revision is not lower, the stored one plus one is written.
    pub(crate) rev: u64,
    /// [`TOMBSTONE`] for a deleted key.
    pub(crate) expiry: Expiry,
}

/// The expiry of a deleted key: in the past at any time.
pub(crate) const TOMBSTONE: Expiry = Expiry::At(0);

/// What an upsert of a [`Row`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UpsertResult {
    /// The revision that was written.
    pub(crate) rev: u64,
    /// Whether the key was absent.
    pub(crate) created: bool,
}

/// What the store holds of a key, read in the transaction that will write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CurrentRow {
    /// No row. Nothing is locked, so the row is written by a plain INSERT, which fails if one has appeared.
    Absent,
    /// A locked row.
    Present {
        rev: u64,
        /// Neither deleted nor expired.
        is_live: bool,
    },
}

impl CurrentRow {
    /// One for each of `keys`, from the rows `found` (key, revision, and whether it is live). Both are in key order.
    ///
    /// # Panics
    /// If a row has none of the keys, or is out of order: a key whose row is overlooked would count as absent.
    pub(crate) fn of(keys: &[&Key], found: Vec<(Vec<u8>, u64, bool)>) -> Vec<Self> {
        let mut found = found.into_iter().peekable();
        let current = |key: &&Key| match found.next_if(|(k, ..)| k == key.as_bytes()) {
            Some((_, rev, is_live)) => Self::Present { rev, is_live },
            None => Self::Absent,
        };
        let current = keys.iter().map(current).collect();
        assert!(found.next().is_none(), "the store gave a row of a key that it was not asked for");
        current
    }
}

impl<'a> Row<'a> {
    /// The row that `op` leaves of its key.
    pub(crate) fn of(op: &'a Op, rev: u64) -> Self {
        let (value, expiry) = match &op.change {
            Change::Set(value, expiry) => (value.as_str(), *expiry),
            Change::Delete => ("", TOMBSTONE),
        };
        Self { key: &op.key, value, rev, expiry }
    }
}

/// The ops of one key, in order of arrival. At least one.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    last: &'a Op,
    ops: u64,
    /// Whether an outcome shows a revision.
    shows_rev: bool,
    /// Whether the effect of an op depends on what the store holds.
    depends: bool,
}

impl<'a> Run<'a> {
    /// A run that begins with `op`. `shows_rev`: the outcome of `op` shows a revision.
    pub(crate) fn new(op: &'a Op, shows_rev: bool) -> Self {
        Self { last: op, ops: 1, shows_rev, depends: depends(op) }
    }

    /// Adds the next op of the same key.
    pub(crate) fn add(&mut self, op: &'a Op, shows_rev: bool) {
        self.last = op;
        self.ops += 1;
        self.shows_rev |= shows_rev;
        self.depends |= depends(op);
    }

    pub(crate) fn key(&self) -> &'a Key {
        &self.last.key
    }

    /// The op whose row remains, if no op depends on what the store holds.
    pub(crate) fn last(&self) -> &'a Op {
        self.last
    }

    /// The number of ops.
    pub(crate) fn ops(&self) -> u64 {
        self.ops
    }

    /// Whether an outcome depends on what the store holds.
    pub(crate) fn needs_read(&self) -> bool {
        // The revisions within a run follow from the stored revision.
        self.depends || self.shows_rev && self.ops > 1
    }
}

/// Whether the effect of `op` depends on what the store holds.
fn depends(op: &Op) -> bool {
    let by_itself = match &op.change {
        Change::Set(_, _) => false,
        Change::Delete => true,
    };
    by_itself || op.if_rev.is_some()
}

/// What a key holds after some of its ops.
#[derive(Debug)]
pub(crate) struct KeyState<'a> {
    stored: CurrentRow,
    /// The revision of the live entry.
    live_rev: Option<u64>,
    /// The revision of the next write.
    next: u64,
    /// The row to write, if there is one.
    written: Option<Row<'a>>,
}

impl<'a> KeyState<'a> {
    /// The state before the first op. `first` is the first revision that is reserved for the batch.
    pub(crate) fn new(stored: CurrentRow, first: u64) -> Self {
        let (live_rev, next) = match stored {
            CurrentRow::Present { rev, is_live } => (is_live.then_some(rev), first.max(rev + 1)),
            CurrentRow::Absent => (None, first),
        };
        Self { stored, live_rev, next, written: None }
    }

    /// The revision of the key, if the condition of `op` is false.
    pub(crate) fn mismatch(&self, op: &Op) -> Option<Rev> {
        // Absence has revision 0.
        let rev = Rev(self.live_rev.unwrap_or(0));
        op.if_rev.filter(|wanted| *wanted != rev).map(|_| rev)
    }

    /// The row to write, if there is one.
    pub(crate) fn written(&self) -> Option<Row<'a>> {
        self.written
    }

    /// Applies `op` of `write`. Its condition is true.
    pub(crate) fn apply(&mut self, write: &Write, op: &'a Op) -> Outcome {
        match &op.change {
            Change::Set(_, _) => self.set(write, op),
            Change::Delete => self.delete(write, op),
        }
    }

    fn set(&mut self, write: &Write, op: &'a Op) -> Outcome {
        let rev = self.write(op);
        let shown = write.shows_rev().then_some(Rev(rev));
        if self.live_rev.replace(rev).is_some() { Outcome::Updated(shown) } else { Outcome::Created(shown) }
    }

    fn delete(&mut self, write: &Write, op: &'a Op) -> Outcome {
        if self.live_rev.take().is_some() {
            return Outcome::Deleted(Rev(self.write(op)));
        }
        let relies_on_absence = match write {
            Write::One(_) => false,
            // The absence is part of the outcome, so it must last until COMMIT.
            Write::Atomic(_) => true,
        };
        if relies_on_absence && self.is_unlocked() {
            // A row that is absent cannot be locked, but its tombstone can.
            self.write(op);
        }
        Outcome::Absent
    }

    /// Whether the key has no row, neither stored nor to be written, so that another writer could add one before COMMIT.
    fn is_unlocked(&self) -> bool {
        match self.stored {
            CurrentRow::Absent => self.written.is_none(),
            CurrentRow::Present { .. } => false,
        }
    }

    /// Makes the row of `op` the row to write. Returns its revision.
    fn write(&mut self, op: &'a Op) -> u64 {
        let rev = self.next;
        self.next += 1;
        self.written = Some(Row::of(op, rev));
        rev
    }
}

#[cfg(test)]
mod tests;
