//! The protocol of the socket: parses messages, and formats replies. Pure.

mod escapes;
mod limits;
mod members;
mod ops;
mod reading;
mod reply;
mod request;

use chassis::problem::{Code, Problem};
use serde_json::value::RawValue;

pub use self::limits::{MessageLimits, UnknownMembers};
use self::members::Members;
pub use self::reply::{binary, not_written, written};
pub use self::request::{Envelope, RefusedRequest, WriteRequest};

/// Parses one message. `unknown` says whether unknown members are ignored or refused. `now` returns the time in microseconds since 1970,
/// and is called only for a message with `expires_at`.
///
/// # Errors
/// The refusal, with its reply.
pub fn parse(
    text: &str,
    limits: MessageLimits,
    unknown: UnknownMembers,
    now: impl Fn() -> u64,
) -> Result<WriteRequest, RefusedRequest> {
    let refuse = |id: Option<&RawValue>, code, message: String| RefusedRequest {
        problem: Problem::new(code, message),
        id: id.map(ToOwned::to_owned),
        op: None,
    };
    let members = Members::of(text, unknown).map_err(|bad| refuse(bad.id(), bad.code, bad.message))?;
    let id = match members.id() {
        Ok(id) => id.map(ToOwned::to_owned),
        Err(message) => return Err(refuse(None, Code::BadId, message)),
    };
    let rules = ops::Rules { limits, unknown, now: &now };
    match ops::write(&members, &rules) {
        Ok((write, keys)) => Ok(WriteRequest { write, envelope: Envelope { id, keys } }),
        Err(ops::InvalidRequest { code, message, op }) => {
            Err(RefusedRequest { problem: Problem::new(code, message), id, op })
        }
    }
}

#[cfg(test)]
mod tests;
