//! A message that was read: a write to be done, or why not.

use chassis::problem::Problem;
use db::Write;
use serde_json::value::RawValue;

/// A write as a message asked for it, and what its reply will need.
#[derive(Debug)]
pub struct Asked {
    /// What to do.
    pub write: Write,
    /// How to answer.
    pub envelope: Envelope,
}

/// What a reply repeats of its message.
#[derive(Debug)]
pub struct Envelope {
    /// The `id` byte for byte as sent.
    pub(super) id: Option<Box<RawValue>>,
    pub(super) about: About,
}

/// Whom a reply is about.
#[derive(Debug)]
pub(super) enum About {
    One(Name),
    /// Each op of a batch, with its own `id`.
    Batch(Vec<(Name, Option<Box<RawValue>>)>),
}

/// A key as JSON text without its quotes.
#[derive(Debug)]
pub(super) struct Name(pub(super) String);

/// A message that is answered without being applied.
#[derive(Debug)]
pub struct Refused {
    /// What is wrong with it.
    pub problem: Problem,
    pub(super) id: Option<Box<RawValue>>,
    /// Which op of a batch it is, and its key if that could be read.
    pub(super) op: Option<(usize, Option<Name>)>,
}

impl Asked {
    /// How many ops it counts as.
    #[must_use]
    pub fn ops(&self) -> usize {
        self.write.ops().len()
    }

    /// The same if `may` says yes to each of its keys; otherwise it is refused for the first that it says no to.
    ///
    /// # Errors
    /// [`Refused`] carries the reply; nothing of the message is applied.
    pub fn checked(self, may: impl Fn(&str) -> Result<(), Problem>) -> Result<Self, Refused> {
        let denied = |(index, op): (usize, &db::Op)| Some((index, may(op.key.as_str()).err()?));
        match self.write.ops().iter().enumerate().find_map(denied) {
            Some((index, problem)) => Err(self.refuse(problem, index)),
            None => Ok(self),
        }
    }

    /// Refuses it for its op of this index.
    fn refuse(self, problem: Problem, index: usize) -> Refused {
        let Envelope { id, about } = self.envelope;
        let op = match about {
            About::One(_) => None,
            About::Batch(mut names) => Some((index, Some(names.swap_remove(index).0))),
        };
        Refused { problem, id, op }
    }

    /// Refuses it as a whole.
    #[must_use]
    pub fn refused(self, problem: Problem) -> Refused {
        Refused { problem, id: self.envelope.id, op: None }
    }
}

impl Refused {
    /// Refuses the same message for another reason.
    #[must_use]
    pub fn instead(self, problem: Problem) -> Self {
        Self { problem, id: self.id, op: None }
    }
}

impl Name {
    pub(super) fn of(key: &str) -> Self {
        let mut json = serde_json::to_string(key).expect("a string is always JSON");
        json.pop();
        json.remove(0);
        Self(json)
    }
}
