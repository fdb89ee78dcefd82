//! All ops of one key in a batch, and what they make of it one after another.

use crate::entry::{Change, Expiry, Key, Op, Outcome, Rev, Write};

/// One row to write: what a key holds after all writes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    pub(crate) key: &'a Key,
    /// Empty for a tombstone.
    pub(crate) value: &'a str,
    /// The revision to write unless the stored one is ahead of it.
    pub(crate) rev: u64,
    /// [`TOMBSTONE`] for a deleted key.
    pub(crate) expiry: Expiry,
}

/// The expiry of what was deleted: expired for ever.
pub(crate) const TOMBSTONE: Expiry = Expiry::At(0);

/// What the store made of a [`Row`] of [`Rows::free`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) rev: u64,
    pub(crate) created: bool,
}

/// What the store holds of a key, read under lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// No row: not locked either, so it is written by a plain INSERT that fails if one appears.
    Absent,
    /// A row, locked.
    Present {
        rev: u64,
        /// Neither deleted nor expired.
        live: bool,
    },
}

impl Held {
    /// One per key of `keys`, from the rows `found`: key, revision and whether it is live. Both in key order.
    ///
    /// # Panics
    /// If a row is of none of the keys, or out of order: a key whose row is overlooked would be taken for absent.
    pub(crate) fn of(keys: &[&Key], found: Vec<(Vec<u8>, u64, bool)>) -> Vec<Self> {
        let mut found = found.into_iter().peekable();
        let held = |key: &&Key| match found.next_if(|(k, ..)| k == key.as_str().as_bytes()) {
            Some((_, rev, live)) => Self::Present { rev, live },
            None => Self::Absent,
        };
        let held = keys.iter().map(held).collect();
        assert!(found.next().is_none(), "the store gave a row of a key that it was not asked for");
        held
    }
}

impl<'a> Row<'a> {
    /// What `op` leaves of its key.
    pub(crate) fn of(op: &'a Op, rev: u64) -> Self {
        let (value, expiry) = match &op.change {
            Change::Set(value, expiry) => (value.as_str(), *expiry),
            Change::Delete => ("", TOMBSTONE),
        };
        Self { key: &op.key, value, rev, expiry }
    }
}

/// The ops of one key, in arrival order; one at least.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    last: &'a Op,
    ops: u64,
    /// Whether a reply shows a revision.
    shows_rev: bool,
    /// Whether what one of the ops does depends on what the store holds.
    depends: bool,
}

impl<'a> Run<'a> {
    /// The run that `op` begins; `shows_rev` tells whether the reply to it shows a revision.
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

    /// The op that decides what remains, if none depends on what the store holds.
    pub(crate) fn last(&self) -> &'a Op {
        self.last
    }

    /// How many ops it has.
    pub(crate) fn ops(&self) -> u64 {
        self.ops
    }

    /// Whether what an op does or shows depends on what the store holds.
    pub(crate) fn asks(&self) -> bool {
        // The revisions inside a run can only be told when the one before it is known.
        self.depends || self.shows_rev && self.ops > 1
    }
}

/// Whether what `op` does depends on what the store holds.
fn depends(op: &Op) -> bool {
    let by_itself = match &op.change {
        Change::Set(_, _) => false,
        Change::Delete => true,
    };
    by_itself || op.if_rev.is_some()
}

/// What a key holds after some of its ops.
#[derive(Debug)]
pub(crate) struct State<'a> {
    held: Held,
    /// The revision of the live entry.
    live: Option<u64>,
    /// The revision that the next write takes.
    next: u64,
    /// What to store, if anything.
    written: Option<Row<'a>>,
}

impl<'a> State<'a> {
    /// What the store holds; `first` is the first revision reserved for the batch.
    pub(crate) fn new(held: Held, first: u64) -> Self {
        let (live, next) = match held {
            Held::Present { rev, live } => (live.then_some(rev), first.max(rev + 1)),
            Held::Absent => (None, first),
        };
        Self { held, live, next, written: None }
    }

    /// The revision the key has, if that is not the one `op` asks for.
    pub(crate) fn mismatch(&self, op: &Op) -> Option<Rev> {
        // Absence has revision 0.
        let rev = Rev(self.live.unwrap_or(0));
        op.if_rev.filter(|wanted| *wanted != rev).map(|_| rev)
    }

    /// What to store, if anything.
    pub(crate) fn written(&self) -> Option<Row<'a>> {
        self.written
    }

    /// Applies `op`, one of those of `write`, whose conditions hold.
    pub(crate) fn apply(&mut self, write: &Write, op: &'a Op) -> Outcome {
        match &op.change {
            Change::Set(_, _) => self.set(write, op),
            Change::Delete => self.delete(write, op),
        }
    }

    fn set(&mut self, write: &Write, op: &'a Op) -> Outcome {
        let rev = self.write(op);
        let shown = write.shows_rev().then_some(Rev(rev));
        if self.live.replace(rev).is_some() { Outcome::Updated(shown) } else { Outcome::Created(shown) }
    }

    fn delete(&mut self, write: &Write, op: &'a Op) -> Outcome {
        if self.live.take().is_some() {
            return Outcome::Deleted(Rev(self.write(op)));
        }
        let relies_on_absence = match write {
            Write::One(_) => false,
            // The absence is part of what the write does, so it must last until COMMIT.
            Write::Atomic(_) => true,
        };
        if relies_on_absence && self.is_unlocked() {
            // Nothing locks a row that is not there; its tombstone is locked like any row.
            self.write(op);
        }
        Outcome::Absent
    }

    /// Whether the key has no row, and none that is to be written, so that another writer can add one before COMMIT.
    fn is_unlocked(&self) -> bool {
        match self.held {
            Held::Absent => self.written.is_none(),
            Held::Present { .. } => false,
        }
    }

    /// What `op` leaves of the key is what to store. The revision it takes.
    fn write(&mut self, op: &'a Op) -> u64 {
        let rev = self.next;
        self.next += 1;
        self.written = Some(Row::of(op, rev));
        rev
    }
}

#[cfg(test)]
mod tests;
