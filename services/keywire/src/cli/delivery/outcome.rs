//! What a reply says about its line. Pure.

use crate::cli::client::Reply;

use super::{Line, Unit};

/// The final outcome of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The write is committed.
    Written,
    /// The server refused the line.
    Refused,
    /// The entry expired before it was written.
    Expired,
    /// The key was there already, or was written since it was listed. It is left as it is.
    Existing,
    /// The key to delete is gone.
    Gone,
}

/// The outcome of `line`, whose reply is not transient.
pub(super) fn outcome(unit: Unit, line: &Line, reply: &Reply) -> Outcome {
    match (reply.status, reply.code.as_deref(), unit) {
        (404, None, Unit::Key) => Outcome::Gone,
        // Revision 0: the key is absent. Perhaps this delete was applied before, and its reply was lost.
        (412, Some("rev_mismatch"), Unit::Key) if reply.rev == Some(0) => Outcome::Gone,
        (412, Some("rev_mismatch"), Unit::Row | Unit::Key) => Outcome::Existing,
        // The delete of an absent key has nothing left to do.
        (200, _, _) | (404, None, Unit::Line | Unit::Row) => Outcome::Written,
        (_, Some("bad_ttl"), _) if line.has_expired() => Outcome::Expired,
        _ => Outcome::Refused,
    }
}
