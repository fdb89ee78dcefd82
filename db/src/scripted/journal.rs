//! What clients did and which outcomes they got, and whether that keeps the promises.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use history::{Did, ReplyOutcome};
use tokio::time::Instant;

use super::server::ScriptedServer;
use crate::entry::{Outcome, Refusal, Rev, WriteOutcome};
use crate::lane::pending::Ticket;

/// How long after its deadline a write may be answered: a second in which a running statement may end, and a little for the timers,
/// each of which is exact to a millisecond.
const LATE_MAX: Duration = Duration::from_millis(1050);

/// The journal of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Journal(Arc<Mutex<JournalEntries>>);

/// How many writes had each kind of outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ReplyCounts {
    pub(super) acknowledged: u64,
    /// Refused by a lane.
    pub(super) refused: u64,
    pub(super) unknown: u64,
    /// Refused before they were in a queue.
    pub(super) turned_away: u64,
}

/// What the journal holds.
#[derive(Debug, Default)]
pub(super) struct JournalEntries {
    /// The operations that can be put in an order, key by key.
    pub(super) ops: Vec<history::Operation>,
    /// Values of writes that were refused as not applied.
    pub(super) refused: Vec<String>,
    pub(super) violations: Vec<String>,
    pub(super) counts: ReplyCounts,
    /// The number of the last moment. Many moments lie within one millisecond of the clock.
    moment: u64,
    /// How many values were given out.
    values: u64,
}

impl Journal {
    pub(super) fn entries(&self) -> MutexGuard<'_, JournalEntries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present moment, later than every moment before.
    pub(super) fn moment(&self) -> std::time::Instant {
        let mut entries = self.entries();
        entries.moment += 1;
        Instant::now().into_std() + Duration::from_nanos(entries.moment)
    }

    pub(super) fn op(
        &self,
        key: u64,
        called: std::time::Instant,
        answered: Option<std::time::Instant>,
        did: Did,
    ) {
        self.entries().ops.push(history::Operation { key, called, answered, did });
    }

    /// A value that nobody else writes.
    pub(super) fn value(&self) -> u64 {
        let mut entries = self.entries();
        entries.values += 1;
        entries.values
    }

    /// Waits for an outcome, which must come in time, and counts it.
    pub(super) async fn outcome(
        &self,
        ticket: Result<Ticket, Refusal>,
        deadline: Instant,
        what: &str,
    ) -> Result<WriteOutcome, Refusal> {
        let is_queued = ticket.is_ok();
        let outcome = match ticket {
            Ok(ticket) => ticket.await,
            Err(refusal) => Err(refusal),
        };
        let late = Instant::now().saturating_duration_since(deadline);
        if late > LATE_MAX {
            self.violation(format!("{what} was answered {} ms after its deadline", late.as_millis()));
        }
        let counts = &mut self.entries().counts;
        match outcome {
            Ok(_) => counts.acknowledged += 1,
            Err(Refusal::OutcomeUnknown) => counts.unknown += 1,
            Err(Refusal::Overloaded | Refusal::Unavailable | Refusal::Unwritable) if is_queued => {
                counts.refused += 1;
            }
            Err(Refusal::Overloaded | Refusal::Unavailable | Refusal::Unwritable) => counts.turned_away += 1,
        }
        outcome
    }

    pub(super) fn refused(&self, value: Option<u64>) {
        self.entries().refused.extend(value.map(|value| value.to_string()));
    }

    pub(super) fn violation(&self, violation: String) {
        self.entries().violations.push(violation);
    }

    /// Judges the run once it is over.
    ///
    /// # Errors
    /// Every promise that was found broken.
    pub(super) fn judge(&self, server: &ScriptedServer) -> Result<(), String> {
        let entries = self.entries();
        let state = server.state();
        let mut wrong: Vec<String> = entries.violations.clone();
        wrong.extend(state.tables.violations.iter().cloned());
        wrong.extend(state.tables.log.judge());
        for value in entries.refused.iter().filter(|value| state.tables.values.contains(value)) {
            wrong.push(format!("{value} was refused and is applied"));
        }
        for key in history::not_linearizable(&entries.ops) {
            let mut ops: Vec<&history::Operation> = entries.ops.iter().filter(|op| op.key == key).collect();
            ops.sort_by_key(|op| op.called);
            let begun = entries.ops.iter().map(|op| op.called).min().expect("there are ops");
            let line = |op: &&history::Operation| {
                let answered = op.answered.map(|at| at - begun);
                format!("\n  {:?} .. {answered:?} {:?}", op.called - begun, op.did)
            };
            let lines: String = ops.iter().map(line).collect();
            wrong.push(format!("key {key} is not linearizable:{lines}"));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }
}

/// An outcome in the form that the checker of histories takes.
pub(super) fn reply_outcome(outcome: Outcome) -> ReplyOutcome {
    let number = |rev: Option<Rev>| rev.map(|rev| rev.0);
    match outcome {
        Outcome::Created(rev) => ReplyOutcome::Created(number(rev)),
        Outcome::Updated(rev) => ReplyOutcome::Updated(number(rev)),
        Outcome::Deleted(rev) => ReplyOutcome::Deleted(Some(rev.0)),
        Outcome::Absent => ReplyOutcome::Absent,
        Outcome::Mismatch(rev) => ReplyOutcome::Mismatch(Some(rev.0)),
    }
}
