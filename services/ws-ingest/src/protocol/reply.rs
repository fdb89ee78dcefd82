//! Formats replies: the members in the contract's order, without blanks.

use chassis::problem::{Code, Problem};
use db::{Outcome, Refusal, Rev, WriteOutcome};
use serde_json::value::RawValue;

use super::limits::RESULT_BYTES;
use super::request::{Envelope, JsonKey, RefusedRequest, ReplyKeys};

/// The reply to a write that was committed, or whose condition is false.
///
/// # Panics
/// If `outcome` is not the outcome of the message of `envelope`.
#[must_use]
pub fn written(envelope: &Envelope, outcome: &WriteOutcome) -> String {
    let id = envelope.id.as_deref();
    let mut reply = String::with_capacity(envelope.reply_bytes());
    match (&envelope.keys, outcome) {
        (ReplyKeys::One(key), WriteOutcome::One(outcome)) => push_outcome(&mut reply, key, id, *outcome),
        (ReplyKeys::Batch(keys), WriteOutcome::All(outcomes)) => push_batch(&mut reply, id, keys, outcomes),
        (ReplyKeys::Batch(keys), WriteOutcome::Mismatch { index, rev }) => {
            let (key, _) = &keys[*index];
            push_mismatch(&mut reply, key, id, *rev);
            reply.pop();
            push_op(&mut reply, *index, Some(key));
            reply.push('}');
        }
        (ReplyKeys::One(_), WriteOutcome::All(_) | WriteOutcome::Mismatch { .. }) => {
            panic!("a message of one op got the outcome of a batch")
        }
        (ReplyKeys::Batch(_), WriteOutcome::One(_)) => {
            panic!("a batch got the outcome of a message of one op")
        }
    }
    reply
}

/// The reply to a write that was refused.
#[must_use]
pub fn not_written(envelope: Envelope, refusal: Refusal) -> RefusedRequest {
    let (code, message) = match refusal {
        Refusal::Unavailable => {
            (Code::Unavailable, "the database is not available; nothing was written, send it again")
        }
        Refusal::Overloaded => (
            Code::Overloaded,
            "the write waited too long: too many writes wait, or its key is locked; nothing was written, send it again",
        ),
        Refusal::OutcomeUnknown => {
            (Code::OutcomeUnknown, "the database did not answer; the write may or may not be stored")
        }
        Refusal::Unwritable => (
            Code::Internal,
            "the database cannot write this key; nothing was written, and sending it again does not help",
        ),
    };
    RefusedRequest { problem: Problem::new(code, message), id: envelope.id, op: None }
}

/// The reply to a binary message.
#[must_use]
pub fn binary() -> RefusedRequest {
    let message = "binary messages are not understood; send JSON as text";
    RefusedRequest { problem: Problem::new(Code::BadFrame, message), id: None, op: None }
}

impl Envelope {
    /// The capacity to reserve for the reply.
    fn reply_bytes(&self) -> usize {
        match &self.keys {
            ReplyKeys::One(JsonKey(key)) => key.len() + RESULT_BYTES,
            ReplyKeys::Batch(keys) => keys.iter().map(|(JsonKey(key), _)| key.len() + RESULT_BYTES / 2).sum(),
        }
    }
}

impl RefusedRequest {
    /// The reply.
    #[must_use]
    pub fn reply(&self) -> String {
        let mut reply = self.problem.body();
        if self.id.is_some() || self.op.is_some() {
            reply.pop();
            push_id(&mut reply, self.id.as_deref());
            if let Some((index, key)) = &self.op {
                push_op(&mut reply, *index, key.as_ref());
            }
            reply.push('}');
        }
        reply
    }
}

fn push_outcome(reply: &mut String, key: &JsonKey, id: Option<&RawValue>, outcome: Outcome) {
    let JsonKey(text) = key;
    let (did, rev) = match outcome {
        Outcome::Created(rev) => ("created", rev),
        Outcome::Updated(rev) => ("updated", rev),
        Outcome::Deleted(rev) => ("deleted", Some(rev)),
        Outcome::Absent => {
            push_parts(reply, &[r#"{"message":"No value found for key "#, text, r#"","status":404"#]);
            push_id(reply, id);
            return reply.push('}');
        }
        Outcome::Mismatch(rev) => return push_mismatch(reply, key, id, rev),
    };
    push_parts(reply, &[r#"{"message":""#, text, " ", did, r#"","status":200"#]);
    push_id(reply, id);
    push_rev(reply, rev);
    reply.push('}');
}

fn push_mismatch(reply: &mut String, JsonKey(key): &JsonKey, id: Option<&RawValue>, rev: Rev) {
    let code = Code::RevMismatch;
    push_parts(reply, &[r#"{"message":"rev mismatch for key "#, key, r#"","status":"#]);
    reply.push_str(itoa::Buffer::new().format(code.status()));
    push_parts(reply, &[r#","code":""#, code.as_str(), "\""]);
    push_id(reply, id);
    push_rev(reply, Some(rev));
    reply.push('}');
}

fn push_batch(
    reply: &mut String,
    id: Option<&RawValue>,
    keys: &[(JsonKey, Option<Box<RawValue>>)],
    outcomes: &[Outcome],
) {
    assert_eq!(outcomes.len(), keys.len(), "every op of a batch has one outcome");
    let ops = if outcomes.len() == 1 { " op" } else { " ops" };
    reply.push_str(r#"{"message":""#);
    reply.push_str(itoa::Buffer::new().format(outcomes.len()));
    push_parts(reply, &[ops, r#" committed","status":200"#]);
    push_id(reply, id);
    push_rev(reply, outcomes.iter().copied().filter_map(Outcome::rev).max());
    reply.push_str(r#","results":["#);
    for (at, ((key, id), outcome)) in keys.iter().zip(outcomes).enumerate() {
        if at > 0 {
            reply.push(',');
        }
        push_outcome(reply, key, id.as_deref(), *outcome);
    }
    reply.push_str("]}");
}

fn push_id(reply: &mut String, id: Option<&RawValue>) {
    if let Some(id) = id {
        push_parts(reply, &[r#","id":"#, id.get()]);
    }
}

fn push_rev(reply: &mut String, rev: Option<Rev>) {
    if let Some(Rev(rev)) = rev {
        push_parts(reply, &[r#","rev":"#, itoa::Buffer::new().format(rev)]);
    }
}

fn push_op(reply: &mut String, index: usize, key: Option<&JsonKey>) {
    if let Some(JsonKey(key)) = key {
        push_parts(reply, &[r#","key":""#, key, "\""]);
    }
    push_parts(reply, &[r#","index":"#, itoa::Buffer::new().format(index)]);
}

fn push_parts(reply: &mut String, parts: &[&str]) {
    reply.extend(parts.iter().copied());
}

#[cfg(test)]
mod tests;
