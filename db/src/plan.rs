//! The planner: folds the writes that wait together into one row per key and tells each write what it did.
//!
//! Pure. A batch means what the same writes one by one in arrival order would mean.

use crate::entry::{Expiry, Key, Op, Rev, Settled, Write};
use crate::run::{Held, Run, State, Told};

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
    /// What each op is told, in the same order; from [`Plan::decide`] on.
    told: Vec<Told>,
    /// Of each run its place in [`Rows::free`]; from [`Plan::decide`] on.
    free_at: Vec<usize>,
}

impl<'a> Plan<'a> {
    /// Sorts out `writes`, given in arrival order.
    pub(crate) fn new(writes: impl Iterator<Item = &'a Write>) -> Self {
        let writes: Vec<&Write> = writes.collect();
        let ops: Vec<&Op> = writes.iter().flat_map(|write| write.ops()).collect();
        let mut order: Vec<usize> = (0..ops.len()).collect();
        order.sort_unstable_by(|&a, &b| (&ops[a].key, a).cmp(&(&ops[b].key, b)));

        let mut runs = Vec::with_capacity(ops.len());
        let mut run_of = vec![0; ops.len()];
        for run in order.chunk_by(|&a, &b| ops[a].key == ops[b].key) {
            for &at in run {
                run_of[at] = runs.len();
            }
            runs.extend(Run::of(run.iter().map(|&at| ops[at])));
        }
        // Keys that were locked after others could be the reason of a deadlock: all are asked for, in one order.
        if runs.iter().any(Run::asks) {
            runs.iter_mut().for_each(Run::ask);
        }
        Self { writes, runs, run_of, told: Vec::new(), free_at: Vec::new() }
    }

    /// How many revisions the batch must reserve: those of its longest run.
    pub(crate) fn revs(&self) -> u64 {
        self.runs.iter().map(Run::revs).max().unwrap_or(1)
    }

    /// The keys of which [`Plan::decide`] must be given what the store holds, in key order.
    pub(crate) fn asked(&self) -> Vec<&'a Key> {
        self.runs.iter().filter(|run| run.asks()).map(Run::key).collect()
    }

    /// Applies the writes one by one and says what to store. Of the revisions reserved for the batch `last` is the last;
    /// a key whose stored revision is ahead of them goes on from that.
    ///
    /// `held` is what the store holds of the keys of [`Plan::asked`].
    pub(crate) fn decide(&mut self, last: Rev, held: &[Held]) -> Rows<'a> {
        let first = last.0 - (self.revs() - 1);
        let mut held = held.iter().copied();
        let state = |run: &Run<'a>| State::new(if run.asks() { held.next() } else { None }, first);
        let mut states: Vec<State<'a>> = self.runs.iter().map(state).collect();

        let mut told = Vec::with_capacity(self.run_of.len());
        let mut rest = self.run_of.as_slice();
        for write in &self.writes {
            let (runs, later) = rest.split_at(write.ops().len());
            apply(write, runs, &mut states, &mut told);
            rest = later;
        }
        self.told = told;
        let mut rows = Rows::default();
        self.free_at = vec![0; self.runs.len()];
        for (at, state) in states.iter().enumerate() {
            self.free_at[at] = rows.free.len();
            let Some(row) = state.written() else { continue };
            match state.held() {
                None => rows.free.push(row),
                Some(Held::Absent) => rows.absent.push(row),
                Some(Held::Present { .. }) => rows.present.push(row),
            }
        }
        rows
    }

    /// What became of each write, in arrival order, from what the store made of the rows of [`Rows::free`].
    pub(crate) fn settle(&self, stored: &[Stored]) -> Vec<Settled> {
        let outcome = |op: usize| {
            let stored = stored.get(self.free_at[self.run_of[op]]);
            self.told[op].outcome(stored.copied())
        };
        let mut next = 0;
        let settle = |write: &&Write| {
            let ops = next..next + write.ops().len();
            next = ops.end;
            match write {
                Write::One(_) => Settled::One(outcome(ops.start)),
                Write::Atomic(_) => match self.told[ops.clone()].iter().enumerate().find_map(Told::failed) {
                    Some((index, rev)) => Settled::Failed { index, rev },
                    None => Settled::All(ops.map(outcome).collect()),
                },
            }
        };
        self.writes.iter().map(settle).collect()
    }
}

/// Applies one write to the states of its keys, all of it or nothing, and tells each of its ops.
fn apply<'a>(write: &'a Write, runs: &[usize], states: &mut [State<'a>], told: &mut Vec<Told>) {
    let ops = write.ops().iter().zip(runs);
    let mismatch = |(op, &run): (&Op, &usize)| states[run].mismatch(op);
    if let Some((index, rev)) = ops.clone().enumerate().find_map(|(at, it)| Some((at, mismatch(it)?))) {
        told.extend((0..runs.len()).map(|at| if at == index { Told::Mismatch(rev) } else { Told::Void }));
        return;
    }
    let is_atomic = matches!(write, Write::Atomic(_));
    told.extend(ops.map(|(op, &run)| states[run].apply(op, is_atomic)));
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
