//! The members of a message: each is there at most once, and has the type that it must have.

use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;

use chassis::problem::Code;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::escapes::lone_surrogate;

/// The most bytes of an `id` as sent.
const ID_BYTES_MAX: usize = 128;

/// The most characters of a client's text that an error repeats.
const QUOTE_CHARS_MAX: usize = 64;

/// The known members of a message, each as sent.
#[derive(Default)]
pub(super) struct Members<'a> {
    known: [Option<&'a RawValue>; Member::ALL.len()],
}

/// A known member. As a number it is the index in [`Members::known`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    Id,
    Op,
    Key,
    Value,
    IfRev,
    Ttl,
    ExpiresAt,
    Ops,
}

impl Member {
    const ALL: [Self; 8] =
        [Self::Id, Self::Op, Self::Key, Self::Value, Self::IfRev, Self::Ttl, Self::ExpiresAt, Self::Ops];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Op => "op",
            Self::Key => "key",
            Self::Value => "value",
            Self::IfRev => "if_rev",
            Self::Ttl => "ttl",
            Self::ExpiresAt => "expires_at",
            Self::Ops => "ops",
        }
    }

    /// Whether a message with this member is more than a plain set.
    fn adds(self) -> bool {
        match self {
            Self::Key | Self::Value => false,
            Self::Id | Self::Op | Self::IfRev | Self::Ttl | Self::ExpiresAt | Self::Ops => true,
        }
    }
}

impl<'a> Members<'a> {
    /// Parses `text`, which must be one JSON object. The error is the sentence of the reply.
    pub(super) fn of(text: &'a str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| match text.trim_start().as_bytes().first() {
            Some(b'{') | None => format!("not one JSON object: {error}"),
            Some(_) if error.is_data() => "not one JSON object: it is no object".into(),
            Some(_) => format!("not one JSON object: {error}"),
        })
    }

    /// The value of a member; `None` if it is missing or `null`.
    pub(super) fn given(&self, member: Member) -> Option<&'a RawValue> {
        self.known[member as usize].filter(|raw| raw.get() != "null")
    }

    /// The `id`; `None` if it is missing or `null`.
    pub(super) fn id(&self) -> Result<Option<&'a RawValue>, String> {
        let Some(raw) = self.given(Member::Id) else { return Ok(None) };
        if !matches!(type_of(raw), "string" | "number") {
            return Err(format!("id must be a string or a number, not {}", an(type_of(raw))));
        }
        if raw.get().len() > ID_BYTES_MAX {
            let len = raw.get().len();
            return Err(format!("id has {len} bytes; at most {ID_BYTES_MAX} are allowed"));
        }
        Ok(Some(raw))
    }

    /// Whether the message is a plain set: it has no known members but `key` and `value`.
    pub(super) fn is_plain(&self) -> bool {
        Member::ALL.into_iter().filter(|member| member.adds()).all(|member| self.given(member).is_none())
    }

    /// Checks the strings inside a member that the parser skipped.
    pub(super) fn check(&self, member: Member) -> Result<(), String> {
        match self.known[member as usize] {
            Some(raw) if lone_surrogate(raw.get()) => {
                Err(format!("not one JSON object: {}", half_a_pair(member.name())))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The value of a member that must be a string.
    pub(super) fn text(&self, member: Member, code: Code) -> Result<String, (Code, String)> {
        let name = member.name();
        let Some(raw) = self.known[member as usize] else { return Err((code, format!("{name} is missing"))) };
        if type_of(raw) != "string" {
            return Err((code, format!("{name} must be a string, not {}", an(type_of(raw)))));
        }
        // Lone surrogates were refused when the message was parsed, so this does not fail.
        serde_json::from_str(raw.get()).map_err(|e| (Code::BadJson, format!("not one JSON object: {e}")))
    }

    /// The value of an optional member that must be a whole number in `range`.
    pub(super) fn number(
        &self,
        member: Member,
        range: RangeInclusive<u64>,
        code: Code,
    ) -> Result<Option<u64>, (Code, String)> {
        let name = member.name();
        let Some(raw) = self.given(member) else { return Ok(None) };
        if type_of(raw) != "number" {
            return Err((code, format!("{name} must be a number, not {}", an(type_of(raw)))));
        }
        match raw.get().parse::<u64>() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => {
                let (min, max) = range.into_inner();
                Err((code, format!("{name} must be a whole number from {min} to {max}")))
            }
        }
    }

    /// The elements of a member that must be an array.
    pub(super) fn array(&self, member: Member, code: Code) -> Result<Vec<&'a RawValue>, (Code, String)> {
        let name = member.name();
        let Some(raw) = self.known[member as usize] else { return Err((code, format!("{name} is missing"))) };
        if type_of(raw) != "array" {
            return Err((code, format!("{name} must be an array, not {}", an(type_of(raw)))));
        }
        serde_json::from_str(raw.get()).map_err(|e| (Code::BadJson, format!("not one JSON object: {e}")))
    }
}

fn half_a_pair(member: &str) -> String {
    format!("member {} holds half a surrogate pair", quote(member))
}

/// The JSON type of a value. Its first byte tells.
pub(super) fn type_of(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'"') => "string",
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}

pub(super) fn an(kind: &str) -> String {
    match kind {
        "null" => kind.into(),
        "object" | "array" => format!("an {kind}"),
        _ => format!("a {kind}"),
    }
}

/// The beginning of a client's text, for an error message.
pub(super) fn quote(word: &str) -> String {
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
        while let Some(name) = map.next_key::<MemberName>()? {
            let raw: &RawValue = map.next_value()?;
            // The ops of a batch are checked one by one, later.
            if !matches!(name, MemberName::Known(Member::Ops)) && lone_surrogate(raw.get()) {
                return Err(M::Error::custom(half_a_pair(name.text())));
            }
            let twice = match name {
                MemberName::Known(member) => {
                    members.known[member as usize].replace(raw).map(|_| member.name().to_owned())
                }
                MemberName::Unknown(name) if unknown.contains(&name) => Some(name),
                MemberName::Unknown(name) => {
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

/// The name of a member. A known name needs no allocation.
enum MemberName {
    Known(Member),
    Unknown(String),
}

impl MemberName {
    fn text(&self) -> &str {
        match self {
            Self::Known(member) => member.name(),
            Self::Unknown(name) => name,
        }
    }
}

impl<'de> Deserialize<'de> for MemberName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = MemberName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a member")
            }

            fn visit_str<E>(self, name: &str) -> Result<MemberName, E> {
                let known = Member::ALL.into_iter().find(|known| known.name() == name);
                Ok(known.map_or_else(|| MemberName::Unknown(name.to_owned()), MemberName::Known))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}
