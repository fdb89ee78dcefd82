//! The messages of the socket: text to a write, outcome to text. Pure.

use std::collections::HashSet;
use std::fmt;

use chassis::problem::{Code, Problem};
use db::{Key, KeyError, Outcome, Refusal, Set, Value};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The most bytes of an `id` as sent.
const ID_BYTES_MAX: usize = 128;

/// How many characters of a client's own words an error repeats.
const QUOTE_CHARS_MAX: usize = 64;

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
    let members: Members<'_> = serde_json::from_str(text)
        .map_err(|e| refuse(None, Code::BadJson, format!("not one JSON object: {e}")))?;
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

/// The members of a message that mean something, each as sent.
#[derive(Default)]
struct Members<'a> {
    known: [Option<&'a RawValue>; NAMES.len()],
}

/// Members of a message, by their place in [`Members::known`].
const NAMES: [&str; 7] = ["id", "op", "key", "value", "if_rev", "ttl", "expires_at"];
const ID: usize = 0;
const OP: usize = 1;
const KEY: usize = 2;
const VALUE: usize = 3;
const IF_REV: usize = 4;
const TTL: usize = 5;
const EXPIRES_AT: usize = 6;

impl<'a> Members<'a> {
    /// A member that is there and not `null`.
    fn given(&self, at: usize) -> Option<&'a RawValue> {
        self.known[at].filter(|raw| raw.get() != "null")
    }

    fn id(&self) -> Result<Option<Box<RawValue>>, String> {
        let Some(raw) = self.given(ID) else { return Ok(None) };
        if !matches!(type_of(raw), "string" | "number") {
            return Err(format!("id must be a string or a number, not {}", an(type_of(raw))));
        }
        if raw.get().len() > ID_BYTES_MAX {
            let len = raw.get().len();
            return Err(format!("id has {len} bytes; at most {ID_BYTES_MAX} are allowed"));
        }
        Ok(Some(raw.to_owned()))
    }

    fn set(&self, limits: Limits) -> Result<Set, (Code, String)> {
        self.check_op()?;
        let later = [(IF_REV, Code::BadIfRev), (TTL, Code::BadTtl), (EXPIRES_AT, Code::BadTtl)];
        for (at, code) in later {
            if self.given(at).is_some() {
                return Err((code, format!("{} is not supported by this version", NAMES[at])));
            }
        }
        let key = self.text(KEY, Code::BadKey)?;
        let value = self.text(VALUE, Code::BadValue)?;
        let key = Key::new(key, limits.key_bytes_max).map_err(|e| match e {
            KeyError::Empty => (Code::BadKey, "key must not be empty".into()),
            KeyError::TooLong { len, max } => (Code::TooLarge, too_large("key", len, max)),
        })?;
        let value = Value::new(value, limits.value_bytes_max)
            .map_err(|e| (Code::TooLarge, too_large("value", e.len, e.max)))?;
        let shows_rev = self.given(ID).or(self.given(OP)).is_some();
        Ok(Set { key, value, shows_rev })
    }

    fn check_op(&self) -> Result<(), (Code, String)> {
        let Some(raw) = self.given(OP) else { return Ok(()) };
        if type_of(raw) != "string" {
            return Err((Code::BadOp, format!("op must be a string, not {}", an(type_of(raw)))));
        }
        match self.text(OP, Code::BadOp)?.as_str() {
            "set" => Ok(()),
            op @ ("delete" | "batch") => {
                Err((Code::UnknownOp, format!("op {op} is not supported by this version")))
            }
            op => Err((Code::UnknownOp, format!("there is no op {}", quote(op)))),
        }
    }

    /// A member that must be a string.
    fn text(&self, at: usize, code: Code) -> Result<String, (Code, String)> {
        let name = NAMES[at];
        let Some(raw) = self.known[at] else { return Err((code, format!("{name} is missing"))) };
        if type_of(raw) != "string" {
            return Err((code, format!("{name} must be a string, not {}", an(type_of(raw)))));
        }
        // Strings were checked when the message was read, so this cannot fail.
        serde_json::from_str(raw.get()).map_err(|e| (Code::BadJson, format!("not one JSON object: {e}")))
    }
}

fn too_large(what: &str, len: usize, max: usize) -> String {
    format!("{what} has {len} bytes; at most {max} are allowed")
}

/// The JSON type of a value by its first byte.
fn type_of(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'"') => "string",
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}

fn an(kind: &str) -> String {
    match kind {
        "null" => kind.into(),
        "object" | "array" => format!("an {kind}"),
        _ => format!("a {kind}"),
    }
}

/// A client's own word as an error repeats it.
fn quote(word: &str) -> String {
    word.chars().take(QUOTE_CHARS_MAX).collect()
}

/// `text` as a JSON string.
fn json_text(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with key and value")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members<'de>, M::Error> {
        let mut members = Members::default();
        let mut unknown = HashSet::new();
        while let Some(name) = map.next_key::<Name>()? {
            let raw: &RawValue = map.next_value()?;
            check_strings(raw).map_err(M::Error::custom)?;
            let twice = match name {
                Name::Known(at) => members.known[at].replace(raw).map(|_| NAMES[at].to_owned()),
                Name::Unknown(name) if unknown.contains(&name) => Some(name),
                Name::Unknown(name) => {
                    unknown.insert(name);
                    None
                }
            };
            if let Some(name) = twice {
                return Err(M::Error::custom(format!("member {} stands there twice", quote(&name))));
            }
        }
        Ok(members)
    }
}

/// Refuses a lone surrogate, which is no text, wherever in the value it stands.
fn check_strings(raw: &RawValue) -> Result<(), serde_json::Error> {
    let may_be_surrogate = raw.get().contains("\\ud") || raw.get().contains("\\uD");
    if may_be_surrogate {
        serde_json::from_str::<serde_json::Value>(raw.get())?;
    }
    Ok(())
}

/// The name of a member; the ones we know cost no allocation.
enum Name {
    Known(usize),
    Unknown(String),
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a member")
            }

            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                let known = NAMES.iter().position(|known| *known == name);
                Ok(known.map_or_else(|| Name::Unknown(name.to_owned()), Name::Known))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests;
