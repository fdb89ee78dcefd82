//! The planner: turns the writes of a batch into one row per key, and finds the outcome of each write.
//!
//! Pure. A batch has the same meaning as its writes one by one, in order of arrival.

#[cfg(any(test, feature = "fuzzing"))]
pub mod model;
pub(crate) mod run;

use crate::entry::{Change, Key, Op, Outcome, Rev, Write, WriteOutcome};
use crate::error::Error;
use crate::plan::run::{CurrentRow, KeyState, Row, Run, UpsertResult};

/// The largest revision: what a signed column of 64 bits holds.
pub(crate) const REV_MAX: u64 = (1 << 63) - 1;

/// The rows that a batch writes, by the statement that writes them. Each list is in key order.
#[derive(Debug, Default)]
pub(crate) struct PlannedRows<'a> {
    /// Keys that were read and have no row: written by a plain INSERT, which fails if a row has appeared.
    pub(crate) insert: Vec<Row<'a>>,
    /// Keys that were read and whose rows are locked.
    pub(crate) overwrite: Vec<Row<'a>>,
    /// Keys that were not read: the results of the upsert give the outcomes.
    pub(crate) upsert: Vec<Row<'a>>,
}

/// The writes of one part of a transaction, sorted by key.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    writes: Vec<&'a Write>,
    /// In key order.
    runs: Vec<Run<'a>>,
    /// For each op of all writes, in order of arrival: the index of its run.
    run_of: Vec<usize>,
    /// Whether an outcome depends on what the store holds.
    needs_read: bool,
    /// The outcome of each write, if [`Plan::decide`] has found it.
    outcomes: Vec<WriteOutcome>,
}

impl<'a> Plan<'a> {
    /// Plans `writes`, which are in order of arrival.
    pub(crate) fn new(writes: impl Iterator<Item = &'a Write>) -> Self {
        let writes: Vec<&Write> = writes.collect();
        let with_shows_rev = |write: &&'a Write| {
            let shows_rev = write.shows_rev();
            write.ops().iter().map(move |op| (op, shows_rev))
        };
        let ops: Vec<(&Op, bool)> = writes.iter().flat_map(with_shows_rev).collect();
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
        let needs_read = runs.iter().any(Run::needs_read);
        Self { writes, runs, run_of, needs_read, outcomes: Vec::new() }
    }

    /// How many revisions the batch must reserve: one for each op of its longest run. If no outcome depends on what the store
    /// holds, one is enough, which all keys share.
    pub(crate) fn revs(&self) -> u64 {
        let longest = self.runs.iter().map(Run::ops).max();
        if self.needs_read { longest.expect("a plan without runs reads nothing") } else { 1 }
    }

    /// Each write with the run of each of its ops.
    fn with_runs(&self) -> impl Iterator<Item = (&'a Write, &[usize])> {
        let mut runs = self.run_of.as_slice();
        self.writes.iter().map(move |write| {
            let (own, others) = runs.split_at(write.ops().len());
            runs = others;
            (*write, own)
        })
    }

    /// The keys whose rows must be read before [`Plan::decide`], in key order. All or none: locking some keys after others could
    /// end in a deadlock.
    pub(crate) fn keys_to_read(&self) -> Vec<&'a Key> {
        if self.needs_read { self.runs.iter().map(Run::key).collect() } else { Vec::new() }
    }

    /// Checks that `current` leaves every key a higher revision.
    ///
    /// # Errors
    /// [`Error::Internal`] names a key whose stored revision is so high that there is none above it.
    pub(crate) fn check(&self, current: &[CurrentRow]) -> Result<(), Error> {
        let is_last = |(run, row): &(&Run<'_>, &CurrentRow)| match row {
            CurrentRow::Absent => false,
            CurrentRow::Present { rev, .. } => *rev > REV_MAX - run.ops(),
        };
        match self.runs.iter().zip(current).find(is_last) {
            None => Ok(()),
            Some((run, _)) => {
                let reason = format!("the revision of {} cannot grow any more", run.key().for_log());
                Err(Error::Internal(reason.into()))
            }
        }
    }

    /// Applies the writes one by one. Returns the rows to write.
    ///
    /// `last` is the last revision that is reserved for the batch. A key whose stored revision is higher continues from the stored
    /// one. `current` has what the store holds of [`Plan::keys_to_read`].
    ///
    /// # Panics
    /// If `current` has another number of keys, or if there are fewer revisions up to `last` than [`Plan::revs`].
    pub(crate) fn decide(&mut self, last: Rev, current: &[CurrentRow]) -> PlannedRows<'a> {
        let before =
            last.0.checked_sub(self.revs()).expect("a batch has reserved all revisions that it gives");
        let first = before + 1;
        if !self.needs_read {
            assert_eq!(current.len(), 0, "rows of keys that were not to be read");
            // Sets without conditions: the last set of each key remains.
            let upsert = self.runs.iter().map(|run| Row::of(run.last(), first)).collect();
            return PlannedRows { upsert, ..PlannedRows::default() };
        }
        assert_eq!(current.len(), self.runs.len(), "every key that is read has one state");
        let mut states: Vec<KeyState<'a>> = current.iter().map(|row| KeyState::new(*row, first)).collect();
        self.outcomes = self.with_runs().map(|(write, runs)| apply(write, runs, &mut states)).collect();
        let mut rows = PlannedRows::default();
        for (state, row) in states.iter().zip(current) {
            match row {
                CurrentRow::Absent => rows.insert.extend(state.written()),
                CurrentRow::Present { .. } => rows.overwrite.extend(state.written()),
            }
        }
        rows
    }

    /// The outcome of each write, in order of arrival. `upserted` has the result of each row of [`PlannedRows::upsert`].
    ///
    /// # Panics
    /// If `upserted` has another number of rows, or if [`Plan::decide`] was not called.
    pub(crate) fn outcomes(self, upserted: &[UpsertResult]) -> Vec<WriteOutcome> {
        if self.needs_read {
            assert_eq!(upserted.len(), 0, "every key was read, so none was upserted");
            assert_eq!(
                self.outcomes.len(),
                self.writes.len(),
                "every write was decided on before it is answered"
            );
            return self.outcomes;
        }
        assert_eq!(upserted.len(), self.runs.len(), "every key has one row that was upserted");
        // The first op of a key has created it, if it was absent.
        let mut created: Vec<bool> = upserted.iter().map(|row| row.created).collect();
        let mut outcome = |write: &Write, op: &Op, run: usize| {
            let rev = write.shows_rev().then_some(Rev(upserted[run].rev));
            match &op.change {
                Change::Set(_, _) if std::mem::take(&mut created[run]) => Outcome::Created(rev),
                Change::Set(_, _) => Outcome::Updated(rev),
                Change::Delete => {
                    unreachable!("a delete depends on what the store holds, so its outcome is known already")
                }
            }
        };
        let of_write = |(write, runs): (&Write, &[usize])| match write {
            Write::One(op) => WriteOutcome::One(outcome(write, op, runs[0])),
            Write::Atomic(ops) => {
                WriteOutcome::All(ops.iter().zip(runs).map(|(op, &run)| outcome(write, op, run)).collect())
            }
        };
        self.with_runs().map(of_write).collect()
    }
}

/// Applies one write to the states of its keys: all of it or nothing. `runs` has the index of each key's state.
fn apply<'a>(write: &'a Write, runs: &[usize], states: &mut [KeyState<'a>]) -> WriteOutcome {
    let ops = write.ops().iter().zip(runs);
    let mismatch =
        ops.clone().enumerate().find_map(|(index, (op, &run))| Some((index, states[run].mismatch(op)?)));
    match (write, mismatch) {
        (Write::One(_), Some((_, rev))) => WriteOutcome::One(Outcome::Mismatch(rev)),
        (Write::Atomic(_), Some((index, rev))) => WriteOutcome::Mismatch { index, rev },
        (Write::One(op), None) => WriteOutcome::One(states[runs[0]].apply(write, op)),
        (Write::Atomic(_), None) => {
            WriteOutcome::All(ops.map(|(op, &run)| states[run].apply(write, op)).collect())
        }
    }
}

#[cfg(test)]
mod tests;
