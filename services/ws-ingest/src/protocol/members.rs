//! The members of a message: each is there at most once, and has the type that it must have.

use std::ops::RangeInclusive;

use chassis::problem::Code;
use serde::de::DeserializeSeed as _;
use serde_json::value::RawValue;

use super::escapes::lone_surrogate;
use super::limits::{UNKNOWN_MEMBERS_MAX, UnknownMembers};
use super::reading::{Elements, Reading};

/// The most bytes of an `id` as sent.
const ID_BYTES_MAX: usize = 128;

/// The most characters of a client's text that an error repeats.
const QUOTE_CHARS_MAX: usize = 64;

/// The known members of a message, each as sent.
#[derive(Default)]
pub(super) struct Members<'a> {
    pub(super) known: [Option<&'a RawValue>; Member::ALL.len()],
}

/// Why a text has no valid members.
pub(super) struct BadMembers<'a> {
    pub(super) code: Code,
    pub(super) message: String,
    /// The members before the fault.
    pub(super) read: Box<Members<'a>>,
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
    Traceparent,
}

impl Member {
    pub(super) const ALL: [Self; 9] = [
        Self::Id,
        Self::Op,
        Self::Key,
        Self::Value,
        Self::IfRev,
        Self::Ttl,
        Self::ExpiresAt,
        Self::Ops,
        Self::Traceparent,
    ];

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
            Self::Traceparent => "traceparent",
        }
    }

    /// Whether a message with this member is more than a plain set. Tracing must not change a reply.
    fn adds(self) -> bool {
        match self {
            Self::Key | Self::Value | Self::Traceparent => false,
            Self::Id | Self::Op | Self::IfRev | Self::Ttl | Self::ExpiresAt | Self::Ops => true,
        }
    }
}

impl<'a> Members<'a> {
    /// Parses `text`, which must be one JSON object. Ends at the first fault. After the first unknown member over the limit,
    /// only the known members are read, for the refusal.
    pub(super) fn of(text: &'a str, unknown: UnknownMembers) -> Result<Self, BadMembers<'a>> {
        let mut reading = Reading::new(unknown.max());
        let mut json = serde_json::Deserializer::from_str(text);
        let read = reading.deserialize(&mut json).and_then(|()| json.end());
        let Err(error) = read else { return Ok(reading.members) };
        let (code, message) = match (reading.surplus, text.trim_start().as_bytes().first()) {
            (Some(name), _) => (Code::BadMember, refused_member(&name, unknown)),
            (None, Some(b'{') | None) => (Code::BadJson, format!("not one JSON object: {error}")),
            (None, Some(_)) if error.is_data() => {
                (Code::BadJson, "not one JSON object: it is no object".into())
            }
            (None, Some(_)) => (Code::BadJson, format!("not one JSON object: {error}")),
        };
        Err(BadMembers { code, message, read: Box::new(reading.members) })
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

    /// Whether the message is a plain set: it has no known members but `key`, `value` and `traceparent`.
    pub(super) fn is_plain(&self) -> bool {
        Member::ALL.into_iter().filter(|member| member.adds()).all(|member| self.given(member).is_none())
    }

    /// Checks the type of the `traceparent`. Its text has no effect: the spans of writes belong to no trace of a client.
    pub(super) fn check_traceparent(&self) -> Result<(), (Code, String)> {
        match self.given(Member::Traceparent) {
            Some(raw) if type_of(raw) != "string" => {
                Err((Code::BadMember, format!("traceparent must be a string, not {}", an(type_of(raw)))))
            }
            Some(_) | None => Ok(()),
        }
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
        match whole_number(raw.get()) {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            _ => {
                let (min, max) = range.into_inner();
                Err((code, format!("{name} must be a whole number from {min} to {max}")))
            }
        }
    }

    /// The elements of a member that must be an array of 1 to `max` elements. Reads nothing after the first element over the limit.
    pub(super) fn array(
        &self,
        member: Member,
        max: usize,
        code: Code,
    ) -> Result<Vec<&'a RawValue>, (Code, String)> {
        let name = member.name();
        let Some(raw) = self.known[member as usize] else { return Err((code, format!("{name} is missing"))) };
        if type_of(raw) != "array" {
            return Err((code, format!("{name} must be an array, not {}", an(type_of(raw)))));
        }
        let mut elements = Elements { max, all: Vec::new() };
        // The parser has read this text once, so the only fault is one element too many.
        let is_too_long = elements.deserialize(&mut serde_json::Deserializer::from_str(raw.get())).is_err();
        let count = match elements.all.len() {
            _ if is_too_long => format!("more than {max}"),
            0 => "0".into(),
            _ => return Ok(elements.all),
        };
        Err((code, format!("{name} has {count} elements; 1 to {max} are allowed")))
    }
}

impl<'a> BadMembers<'a> {
    /// The `id`, if the fault is that too many members are not known.
    pub(super) fn id(&self) -> Option<&'a RawValue> {
        match self.code {
            Code::BadMember => self.read.id().ok().flatten(),
            _ => None,
        }
    }
}

/// The message that refuses the unknown member `name`.
fn refused_member(name: &str, unknown: UnknownMembers) -> String {
    let name = quote(name);
    match unknown {
        UnknownMembers::Ignored => format!(
            "member {name} is one unknown member too many; an object may have at most {UNKNOWN_MEMBERS_MAX} unknown members"
        ),
        UnknownMembers::Refused => {
            let advice = nearest(&name).map_or_else(
                || format!("the known members are {}", Member::ALL.map(Member::name).join(", ")),
                |meant| format!("did you mean {}?", meant.name()),
            );
            format!("unknown member {name}; {advice}")
        }
    }
}

/// The known member that `name` probably means: at most one character in three differs, apart from upper and lower case.
fn nearest(name: &str) -> Option<Member> {
    let name = name.to_lowercase();
    let distance = |member: &Member| strsim::osa_distance(&name, member.name());
    let nearest = Member::ALL.into_iter().min_by_key(distance)?;
    let longer = name.chars().count().max(nearest.name().len());
    (distance(&nearest) <= longer.div_ceil(3)).then_some(nearest)
}

pub(super) fn half_a_pair(member: &str) -> String {
    format!("member {} holds half a surrogate pair", quote(member))
}

/// The whole number that `json`, a number of JSON, stands for. 60, 60.0 and 6e1 are the same number: programs that know only floating
/// point write it with a fraction.
fn whole_number(json: &str) -> Option<u64> {
    json.parse().ok().or_else(|| whole_decimal(json))
}

/// As [`whole_number`], for a number with a sign, a fraction or an exponent. Nothing is rounded.
fn whole_decimal(json: &str) -> Option<u64> {
    let (mantissa, exponent) = json.split_once(['e', 'E']).unwrap_or((json, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{}{fraction}", whole.trim_start_matches('-'));
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    if whole.starts_with('-') {
        return None;
    }
    let zeros = i64::try_from(digits.len() - significant.len()).ok()?;
    let places = i64::try_from(fraction.len()).ok()?;
    let power = exponent.parse::<i64>().ok()?.checked_add(zeros)?.checked_sub(places)?;
    let scale = 10u64.checked_pow(u32::try_from(power).ok()?)?;
    significant.parse::<u64>().ok()?.checked_mul(scale)
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
