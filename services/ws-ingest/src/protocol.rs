//! The messages of the socket: text to a write, outcome to text. Pure.

mod escapes;
mod members;

use chassis::problem::{Code, Problem};
use db::{Outcome, Refusal, Set};
use serde_json::value::RawValue;

use self::members::Members;

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
pub struct Write {
    /// What to store.
    pub set: Set,
    /// How to answer.
    pub envelope: Envelope,
}

/// What a reply repeats of its message.
#[derive(Debug, Default)]
pub struct Envelope {
    /// The key as JSON text without its quotes.
    key: String,
    /// The `id` byte for byte as sent.
    id: Option<Box<RawValue>>,
}

/// A message that is answered without being applied.
#[derive(Debug)]
pub struct Refused {
    /// What is wrong with it.
    pub problem: Problem,
    id: Option<Box<RawValue>>,
}

impl Limits {
    /// The most bytes of a message: in JSON a control character takes six bytes.
    #[must_use]
    pub fn message_bytes_max(&self) -> usize {
        6 * (self.key_bytes_max + self.value_bytes_max) + 4096
    }
}

/// Reads one message.
///
/// # Errors
/// [`Refused`] carries the reply; nothing of the message is applied.
pub fn parse(text: &str, limits: Limits) -> Result<Write, Refused> {
    let refuse = |id, code, message: String| Refused { problem: Problem::new(code, message), id };
    let members = Members::of(text).map_err(|message| refuse(None, Code::BadJson, message))?;
    let id = members.id().map_err(|message| refuse(None, Code::BadId, message))?;
    match members.set(limits) {
        Ok(set) => {
            let key = json_text(set.key.as_str());
            let envelope = Envelope { key: key[1..key.len() - 1].to_owned(), id };
            Ok(Write { set, envelope })
        }
        Err((code, message)) => Err(refuse(id, code, message)),
    }
}

/// The reply to a write that was committed.
#[must_use]
pub fn written(envelope: &Envelope, outcome: Outcome) -> String {
    let did = if outcome.created { "created" } else { "updated" };
    let key = &envelope.key;
    let mut reply = format!(r#"{{"message":"{key} {did}","status":200"#);
    push_id(&mut reply, envelope.id.as_deref());
    if let Some(rev) = outcome.rev {
        reply.push_str(r#","rev":"#);
        reply.push_str(&rev.to_string());
    }
    reply.push('}');
    reply
}

/// The reply to a write that was not acknowledged.
#[must_use]
pub fn not_written(envelope: Envelope, refusal: Refusal) -> Refused {
    let (code, message) = match refusal {
        Refusal::Unavailable => {
            (Code::Unavailable, "the database is not available; nothing was written, send it again")
        }
        Refusal::Overloaded => {
            (Code::Overloaded, "too many writes are waiting; nothing was written, send it again")
        }
        Refusal::OutcomeUnknown => {
            (Code::OutcomeUnknown, "the database did not answer; the write may or may not be stored")
        }
    };
    Refused { problem: Problem::new(code, message), id: envelope.id }
}

/// The reply to a message that is no text.
#[must_use]
pub fn binary() -> Refused {
    let message = "binary messages are not understood; send JSON as text";
    Refused { problem: Problem::new(Code::BadFrame, message), id: None }
}

impl Refused {
    /// The reply.
    #[must_use]
    pub fn reply(&self) -> String {
        let mut reply = self.problem.body();
        if self.id.is_some() {
            reply.pop();
            push_id(&mut reply, self.id.as_deref());
            reply.push('}');
        }
        reply
    }
}

fn push_id(reply: &mut String, id: Option<&RawValue>) {
    if let Some(id) = id {
        reply.push_str(r#","id":"#);
        reply.push_str(id.get());
    }
}

/// `text` as a JSON string.
fn json_text(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

#[cfg(test)]
mod tests;
