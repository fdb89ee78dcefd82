//! All ops of one key in a batch, and what they make of it one after another.

use crate::entry::{Change, Key, Op, Outcome, Rev};
use crate::plan::Row;

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
    pub(crate) fn of(keys: &[&Key], found: Vec<(Vec<u8>, u64, bool)>) -> Vec<Self> {
        let mut found = found.into_iter().peekable();
        let held = |key: &&Key| match found.next_if(|(k, ..)| k == key.as_str().as_bytes()) {
            Some((_, rev, live)) => Self::Present { rev, live },
            None => Self::Absent,
        };
        keys.iter().map(held).collect()
    }
}

/// The ops of one key, in arrival order.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) last: &'a Op,
    pub(crate) ops: u64,
    /// Whether a reply shows a revision.
    pub(crate) shows_rev: bool,
    /// Whether what an op does or shows depends on what the store holds.
    pub(crate) asks: bool,
}

impl<'a> Run<'a> {
    /// The run of `ops`, which are of one key; none if there are none.
    pub(crate) fn of(ops: impl ExactSizeIterator<Item = &'a Op>) -> Option<Self> {
        let count = ops.len() as u64;
        let (mut last, mut shows_rev, mut asks) = (None, false, false);
        for op in ops {
            shows_rev |= op.shows_rev;
            asks |= op.if_rev.is_some() || op.change == Change::Delete;
            last = Some(op);
        }
        // The revisions inside a run can only be told when the one before it is known.
        Some(Self { last: last?, ops: count, shows_rev, asks: asks || shows_rev && count > 1 })
    }

    pub(crate) fn key(&self) -> &'a Key {
        &self.last.key
    }
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
        let rev = Rev(self.live.unwrap_or(0));
        op.if_rev.filter(|wanted| *wanted != rev).map(|_| rev)
    }

    /// What to store, if anything.
    pub(crate) fn written(&self) -> Option<Row<'a>> {
        self.written
    }

    /// Applies `op`, whose condition holds.
    pub(crate) fn apply(&mut self, op: &'a Op, is_atomic: bool) -> Outcome {
        if op.change == Change::Delete {
            return self.delete(op, is_atomic);
        }
        let rev = self.write(op);
        let shown = op.shows_rev.then_some(Rev(rev));
        if self.live.replace(rev).is_some() { Outcome::Updated(shown) } else { Outcome::Created(shown) }
    }

    fn delete(&mut self, op: &'a Op, is_atomic: bool) -> Outcome {
        if self.live.take().is_some() {
            return Outcome::Deleted(Rev(self.write(op)));
        }
        // The absence is part of what an atomic write does, so it must last until COMMIT. Nothing locks a row that is
        // not there; its tombstone is locked like any row.
        if is_atomic && self.held == Held::Absent && self.written.is_none() {
            self.write(op);
        }
        Outcome::Absent
    }

    /// What `op` leaves of the key is what to store. The revision it takes.
    fn write(&mut self, op: &'a Op) -> u64 {
        let rev = self.next;
        self.next += 1;
        self.written = Some(Row::of(op, rev));
        rev
    }
}
