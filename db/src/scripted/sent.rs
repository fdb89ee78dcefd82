//! A write that was sent, and what is heard of it.

use history::Did;
use tokio::task::JoinHandle;

use super::record::{Record, answer};
use super::server::{Sabotage, Server};
use crate::entry::{Key, Outcome, Settled};
use crate::writer::Refusal;

/// The number in the history of the keys that are only ever written together.
pub(super) const GROUP: u64 = 1000;

/// Keys that are only ever written together, all with the same value.
pub(super) const TOGETHER: [&str; 3] = ["g1", "g2", "g3"];

/// A key of sets that expire. The history leaves it out.
pub(super) const EXPIRING: &str = "expiring";

/// A write that was sent.
pub(super) struct Sent {
    pub(super) about: About,
    pub(super) if_rev: Option<u64>,
    pub(super) shows_rev: bool,
    pub(super) called: std::time::Instant,
    /// What it was answered, and when. Waited for in a task of its own, for the answer must be in time even if the client
    /// is busy.
    pub(super) answer: JoinHandle<(Result<Settled, Refusal>, std::time::Instant)>,
}

/// What a write does, as far as the judge must know it.
#[derive(Debug, Clone, Copy)]
pub(super) enum About {
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

/// All keys that are written.
pub(super) fn keys(plain_keys: u64) -> Vec<Key> {
    let others = TOGETHER.into_iter().chain([EXPIRING]).map(key);
    (0..plain_keys).map(plain).chain(others).collect()
}

impl Sent {
    /// Waits for the answer and records it. What became of the write, if that was told.
    pub(super) async fn hear(self, server: &Server, record: &Record) -> Option<Outcome> {
        let Self { about, if_rev, shows_rev, called, answer: task } = self;
        let (mut heard, answered) = task.await.expect("it only waits");
        if server.sabotage() == Sabotage::UnknownTakenForRefused {
            heard = heard.map_err(|_| Refusal::Unavailable);
        }
        let outcome = match heard {
            Ok(settled) => Some(first_outcome(record, about, settled, shows_rev)),
            Err(Refusal::Unavailable | Refusal::Overloaded) => {
                record.refused(about.value());
                return None;
            }
            Err(Refusal::OutcomeUnknown) => None,
        };
        let told = outcome.map(answer);
        let (key, did) = match about {
            About::Set { key, value } => (key, Did::Set { value, if_rev, reply: told }),
            About::Delete { key } => (key, Did::Delete { if_rev, reply: told }),
            About::SetGroup { value } => (GROUP, Did::Set { value, if_rev, reply: told }),
            About::DeleteGroup => (GROUP, Did::Delete { if_rev, reply: told }),
            About::Expiring { .. } => return outcome,
        };
        record.op(key, called, outcome.map(|_| answered), did);
        outcome
    }
}

impl About {
    pub(super) fn value(self) -> Option<u64> {
        match self {
            Self::Set { value, .. } | Self::SetGroup { value } | Self::Expiring { value } => Some(value),
            Self::Delete { .. } | Self::DeleteGroup => None,
        }
    }
}

/// What became of a write, or of the first op of an atomic one.
fn first_outcome(record: &Record, about: About, settled: Settled, shows_rev: bool) -> Outcome {
    let outcomes = match (about, settled) {
        (About::Set { .. } | About::Delete { .. } | About::Expiring { .. }, Settled::One(outcome)) => {
            vec![outcome]
        }
        (About::SetGroup { .. } | About::DeleteGroup, Settled::All(outcomes))
            if outcomes.len() == TOGETHER.len() =>
        {
            outcomes
        }
        (About::SetGroup { .. } | About::DeleteGroup, Settled::Failed { index: 0, rev }) => {
            vec![Outcome::Mismatch(rev)]
        }
        (about, settled) => panic!("{settled:?} is no answer to {about:?}"),
    };
    let kind = |outcome: &Outcome| std::mem::discriminant(outcome);
    if outcomes.iter().any(|other| kind(other) != kind(&outcomes[0])) {
        record.violation(format!("an atomic write found different things: {outcomes:?}"));
    }
    let is_shown = rev_of(outcomes[0]).is_some() || matches!(outcomes[0], Outcome::Absent);
    if is_shown != shows_rev {
        record.violation(format!("{about:?} is answered {:?}", outcomes[0]));
    }
    outcomes[0]
}

/// Reads a key as `rest-read` does, and records it.
pub(super) fn read(server: &Server, record: &Record, number: u64) {
    let names = if number == GROUP { TOGETHER.map(key).to_vec() } else { vec![plain(number)] };
    let called = record.moment();
    let found = server.read(&names);
    let answered = record.moment();
    let value = |found: &Option<(String, u64)>| found.as_ref().map(|(value, _)| value.clone());
    if found.iter().any(|other| value(other) != value(&found[0])) {
        record.violation(format!("half of an atomic write: {found:?}"));
    }
    let first =
        found[0].as_ref().map(|(value, rev)| (value.parse().expect("values are numbers"), Some(*rev)));
    record.op(number, called, Some(answered), Did::Read(first));
}

/// Reads every key once.
pub(super) fn read_all(server: &Server, record: &Record, keys: u64) {
    (0..keys).chain([GROUP]).for_each(|number| read(server, record, number));
}

/// The revision that an outcome shows.
pub(super) fn rev_of(outcome: Outcome) -> Option<u64> {
    match outcome {
        Outcome::Created(rev) | Outcome::Updated(rev) => rev.map(|rev| rev.0),
        Outcome::Deleted(rev) | Outcome::Mismatch(rev) => Some(rev.0),
        Outcome::Absent => None,
    }
}
