//! What clients did and heard, and whether that is what was promised.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use history::{Did, ReplyOutcome};
use tokio::time::Instant;

use super::server::Server;
use crate::entry::Settled;
use crate::pending::Ticket;
use crate::writer::Refusal;

/// How long after its deadline a write may be answered: the second in which a statement under way may end, and a little for
/// timers, of which each is exact to a millisecond.
const LATE_MAX: Duration = Duration::from_millis(1050);

/// The record of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Record(Arc<Mutex<Heard>>);

/// How many writes were answered so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) settled: u64,
    /// By a lane.
    pub(super) refused: u64,
    pub(super) unknown: u64,
    /// Before they were in a queue.
    pub(super) turned_away: u64,
}

/// What was heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// What can be put in an order, key by key.
    pub(super) ops: Vec<history::Op>,
    /// Values that were refused as not applied.
    pub(super) refused: Vec<String>,
    pub(super) violations: Vec<String>,
    pub(super) answers: Answers,
    /// Numbers the moments of a run: much happens within one millisecond of the clock.
    moment: u64,
    /// Values given out.
    values: u64,
}

impl Record {
    pub(super) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Now, later than every moment before.
    pub(super) fn moment(&self) -> std::time::Instant {
        let mut heard = self.heard();
        heard.moment += 1;
        Instant::now().into_std() + Duration::from_nanos(heard.moment)
    }

    pub(super) fn op(
        &self,
        key: u64,
        called: std::time::Instant,
        answered: Option<std::time::Instant>,
        did: Did,
    ) {
        self.heard().ops.push(history::Op { key, called, answered, did });
    }

    /// A value that nobody else writes.
    pub(super) fn value(&self) -> u64 {
        let mut heard = self.heard();
        heard.values += 1;
        heard.values
    }

    /// Waits for an answer, which must come in time, and counts it.
    pub(super) async fn answer(
        &self,
        ticket: Result<Ticket, Refusal>,
        deadline: Instant,
        what: &str,
    ) -> Result<Settled, Refusal> {
        let is_queued = ticket.is_ok();
        let heard = match ticket {
            Ok(ticket) => ticket.await,
            Err(refusal) => Err(refusal),
        };
        let late = Instant::now().saturating_duration_since(deadline);
        if late > LATE_MAX {
            self.violation(format!("{what} was answered {} ms after its deadline", late.as_millis()));
        }
        let answers = &mut self.heard().answers;
        match heard {
            Ok(_) => answers.settled += 1,
            Err(Refusal::OutcomeUnknown) => answers.unknown += 1,
            Err(Refusal::Overloaded | Refusal::Unavailable) if is_queued => answers.refused += 1,
            Err(Refusal::Overloaded | Refusal::Unavailable) => answers.turned_away += 1,
        }
        heard
    }

    pub(super) fn refused(&self, value: Option<u64>) {
        self.heard().refused.extend(value.map(|value| value.to_string()));
    }

    pub(super) fn violation(&self, violation: String) {
        self.heard().violations.push(violation);
    }

    /// Everything that was found wrong, once the run is over.
    pub(super) fn judge(&self, server: &Server) -> Result<(), String> {
        let heard = self.heard();
        let state = server.state();
        let mut wrong: Vec<String> = heard.violations.clone();
        wrong.extend(state.tables.violations.iter().cloned());
        for value in heard.refused.iter().filter(|value| state.tables.values.contains(value)) {
            wrong.push(format!("{value} was refused and is applied"));
        }
        for key in history::not_linearizable(&heard.ops) {
            let mut ops: Vec<&history::Op> = heard.ops.iter().filter(|op| op.key == key).collect();
            ops.sort_by_key(|op| op.called);
            let begun = heard.ops.iter().map(|op| op.called).min().expect("there are ops");
            let tell = |op: &&history::Op| {
                let answered = op.answered.map(|at| at - begun);
                format!("\n  {:?} .. {answered:?} {:?}", op.called - begun, op.did)
            };
            let told: String = ops.iter().map(tell).collect();
            wrong.push(format!("key {key} is not linearizable:{told}"));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }
}

/// What was told of an op, as the checker of histories wants it.
pub(super) fn answer(outcome: crate::Outcome) -> ReplyOutcome {
    use crate::Outcome;
    let number = |rev: Option<crate::Rev>| rev.map(|rev| rev.0);
    match outcome {
        Outcome::Created(rev) => ReplyOutcome::Created(number(rev)),
        Outcome::Updated(rev) => ReplyOutcome::Updated(number(rev)),
        Outcome::Deleted(rev) => ReplyOutcome::Deleted(Some(rev.0)),
        Outcome::Absent => ReplyOutcome::Absent,
        Outcome::Mismatch(rev) => ReplyOutcome::Mismatch(Some(rev.0)),
    }
}
