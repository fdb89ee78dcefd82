//! The write that the members of a message request: one op, or a batch.

use std::collections::HashSet;

use chassis::problem::Code;
use db::{Change, Expiry, Key, KeyError, Op, Rev, Value, Write};
use serde_json::value::RawValue;

use super::limits::{MessageLimits, OPS_MAX, UnknownMembers};
use super::members::{Member, Members, an, quote, type_of};
use super::request::{JsonKey, ReplyKeys};

/// The most seconds of a `ttl`: a hundred years.
const TTL_MAX: u64 = 3_153_600_000;

/// The largest `if_rev` and `expires_at`.
const NUMBER_MAX: u64 = i64::MAX.cast_unsigned();

/// Why the members of a message are not a valid write.
pub(super) struct InvalidRequest {
    pub(super) code: Code,
    pub(super) message: String,
    /// The index of the op of a batch that is invalid, and its key if the key is valid.
    pub(super) op: Option<(usize, Option<JsonKey>)>,
}

impl From<(Code, String)> for InvalidRequest {
    fn from((code, message): (Code, String)) -> Self {
        Self { code, message, op: None }
    }
}

/// The rules for all objects of a message.
pub(super) struct Rules<'a, N> {
    pub(super) limits: MessageLimits,
    pub(super) unknown: UnknownMembers,
    /// Returns the time in microseconds since 1970.
    pub(super) now: &'a N,
}

/// What a message requests.
enum RequestKind {
    One(OpKind),
    Batch,
}

/// What an op does to its key.
enum OpKind {
    Set,
    Delete,
}

/// The write that a message requests, and the keys that its reply names.
pub(super) fn write<N: Fn() -> u64>(
    members: &Members<'_>,
    rules: &Rules<'_, N>,
) -> Result<(Write, ReplyKeys), InvalidRequest> {
    members.check_traceparent()?;
    match kind(members)? {
        RequestKind::Batch => batch(members, rules),
        RequestKind::One(kind) => {
            members.check(Member::Ops).map_err(|message| (Code::BadJson, message))?;
            let op = op(members, &kind, rules)?;
            let key = JsonKey::of(op.key.as_str());
            Ok((Write::One(op), ReplyKeys::One(key)))
        }
    }
}

fn kind(members: &Members<'_>) -> Result<RequestKind, (Code, String)> {
    let Some(raw) = members.given(Member::Op) else { return Ok(RequestKind::One(OpKind::Set)) };
    if type_of(raw) != "string" {
        return Err((Code::BadOp, format!("op must be a string, not {}", an(type_of(raw)))));
    }
    match members.text(Member::Op, Code::BadOp)?.as_str() {
        "set" => Ok(RequestKind::One(OpKind::Set)),
        "delete" => Ok(RequestKind::One(OpKind::Delete)),
        "batch" => Ok(RequestKind::Batch),
        op => Err((Code::UnknownOp, format!("there is no op {}", quote(op)))),
    }
}

/// A set or a delete. A message with more members than a plain set asks for the revision.
fn op<N: Fn() -> u64>(
    members: &Members<'_>,
    kind: &OpKind,
    rules: &Rules<'_, N>,
) -> Result<Op, (Code, String)> {
    let key = key(members, rules.limits)?;
    let change = match kind {
        OpKind::Delete => {
            let alien = [Member::Ttl, Member::ExpiresAt].into_iter().find(|m| members.given(*m).is_some());
            if let Some(member) = alien {
                return Err((Code::BadTtl, format!("a delete has no {}", member.name())));
            }
            Change::Delete
        }
        OpKind::Set => {
            let value = members.text(Member::Value, Code::BadValue)?;
            let value = Value::new(value, rules.limits.value_bytes_max)
                .map_err(|e| (Code::TooLarge, too_large("value", e.len, e.max)))?;
            Change::Set(value, expiry(members, rules.now)?)
        }
    };
    let if_rev = members.number(Member::IfRev, 0..=NUMBER_MAX, Code::BadIfRev)?.map(Rev);
    Ok(Op { key, change, if_rev, asks_rev: !members.is_plain() })
}

fn key(members: &Members<'_>, limits: MessageLimits) -> Result<Key, (Code, String)> {
    let key = Key::new(members.text(Member::Key, Code::BadKey)?, limits.key_bytes_max);
    key.map_err(|error| match error {
        KeyError::Empty => (Code::BadKey, "key must not be empty".into()),
        KeyError::TooLong { len, max } => (Code::TooLarge, too_large("key", len, max)),
    })
}

fn expiry(members: &Members<'_>, now: &impl Fn() -> u64) -> Result<Expiry, (Code, String)> {
    let ttl = members.number(Member::Ttl, 1..=TTL_MAX, Code::BadTtl)?;
    let expires_at = members.number(Member::ExpiresAt, 0..=NUMBER_MAX, Code::BadTtl)?;
    match (ttl, expires_at) {
        (None, None) => Ok(Expiry::Never),
        (Some(seconds), None) => Ok(Expiry::After(seconds)),
        (None, Some(at)) if at > now() => Ok(Expiry::At(at)),
        (None, Some(_)) => {
            Err((Code::BadTtl, "expires_at is not in the future; it counts microseconds since 1970".into()))
        }
        (Some(_), Some(_)) => Err((Code::BadTtl, "ttl and expires_at exclude each other".into())),
    }
}

fn batch<N: Fn() -> u64>(
    members: &Members<'_>,
    rules: &Rules<'_, N>,
) -> Result<(Write, ReplyKeys), InvalidRequest> {
    let alien = [Member::Key, Member::Value, Member::IfRev, Member::Ttl, Member::ExpiresAt];
    if let Some(member) = alien.into_iter().find(|member| members.given(*member).is_some()) {
        let message = format!("{} belongs to the ops of a batch, not to the batch", member.name());
        return Err((Code::BadBatch, message).into());
    }
    let elements = members.array(Member::Ops, OPS_MAX, Code::BadBatch)?;
    let mut seen = HashSet::with_capacity(elements.len());
    let (mut ops, mut keys) = (Vec::with_capacity(elements.len()), Vec::with_capacity(elements.len()));
    for (index, element) in elements.into_iter().enumerate() {
        let (op, id) = element_of_batch(element, rules).map_err(|error| InvalidRequest {
            op: Some((index, error.op.and_then(|(_, key)| key))),
            ..error
        })?;
        let key = JsonKey::of(op.key.as_str());
        if !seen.insert(op.key.clone()) {
            let message = "a batch has each key once".into();
            return Err(InvalidRequest { code: Code::BadBatch, message, op: Some((index, Some(key))) });
        }
        keys.push((key, id));
        ops.push(op);
    }
    Ok((Write::Atomic(ops), ReplyKeys::Batch(keys)))
}

/// One op of a batch, and its `id`.
fn element_of_batch<N: Fn() -> u64>(
    element: &RawValue,
    rules: &Rules<'_, N>,
) -> Result<(Op, Option<Box<RawValue>>), InvalidRequest> {
    if type_of(element) != "object" {
        let message = format!("an op must be an object, not {}", an(type_of(element)));
        return Err((Code::BadBatch, message).into());
    }
    let invalid = |members: &Members<'_>, code, message| {
        let key = key(members, rules.limits).ok();
        InvalidRequest { code, message, op: key.map(|key| (0, Some(JsonKey::of(key.as_str())))) }
    };
    let members = Members::of(element.get(), rules.unknown).map_err(|bad| match bad.code {
        Code::BadMember => invalid(&bad.read, bad.code, bad.message),
        _ => (bad.code, bad.message).into(),
    })?;
    let with_key = |(code, message)| invalid(&members, code, message);
    let id = members.id().map_err(|message| with_key((Code::BadId, message)))?;
    members.check_traceparent().map_err(with_key)?;
    let op = match kind(&members).map_err(with_key)? {
        RequestKind::Batch => {
            return Err(with_key((Code::BadBatch, "a batch cannot be inside a batch".into())));
        }
        RequestKind::One(kind) => op(&members, &kind, rules).map_err(with_key)?,
    };
    Ok((op, id.map(ToOwned::to_owned)))
}

fn too_large(what: &str, len: usize, max: usize) -> String {
    format!("{what} has {len} bytes; at most {max} are allowed")
}
