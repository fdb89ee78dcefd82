//! The members of a message: each once, each of its type.

use std::collections::HashSet;
use std::fmt;

use chassis::problem::Code;
use db::{Key, KeyError, Set, Value};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Limits;
use super::escapes::lone_surrogate;

/// The most bytes of an `id` as sent.
const ID_BYTES_MAX: usize = 128;

/// How many characters of a client's own words an error repeats.
const QUOTE_CHARS_MAX: usize = 64;

/// The members of a message that mean something, each as sent.
#[derive(Default)]
pub(super) struct Members<'a> {
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
    /// The members of `text`, which must be one object; what is wrong with it otherwise.
    pub(super) fn of(text: &'a str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| match text.trim_start().as_bytes().first() {
            Some(b'{') | None => format!("not one JSON object: {error}"),
            Some(_) if error.is_data() => "not one JSON object: it is no object".into(),
            Some(_) => format!("not one JSON object: {error}"),
        })
    }

    /// A member that is there and not `null`.
    fn given(&self, at: usize) -> Option<&'a RawValue> {
        self.known[at].filter(|raw| raw.get() != "null")
    }

    /// The `id`, if there is one.
    pub(super) fn id(&self) -> Result<Option<Box<RawValue>>, String> {
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

    /// The write the message asks for.
    pub(super) fn set(&self, limits: Limits) -> Result<Set, (Code, String)> {
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
            if lone_surrogate(raw.get()) {
                return Err(M::Error::custom(format!(
                    "member {} holds half a surrogate pair",
                    quote(name.text())
                )));
            }
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

/// The name of a member; the ones we know cost no allocation.
enum Name {
    Known(usize),
    Unknown(String),
}

impl Name {
    fn text(&self) -> &str {
        match self {
            Self::Known(at) => NAMES[*at],
            Self::Unknown(name) => name,
        }
    }
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
