//! A write that was sent, its outcome, and reads.

use history::Did;
use tokio::task::JoinHandle;

use super::journal::{Journal, reply_outcome};
use super::process::Process;
use super::script::Sabotage;
use super::server::ScriptedServer;
use crate::entry::{Key, Outcome, Refusal, WriteOutcome};

/// The number in the history of the keys that are only written together.
pub(super) const GROUP: u64 = 1000;

/// Keys that are only written together, all with the same value.
pub(super) const TOGETHER: [&str; 3] = ["g1", "g2", "g3"];

/// The key of sets that expire. The history leaves it out.
pub(super) const EXPIRING: &str = "expiring";

/// A write that was sent.
pub(super) struct SentWrite {
    pub(super) kind: WriteKind,
    pub(super) if_rev: Option<u64>,
    pub(super) shows_rev: bool,
    pub(super) called: std::time::Instant,
    /// The outcome and its moment. A task of its own waits for the outcome, because the outcome must be in time even while the
    /// client is busy.
    pub(super) answer: JoinHandle<(Result<WriteOutcome, Refusal>, std::time::Instant)>,
}

/// What a write does, as far as the judge needs it.
#[derive(Debug, Clone, Copy)]
pub(super) enum WriteKind {
    Set { key: u64, value: u64 },
    Delete { key: u64 },
    SetGroup { value: u64 },
    DeleteGroup,
    Expiring { value: u64 },
}

pub(super) fn key(name: &str) -> Key {
    Key::new(name.to_owned(), 512).expect("a short key")
}

pub(super) fn plain(number: u64) -> Key {
    key(&format!("k{number}"))
}

/// All keys that clients write.
pub(super) fn keys(plain_keys: u64) -> Vec<Key> {
    let others = TOGETHER.into_iter().chain([EXPIRING]).map(key);
    (0..plain_keys).map(plain).chain(others).collect()
}

impl SentWrite {
    /// Waits for the outcome, records it and returns it, if it is known.
    pub(super) async fn await_outcome(self, server: &ScriptedServer, journal: &Journal) -> Option<Outcome> {
        let Self { kind, if_rev, shows_rev, called, answer: task } = self;
        let (mut result, answered) = task.await.expect("it only waits");
        if server.sabotage() == Sabotage::UnknownTakenForRefused {
            result = result.map_err(|_| Refusal::Unavailable);
        }
        let outcome = match result {
            Ok(outcome) => Some(first_outcome(journal, kind, outcome, shows_rev)),
            Err(Refusal::Unavailable | Refusal::Overloaded | Refusal::Unwritable) => {
                journal.refused(kind.value());
                return None;
            }
            Err(Refusal::OutcomeUnknown) => None,
        };
        let known = outcome.map(reply_outcome);
        let (key, did) = match kind {
            WriteKind::Set { key, value } => (key, Did::Set { value, if_rev, reply: known }),
            WriteKind::Delete { key } => (key, Did::Delete { if_rev, reply: known }),
            WriteKind::SetGroup { value } => (GROUP, Did::Set { value, if_rev, reply: known }),
            WriteKind::DeleteGroup => (GROUP, Did::Delete { if_rev, reply: known }),
            WriteKind::Expiring { .. } => return outcome,
        };
        journal.op(key, called, outcome.map(|_| answered), did);
        outcome
    }
}

impl WriteKind {
    pub(super) fn value(self) -> Option<u64> {
        match self {
            Self::Set { value, .. } | Self::SetGroup { value } | Self::Expiring { value } => Some(value),
            Self::Delete { .. } | Self::DeleteGroup => None,
        }
    }
}

/// The outcome of a write, or of the first op of an atomic write.
fn first_outcome(journal: &Journal, kind: WriteKind, outcome: WriteOutcome, shows_rev: bool) -> Outcome {
    let outcomes = match (kind, outcome) {
        (
            WriteKind::Set { .. } | WriteKind::Delete { .. } | WriteKind::Expiring { .. },
            WriteOutcome::One(outcome),
        ) => {
            vec![outcome]
        }
        (WriteKind::SetGroup { .. } | WriteKind::DeleteGroup, WriteOutcome::All(outcomes))
            if outcomes.len() == TOGETHER.len() =>
        {
            outcomes
        }
        (WriteKind::SetGroup { .. } | WriteKind::DeleteGroup, WriteOutcome::Mismatch { index: 0, rev }) => {
            vec![Outcome::Mismatch(rev)]
        }
        (kind, outcome) => panic!("{outcome:?} is no outcome of {kind:?}"),
    };
    let variant = |outcome: &Outcome| std::mem::discriminant(outcome);
    if outcomes.iter().any(|other| variant(other) != variant(&outcomes[0])) {
        journal.violation(format!("an atomic write found different things: {outcomes:?}"));
    }
    let is_shown = rev_of(outcomes[0]).is_some() || matches!(outcomes[0], Outcome::Absent);
    if is_shown != shows_rev {
        journal.violation(format!("{kind:?} is answered {:?}", outcomes[0]));
    }
    outcomes[0]
}

/// Reads a key as `rest-read` does, and records the read.
pub(super) fn read(server: &ScriptedServer, process: &Process, journal: &Journal, number: u64) {
    let names = if number == GROUP { TOGETHER.map(key).to_vec() } else { vec![plain(number)] };
    let called = journal.moment();
    let found = server.read(process, &names);
    let answered = journal.moment();
    let value = |found: &Option<(String, u64)>| found.as_ref().map(|(value, _)| value.clone());
    if found.iter().any(|other| value(other) != value(&found[0])) {
        journal.violation(format!("half of an atomic write: {found:?}"));
    }
    let first =
        found[0].as_ref().map(|(value, rev)| (value.parse().expect("values are numbers"), Some(*rev)));
    journal.op(number, called, Some(answered), Did::Read(first));
}

/// Reads every key once.
pub(super) fn read_all(server: &ScriptedServer, process: &Process, journal: &Journal, keys: u64) {
    (0..keys).chain([GROUP]).for_each(|number| read(server, process, journal, number));
}

/// The revision in an outcome.
pub(super) fn rev_of(outcome: Outcome) -> Option<u64> {
    match outcome {
        Outcome::Created(rev) | Outcome::Updated(rev) => rev.map(|rev| rev.0),
        Outcome::Deleted(rev) | Outcome::Mismatch(rev) => Some(rev.0),
        Outcome::Absent => None,
    }
}
