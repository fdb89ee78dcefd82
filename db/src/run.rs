//! All ops of one key in a batch, and what they make of it one after another.

use crate::entry::{Change, Expiry, Key, Op, Outcome, Rev};
use crate::plan::{Row, Stored, TOMBSTONE};

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
    key: &'a Key,
    ops: u64,
    /// Whether a reply shows a revision.
    shown: bool,
    asks: bool,
}

impl<'a> Run<'a> {
    /// The run of `ops`, which are of one key and at least one.
    pub(crate) fn of(mut ops: impl ExactSizeIterator<Item = &'a Op>) -> Option<Self> {
        let count = ops.len() as u64;
        let first = ops.next()?;
        let (mut shown, mut asks) = (first.shows_rev, depends(first));
        for op in ops {
            shown |= op.shows_rev;
            asks |= depends(op);
        }
        // The revisions inside a run can only be told when the one before it is known.
        Some(Self { key: &first.key, ops: count, shown, asks: asks || shown && count > 1 })
    }

    pub(crate) fn key(&self) -> &'a Key {
        self.key
    }

    /// How many revisions it takes at most: one for each op, or one for all if nobody is to know.
    pub(crate) fn revs(&self) -> u64 {
        if self.shown || self.asks { self.ops } else { 1 }
    }

    /// Whether it must be known what the store holds.
    pub(crate) fn asks(&self) -> bool {
        self.asks
    }

    /// Asks what the store holds, though nothing here depends on it.
    pub(crate) fn ask(&mut self) {
        self.asks = true;
    }
}

/// Whether what `op` does depends on what is there.
fn depends(op: &Op) -> bool {
    op.if_rev.is_some() || matches!(op.change, Change::Delete)
}

/// What a key holds after some of its ops.
#[derive(Debug)]
pub(crate) struct State<'a> {
    /// None: nobody asked.
    held: Option<Held>,
    /// The revision of the live entry. Known only if somebody asked.
    live: Option<u64>,
    /// The revision that the next write takes.
    next: u64,
    /// What to store, if anything.
    written: Option<Row<'a>>,
}

/// What an op is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Told {
    Known(Outcome),
    /// It set a key of which only its row, once written, tells whether it was there.
    First {
        shows_rev: bool,
    },
    /// Nothing took effect of its write, because this op's condition is false.
    Mismatch(Rev),
    /// Nothing took effect of its write, because of another op.
    Void,
}

impl Told {
    /// The place and the revision of an op that made its write fail.
    pub(crate) fn failed((index, told): (usize, &Self)) -> Option<(usize, Rev)> {
        match told {
            Self::Mismatch(rev) => Some((index, *rev)),
            Self::Known(_) | Self::First { .. } | Self::Void => None,
        }
    }

    /// What the op did, given what the store made of its row.
    pub(crate) fn outcome(&self, stored: Option<Stored>) -> Outcome {
        match (*self, stored) {
            (Self::Known(outcome), _) => outcome,
            (Self::First { shows_rev }, Some(Stored { rev, created })) => {
                let rev = shows_rev.then_some(Rev(rev));
                if created { Outcome::Created(rev) } else { Outcome::Updated(rev) }
            }
            (Self::Mismatch(rev), _) => Outcome::Mismatch(rev),
            (Self::Void | Self::First { .. }, _) => Outcome::Absent,
        }
    }
}

impl<'a> State<'a> {
    /// What the store holds; `first` is the first revision reserved for the batch.
    pub(crate) fn new(held: Option<Held>, first: u64) -> Self {
        let (live, next) = match held {
            Some(Held::Present { rev, live }) => (live.then_some(rev), first.max(rev + 1)),
            Some(Held::Absent) | None => (None, first),
        };
        Self { held, live, next, written: None }
    }

    pub(crate) fn held(&self) -> Option<Held> {
        self.held
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
    pub(crate) fn apply(&mut self, op: &'a Op, is_atomic: bool) -> Told {
        match &op.change {
            Change::Set(value, expiry) => self.set(op, value.as_str(), *expiry),
            Change::Delete => self.delete(&op.key, is_atomic),
        }
    }

    fn set(&mut self, op: &'a Op, value: &'a str, expiry: Expiry) -> Told {
        let row = |rev| Some(Row { key: &op.key, value, rev, expiry });
        if self.held.is_none() {
            let told = match self.written {
                None => Told::First { shows_rev: op.shows_rev },
                // No reply of the run shows a revision, so it takes one only.
                Some(_) => Told::Known(Outcome::Updated(None)),
            };
            self.written = row(self.next);
            return told;
        }
        let rev = self.take_rev();
        self.written = row(rev);
        let shown = op.shows_rev.then_some(Rev(rev));
        Told::Known(match self.live.replace(rev) {
            None => Outcome::Created(shown),
            Some(_) => Outcome::Updated(shown),
        })
    }

    fn delete(&mut self, key: &'a Key, is_atomic: bool) -> Told {
        if self.live.take().is_some() {
            let rev = self.take_rev();
            self.written = Some(tombstone(key, rev));
            return Told::Known(Outcome::Deleted(Rev(rev)));
        }
        // The absence is part of what an atomic write does, so it must last until COMMIT. Nothing locks a row that is
        // not there; its tombstone is locked like any row.
        if is_atomic && self.held == Some(Held::Absent) && self.written.is_none() {
            let rev = self.take_rev();
            self.written = Some(tombstone(key, rev));
        }
        Told::Known(Outcome::Absent)
    }

    fn take_rev(&mut self) -> u64 {
        let rev = self.next;
        self.next += 1;
        rev
    }
}

fn tombstone(key: &Key, rev: u64) -> Row<'_> {
    Row { key, value: "", rev, expiry: TOMBSTONE }
}
