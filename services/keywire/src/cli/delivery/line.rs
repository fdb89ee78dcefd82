//! A line: one write message, with the expiry that is checked before it is sent.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use db::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::cli::client::Failure;

/// The most bytes of an `id`.
const ID_BYTES_MAX: usize = 128;

/// A line that can be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Counted from 1. Blank lines count.
    pub(crate) number: u64,
    pub(crate) text: Utf8Bytes,
    /// When the entry expires, in microseconds since 1970. Known only for a set that the server accepts otherwise.
    expires_at: Option<u64>,
    /// How much input ends with this line: bytes of a file, or the number of rows or keys. For the progress line.
    pub(crate) end: u64,
}

/// A line that cannot be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    pub(crate) number: u64,
    pub(crate) why: String,
    pub(crate) end: u64,
}

/// Lines that were read together, or why no more can be read.
pub(crate) type Chunk = Result<Vec<Result<Line, BadLine>>, Failure>;

/// The message that deletes a key.
#[derive(Serialize)]
struct Delete<'a> {
    op: &'static str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    if_rev: Option<u64>,
}

/// The part of a message that names its key.
#[derive(Deserialize)]
struct Keyed<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
}

impl Line {
    pub(crate) fn new(number: u64, text: String, end: u64) -> Self {
        Self { number, expires_at: expires_at(&text), text: text.into(), end }
    }

    /// A delete of `key`; with `if_rev`, only if the key has this revision.
    pub(crate) fn delete(number: u64, key: &str, if_rev: Option<u64>) -> Self {
        let delete = Delete { op: "delete", key, if_rev };
        let text = serde_json::to_string(&delete).expect("strings and numbers are always JSON");
        Self { number, expires_at: None, text: text.into(), end: number }
    }

    /// The key of a line that this process has made, in quotes.
    pub(super) fn quoted_key(&self) -> String {
        let keyed: Keyed<'_> = serde_json::from_str(&self.text).expect("this process has made it");
        format!("\"{}\"", keyed.key.escape_debug())
    }

    /// Whether the entry has expired, by the clock of this machine.
    pub(crate) fn has_expired(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_micros());
        self.expires_at.is_some_and(|at| u128::from(at) <= now)
    }
}

/// The expiry of a set that the server accepts otherwise. Every other line is left to the server: a line that it refuses for
/// another reason must not count as expired.
fn expires_at(text: &str) -> Option<u64> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Set<'a> {
        #[serde(borrow)]
        id: Option<&'a RawValue>,
        #[serde(borrow)]
        op: Option<Cow<'a, str>>,
        #[serde(borrow)]
        key: Cow<'a, str>,
        #[serde(borrow)]
        value: Cow<'a, str>,
        if_rev: Option<u64>,
        ttl: Option<IgnoredAny>,
        #[serde(borrow, rename = "traceparent")]
        _traceparent: Option<Cow<'a, str>>,
        expires_at: u64,
    }
    if !text.contains("\"expires_at\"") {
        return None;
    }
    let set: Set<'_> = serde_json::from_str(text).ok()?;
    let id_fits = set.id.is_none_or(|id| {
        let (id, first) = (id.get(), id.get().as_bytes()[0]);
        id.len() <= ID_BYTES_MAX && (first == b'"' || first == b'-' || first.is_ascii_digit())
    });
    let fits = id_fits
        && set.op.is_none_or(|op| op == "set")
        && (1..=KEY_BYTES_MAX).contains(&set.key.len())
        && set.value.len() <= VALUE_BYTES_MAX
        && set.if_rev.is_none_or(|rev| i64::try_from(rev).is_ok())
        && set.ttl.is_none();
    fits.then_some(set.expires_at)
}

#[cfg(test)]
pub(super) fn line(number: u64, text: &str) -> Line {
    Line::new(number, text.into(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_set_with_a_past_expiry_has_expired() {
        for (text, expired) in [
            (r#"{"key":"k","value":"v","expires_at":1}"#, true),
            (r#"{"expires_at":1,"key":"k","value":"expires_at"}"#, true),
            (r#"{"key":"k","value":"v","expires_at":9000000000000000}"#, false),
            (r#"{"key":"k","value":"v"}"#, false),
            (r#"{"key":"k","value":"v","expires_at":null}"#, false),
            (r#"{"key":"k","value":"v","expires_at":"1"}"#, false),
            (r#"{"key":"k","value":"v","expires_at":-1}"#, false),
            (r#"{"key":"k","value":"v","expires_at":1,"expires_at":1}"#, false),
            (r#"{"key":"k","expires_at":1"#, false),
            (r#"{"id":"7","op":"set","key":"k\n","value":"","if_rev":0,"ttl":null,"expires_at":1}"#, true),
            (r#"{"id":null,"op":null,"key":"k","value":"","if_rev":null,"expires_at":1}"#, true),
            // The server refuses or accepts these whatever the time is.
            (r#"{"op":"delete","key":"k","expires_at":1}"#, false),
            (r#"{"op":"put","key":"k","value":"v","expires_at":1}"#, false),
            (r#"{"key":"","value":"v","expires_at":1}"#, false),
            (r#"{"key":"k","value":1,"expires_at":1}"#, false),
            (r#"{"key":"k","expires_at":1}"#, false),
            (r#"{"key":"k","value":"v","ttl":1,"expires_at":1}"#, false),
            (r#"{"key":"k","value":"v","if_rev":9223372036854775808,"expires_at":1}"#, false),
            (r#"{"id":true,"key":"k","value":"v","expires_at":1}"#, false),
            (r#"{"key":"k","value":"v","traceparent":1,"expires_at":1}"#, false),
            (r#"{"key":"k","key":"k","value":"v","expires_at":1}"#, false),
            (r#"{"key":"k","value":"v","expires_at":1,"ifrev":0}"#, false),
        ] {
            assert_eq!(line(1, text).has_expired(), expired, "{text}");
        }
    }
}
