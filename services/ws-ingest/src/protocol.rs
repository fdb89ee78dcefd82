//! The messages of the socket: text to a write, what became of it to text. Pure.

mod escapes;
mod members;
mod ops;
mod reply;

use chassis::problem::{Code, Problem};
use db::Write;
use serde_json::value::RawValue;

use self::members::Members;
pub use self::reply::{binary, not_written, written};

/// The limits of one write, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes of a key.
    pub key_bytes_max: usize,
    /// The most bytes of a value.
    pub value_bytes_max: usize,
}

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
    id: Option<Box<RawValue>>,
    about: About,
}

/// Whom a reply is about.
#[derive(Debug)]
enum About {
    One(Name),
    /// Each op of a batch, with its own `id`.
    Batch(Vec<(Name, Option<Box<RawValue>>)>),
}

/// A key as JSON text without its quotes.
#[derive(Debug)]
struct Name(String);

/// A message that is answered without being applied.
#[derive(Debug)]
pub struct Refused {
    /// What is wrong with it.
    pub problem: Problem,
    id: Option<Box<RawValue>>,
    /// Which op of a batch it is, and its key if that could be read.
    op: Option<(usize, Option<Name>)>,
}

impl Limits {
    /// The most bytes of a message: in JSON a control character takes six bytes.
    #[must_use]
    pub fn message_bytes_max(&self) -> usize {
        6 * (self.key_bytes_max + self.value_bytes_max) + 4096
    }

    /// The most bytes of a reply, that to a batch: its keys and ids as they came in its message, and what stands around them.
    #[must_use]
    pub fn reply_bytes_max(&self) -> usize {
        self.message_bytes_max() + ops::OPS_MAX * reply::RESULT_BYTES
    }
}

/// Reads one message. `now` tells the time in microseconds since 1970; it is asked only when an instant must be in the future.
///
/// # Errors
/// [`Refused`] carries the reply; nothing of the message is applied.
pub fn parse(text: &str, limits: Limits, now: impl Fn() -> u64) -> Result<Asked, Refused> {
    let refuse = |id, code, message: String| Refused { problem: Problem::new(code, message), id, op: None };
    let members = Members::of(text).map_err(|message| refuse(None, Code::BadJson, message))?;
    let id = match members.id() {
        Ok(id) => id.map(ToOwned::to_owned),
        Err(message) => return Err(refuse(None, Code::BadId, message)),
    };
    match ops::write(&members, limits, &now) {
        Ok((write, about)) => Ok(Asked { write, envelope: Envelope { id, about } }),
        Err(ops::Wrong { code, message, op }) => {
            Err(Refused { problem: Problem::new(code, message), id, op })
        }
    }
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
    fn of(key: &str) -> Self {
        let mut json = serde_json::to_string(key).expect("a string is always JSON");
        json.pop();
        json.remove(0);
        Self(json)
    }
}

#[cfg(test)]
mod tests;
