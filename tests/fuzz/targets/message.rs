//! Any text on the socket is a write or a refusal, and every reply to it is byte for byte as the contract says.

#![no_main]

use db::{Change, Expiry, Op, Outcome, Refusal, Rev, WriteOutcome, Write};
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use ws_ingest::protocol::{
    MessageLimits, RefusedRequest, UnknownMembers, WriteRequest, not_written, parse, written,
};

const LIMITS: MessageLimits = MessageLimits { key_bytes_max: 512, value_bytes_max: 1024 * 1024 };

/// The time at which the messages arrive.
const NOW: u64 = 1_800_000_000_000_000;

/// A reply: its members in the order of the contract, and no others.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Reply<'a> {
    message: String,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rev: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    results: Option<Vec<Reply<'a>>>,
}

/// The part of a message that its reply repeats.
#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

fuzz_target!(|text: &str| {
    let strict = parse(text, LIMITS, UnknownMembers::Refused, || NOW);
    match parse(text, LIMITS, UnknownMembers::Ignored, || NOW) {
        Ok(request) => {
            // To refuse unknown members changes nothing else.
            match strict {
                Ok(strict) => assert_eq!(strict.write, request.write),
                Err(refused) => assert_eq!(refused.problem.code.as_str(), "bad_member"),
            }
            accepted(text, request);
        }
        Err(refused) => assert!(matches!(refusal(text, &refused), 400 | 413 | 422)),
    }
});

fn accepted(text: &str, request: WriteRequest) {
    let ops = request.write.ops();
    assert!((1..=1000).contains(&request.ops()));
    assert!(ops.iter().all(|op| op.key.as_str().len() <= LIMITS.key_bytes_max));
    let again = parse(&message(&request.write).to_string(), LIMITS, UnknownMembers::Refused, || NOW);
    assert_eq!(again.map(|again| again.write).map_err(|refused| refused.problem), Ok(request.write.clone()));

    let Sent { id } = serde_json::from_str(text).expect("it was read before");
    for settled in outcomes(&request.write) {
        let reply = written(&request.envelope, &settled);
        let reply = read(&reply);
        assert_eq!(reply.id.map(RawValue::get), id.map(RawValue::get));
        match settled {
            WriteOutcome::One(outcome) => answers(&reply, &ops[0], outcome),
            WriteOutcome::All(outcomes) => {
                let results = reply.results.expect("a batch has results");
                assert_eq!((reply.status, results.len(), ops.len()), (200, outcomes.len(), outcomes.len()));
                assert_eq!(reply.rev, results.iter().filter_map(|result| result.rev).max());
                ops.iter()
                    .zip(outcomes)
                    .zip(results)
                    .for_each(|((op, outcome), result)| answers(&result, op, outcome));
            }
            WriteOutcome::Mismatch { index, rev: Rev(rev) } => {
                assert_eq!((reply.status, reply.index, reply.rev), (412, Some(index), Some(rev)));
                assert_eq!(reply.key.as_deref(), Some(ops[index].key.as_str()));
            }
        }
    }
    let refused = not_written(request.envelope, Refusal::Overloaded);
    assert_eq!(refusal(text, &refused), 503);
}

/// The message that requests this write.
fn message(write: &Write) -> Value {
    match write {
        Write::One(op) => one(op),
        Write::Atomic(ops) => json!({ "op": "batch", "ops": ops.iter().map(one).collect::<Vec<_>>() }),
    }
}

fn one(op: &Op) -> Value {
    let mut message = json!({ "key": op.key.as_str() });
    match &op.change {
        Change::Delete => message["op"] = "delete".into(),
        Change::Set(value, expiry) => {
            message["value"] = value.as_str().into();
            match expiry {
                Expiry::Never => {}
                Expiry::After(seconds) => message["ttl"] = (*seconds).into(),
                Expiry::At(instant) => message["expires_at"] = (*instant).into(),
            }
            if op.asks_rev {
                message["op"] = "set".into();
            }
        }
    }
    if let Some(Rev(rev)) = op.if_rev {
        message["if_rev"] = rev.into();
    }
    message
}

/// The possible outcomes of a write, one of each kind.
fn outcomes(write: &Write) -> Vec<WriteOutcome> {
    let rev = write.shows_rev().then_some(Rev(7));
    let done = |op: &Op, created: bool| match &op.change {
        Change::Delete if created => Outcome::Absent,
        Change::Delete => Outcome::Deleted(Rev(u64::MAX)),
        Change::Set(_, _) if created => Outcome::Created(rev),
        Change::Set(_, _) => Outcome::Updated(rev),
    };
    match write {
        Write::One(op) => vec![done(op, true), done(op, false), Outcome::Mismatch(Rev(0))]
            .into_iter()
            .map(WriteOutcome::One)
            .collect(),
        Write::Atomic(ops) => {
            let all = |created| WriteOutcome::All(ops.iter().map(|op| done(op, created)).collect());
            vec![all(true), all(false), WriteOutcome::Mismatch { index: ops.len() - 1, rev: Rev(8) }]
        }
    }
}

/// Checks that `reply` shows the `outcome` of `op`.
fn answers(reply: &Reply<'_>, op: &Op, outcome: Outcome) {
    let key = op.key.as_str();
    let (status, message, rev) = match outcome {
        Outcome::Created(rev) => (200, format!("{key} created"), rev),
        Outcome::Updated(rev) => (200, format!("{key} updated"), rev),
        Outcome::Deleted(rev) => (200, format!("{key} deleted"), Some(rev)),
        Outcome::Absent => (404, format!("No value found for key {key}"), None),
        Outcome::Mismatch(rev) => (412, format!("rev mismatch for key {key}"), Some(rev)),
    };
    assert_eq!((reply.status, &reply.message, reply.rev.map(Rev)), (status, &message, rev));
}

/// The status of the reply to a message that is refused.
fn refusal(text: &str, refused: &RefusedRequest) -> u16 {
    let reply = refused.reply();
    let reply = read(&reply);
    assert_eq!(reply.code.as_deref(), Some(refused.problem.code.as_str()));
    assert!(reply.id.is_none_or(|id| text.contains(id.get())), "an id that was not sent");
    reply.status
}

/// Parses a reply.
fn read(text: &str) -> Reply<'_> {
    assert!(text.len() <= LIMITS.reply_bytes_max());
    let reply: Reply<'_> = serde_json::from_str(text).expect("a reply is one JSON object");
    assert_eq!(serde_json::to_string(&reply).expect("as it was read"), text);
    reply
}
