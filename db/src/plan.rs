//! The planner: folds the writes that wait together into one row per key and tells each write what it did.
//!
//! Pure. A batch means what the same writes one by one in arrival order would mean.

use crate::entry::{Change, Expiry, Key, Op, Outcome, Rev, Settled, Write};
use crate::run::{Held, Run, State};

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

/// The rows of a batch, each kind in key order.
#[derive(Debug, Default)]
pub(crate) struct Rows<'a> {
    /// Of keys found without a row: written by a plain INSERT, which fails if one has appeared.
    pub(crate) absent: Vec<Row<'a>>,
    /// Of keys whose row is locked: their outcomes are known.
    pub(crate) present: Vec<Row<'a>>,
    /// Of keys whose state nobody asked for: writing them tells their outcomes.
    pub(crate) free: Vec<Row<'a>>,
}

/// The writes of one part of a transaction, sorted out by key.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    writes: Vec<&'a Write>,
    /// In key order.
    runs: Vec<Run<'a>>,
    /// Of each op of all writes, in arrival order: its run.
    run_of: Vec<usize>,
    /// Whether what an op does or shows depends on what the store holds.
    asks: bool,
    /// What became of each write, if that was found out by [`Plan::decide`].
    settled: Vec<Settled>,
}

impl<'a> Plan<'a> {
    /// Sorts out `writes`, given in arrival order.
    pub(crate) fn new(writes: impl Iterator<Item = &'a Write>) -> Self {
        let writes: Vec<&Write> = writes.collect();
        let ops: Vec<&Op> = writes.iter().flat_map(|write| write.ops()).collect();
        let mut order: Vec<usize> = (0..ops.len()).collect();
        order.sort_unstable_by(|&a, &b| (&ops[a].key, a).cmp(&(&ops[b].key, b)));

        let mut runs: Vec<Run<'a>> = Vec::with_capacity(ops.len());
        let mut run_of = vec![0; ops.len()];
        for run in order.chunk_by(|&a, &b| ops[a].key == ops[b].key) {
            for &at in run {
                run_of[at] = runs.len();
            }
            runs.extend(Run::of(run.iter().map(|&at| ops[at])));
        }
        let asks = runs.iter().any(|run| run.asks);
        Self { writes, runs, run_of, asks, settled: Vec::new() }
    }

    /// How many revisions the batch must reserve: those of its longest run.
    pub(crate) fn revs(&self) -> u64 {
        let revs = |run: &Run<'_>| if self.asks || run.shows_rev { run.ops } else { 1 };
        self.runs.iter().map(revs).max().unwrap_or(1)
    }

    /// The keys of which [`Plan::decide`] must be given what the store holds, in key order: all or none, because keys that are
    /// locked after others could be the reason of a deadlock.
    pub(crate) fn asked(&self) -> Vec<&'a Key> {
        if self.asks { self.runs.iter().map(Run::key).collect() } else { Vec::new() }
    }

    /// Applies the writes one by one and says what to store. Of the revisions reserved for the batch `last` is the last;
    /// a key whose stored revision is ahead of them goes on from that.
    ///
    /// `held` is what the store holds of the keys of [`Plan::asked`].
    pub(crate) fn decide(&mut self, last: Rev, held: &[Held]) -> Rows<'a> {
        let first = last.0 - (self.revs() - 1);
        if !self.asks {
            // Sets without conditions: the last one of each key is what remains.
            let free = self.runs.iter().map(|run| Row::of(run.last, first)).collect();
            return Rows { free, ..Rows::default() };
        }
        let mut states: Vec<State<'a>> = held.iter().map(|held| State::new(*held, first)).collect();
        let mut runs = self.run_of.as_slice();
        for write in &self.writes {
            let (own, others) = runs.split_at(write.ops().len());
            self.settled.push(apply(write, own, &mut states));
            runs = others;
        }
        let mut rows = Rows::default();
        for (state, held) in states.iter().zip(held) {
            match held {
                Held::Absent => rows.absent.extend(state.written()),
                Held::Present { .. } => rows.present.extend(state.written()),
            }
        }
        rows
    }

    /// What became of each write, in arrival order, from what the store made of the rows of [`Rows::free`].
    pub(crate) fn settle(self, stored: &[Stored]) -> Vec<Settled> {
        if self.asks {
            return self.settled;
        }
        // Who comes first has created the key, if that was not there.
        let mut created: Vec<bool> = stored.iter().map(|stored| stored.created).collect();
        let mut runs = self.run_of.iter();
        let mut outcome = |op: &Op| {
            let run = runs.next().copied().unwrap_or_default();
            let rev = op.shows_rev.then_some(Rev(stored[run].rev));
            if std::mem::take(&mut created[run]) { Outcome::Created(rev) } else { Outcome::Updated(rev) }
        };
        let settle = |write: &&Write| match write {
            Write::One(op) => Settled::One(outcome(op)),
            Write::Atomic(ops) => Settled::All(ops.iter().map(&mut outcome).collect()),
        };
        self.writes.iter().map(settle).collect()
    }
}

/// Applies one write to the states of its keys: all of it or nothing.
fn apply<'a>(write: &'a Write, runs: &[usize], states: &mut [State<'a>]) -> Settled {
    let ops = write.ops().iter().zip(runs);
    let mismatch =
        ops.clone().enumerate().find_map(|(index, (op, &run))| Some((index, states[run].mismatch(op)?)));
    match (write, mismatch) {
        (Write::One(_), Some((_, rev))) => Settled::One(Outcome::Mismatch(rev)),
        (Write::Atomic(_), Some((index, rev))) => Settled::Failed { index, rev },
        (Write::One(op), None) => Settled::One(states[runs[0]].apply(op, false)),
        (Write::Atomic(_), None) => Settled::All(ops.map(|(op, &run)| states[run].apply(op, true)).collect()),
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

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
