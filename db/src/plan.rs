//! The planner: folds the writes that wait together into one row per key and tells each write what it did.
//!
//! Pure. A batch means what the same writes one by one in arrival order would mean.

#[cfg(any(test, feature = "fuzzing"))]
pub mod model;
pub(crate) mod run;

use crate::entry::{Change, Key, Op, Outcome, Rev, Settled, Write};
use crate::plan::run::{Held, Row, Run, State, Stored};

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
        let with_shown = |write: &&'a Write| {
            let shows_rev = write.shows_rev();
            write.ops().iter().map(move |op| (op, shows_rev))
        };
        let ops: Vec<(&Op, bool)> = writes.iter().flat_map(with_shown).collect();
        let mut order: Vec<usize> = (0..ops.len()).collect();
        order.sort_unstable_by(|&a, &b| (&ops[a].0.key, a).cmp(&(&ops[b].0.key, b)));

        let mut runs: Vec<Run<'a>> = Vec::with_capacity(ops.len());
        let mut run_of = vec![0; ops.len()];
        for at in order {
            let (op, shows_rev) = ops[at];
            match runs.last_mut() {
                Some(run) if *run.key() == op.key => run.add(op, shows_rev),
                Some(_) | None => runs.push(Run::new(op, shows_rev)),
            }
            run_of[at] = runs.len() - 1;
        }
        let asks = runs.iter().any(Run::asks);
        Self { writes, runs, run_of, asks, settled: Vec::new() }
    }

    /// How many revisions the batch must reserve: one for each op of its longest run, or the same one for all keys if none
    /// depends on what the store holds.
    pub(crate) fn revs(&self) -> u64 {
        let longest = self.runs.iter().map(Run::ops).max();
        if self.asks { longest.expect("what asks is a run") } else { 1 }
    }

    /// Each write with the runs of its ops, one for each.
    fn with_runs(&self) -> impl Iterator<Item = (&'a Write, &[usize])> {
        let mut runs = self.run_of.as_slice();
        self.writes.iter().map(move |write| {
            let (own, others) = runs.split_at(write.ops().len());
            runs = others;
            (*write, own)
        })
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
    ///
    /// # Panics
    /// If `held` is of another number of keys, or if the revisions up to `last` are fewer than [`Plan::revs`].
    pub(crate) fn decide(&mut self, last: Rev, held: &[Held]) -> Rows<'a> {
        let before =
            last.0.checked_sub(self.revs()).expect("a batch has reserved all revisions that it gives");
        let first = before + 1;
        if !self.asks {
            assert_eq!(held.len(), 0, "states of keys that nobody asked for");
            // Sets without conditions: the last one of each key is what remains.
            let free = self.runs.iter().map(|run| Row::of(run.last(), first)).collect();
            return Rows { free, ..Rows::default() };
        }
        assert_eq!(held.len(), self.runs.len(), "every key that is asked for has one state");
        let mut states: Vec<State<'a>> = held.iter().map(|held| State::new(*held, first)).collect();
        self.settled = self.with_runs().map(|(write, runs)| apply(write, runs, &mut states)).collect();
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
    ///
    /// # Panics
    /// If `stored` is of another number of rows, or if it was not decided before what they are.
    pub(crate) fn settle(self, stored: &[Stored]) -> Vec<Settled> {
        if self.asks {
            assert_eq!(stored.len(), 0, "no row was free, so none was stored as such");
            assert_eq!(
                self.settled.len(),
                self.writes.len(),
                "every write was decided on before it is answered"
            );
            return self.settled;
        }
        assert_eq!(stored.len(), self.runs.len(), "every key has one row that was stored");
        // Who comes first has created the key, if that was not there.
        let mut created: Vec<bool> = stored.iter().map(|stored| stored.created).collect();
        let mut outcome = |write: &Write, op: &Op, run: usize| {
            let rev = write.shows_rev().then_some(Rev(stored[run].rev));
            match &op.change {
                Change::Set(_, _) if std::mem::take(&mut created[run]) => Outcome::Created(rev),
                Change::Set(_, _) => Outcome::Updated(rev),
                Change::Delete => {
                    unreachable!("a delete depends on what the store holds, so it was settled before")
                }
            }
        };
        let settle = |(write, runs): (&Write, &[usize])| match write {
            Write::One(op) => Settled::One(outcome(write, op, runs[0])),
            Write::Atomic(ops) => {
                Settled::All(ops.iter().zip(runs).map(|(op, &run)| outcome(write, op, run)).collect())
            }
        };
        self.with_runs().map(settle).collect()
    }
}

/// Applies one write to the states of its keys: all of it or nothing. `runs` has the place of each.
fn apply<'a>(write: &'a Write, runs: &[usize], states: &mut [State<'a>]) -> Settled {
    let ops = write.ops().iter().zip(runs);
    let mismatch =
        ops.clone().enumerate().find_map(|(index, (op, &run))| Some((index, states[run].mismatch(op)?)));
    match (write, mismatch) {
        (Write::One(_), Some((_, rev))) => Settled::One(Outcome::Mismatch(rev)),
        (Write::Atomic(_), Some((index, rev))) => Settled::Failed { index, rev },
        (Write::One(op), None) => Settled::One(states[runs[0]].apply(write, op)),
        (Write::Atomic(_), None) => {
            Settled::All(ops.map(|(op, &run)| states[run].apply(write, op)).collect())
        }
    }
}

#[cfg(test)]
mod tests;
