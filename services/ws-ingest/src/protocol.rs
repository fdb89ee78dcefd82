//! The messages of the socket: text to a write, what became of it to text. Pure.

mod escapes;
mod limits;
mod members;
mod ops;
mod reply;
mod request;

use chassis::problem::{Code, Problem};

pub use self::limits::Limits;
use self::members::Members;
pub use self::reply::{binary, not_written, written};
pub use self::request::{Asked, Envelope, Refused};

/// Reads one message. `now` tells the time in microseconds since 1970; it is asked only when an instant must be in the future.
///
/// # Errors
/// [`Refused`] carries the reply; nothing of the message is applied.
pub fn parse(text: &str, limits: Limits, now: impl Fn() -> u64) -> Result<Asked, Refused> {
    let refuse = |id, code, message: String| Refused { problem: Problem::new(code, message), id, op: None };
    let members = Members::of(text).map_err(|message| refuse(None, Code::BadJson, message))?;
    let id = match members.id() {
        Ok(id) => id.map(ToOwned::to_owned),
        Err(message) => return Err(refuse(None, Code::BadId, message)),
    };
    match ops::write(&members, limits, &now) {
        Ok((write, about)) => Ok(Asked { write, envelope: Envelope { id, about } }),
        Err(ops::Wrong { code, message, op }) => {
            Err(Refused { problem: Problem::new(code, message), id, op })
        }
    }
}

#[cfg(test)]
mod tests;
