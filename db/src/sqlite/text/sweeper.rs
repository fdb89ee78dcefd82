//! The text of the statements of the sweeper.

use crate::engine::shapes::{either, list};

pub(in crate::sqlite) const RIPE_HINTS: &str =
    "select at, k from expiries where at between 0 and ? order by at, k limit ?";

pub(in crate::sqlite) fn read_entries(keys: usize) -> String {
    format!("select k, rev, expires_at from entries where k in ({}) order by k", list("?", keys))
}

pub(in crate::sqlite) fn delete_entries(keys: usize) -> String {
    format!("delete from entries where k in ({})", list("?", keys))
}

pub(in crate::sqlite) fn delete_hints(hints: usize) -> String {
    format!("delete from expiries where {}", either("at = ? and k = ?", hints))
}

/// The arguments are the instants before which a row is old, if its lane has committed and if it has not. A row without a revision is of
/// a program before the log of changes: its lane goes on under a new id.
pub(in crate::sqlite) const OLD_FENCES: &str =
    "select id from writers where rev < ?1 or (seq = 0 and rev < ?2) limit 256";

pub(in crate::sqlite) const DELETE_OLD_FENCE: &str =
    "delete from writers where id = ?3 and (rev < ?1 or (seq = 0 and rev < ?2))";

/// Hints of expiries. The arguments are those of `DueHints`.
pub(in crate::sqlite) const URGENT_HINTS: &str =
    "select at, k from expiries where at = ? or at between ? and ? order by at, k limit ?";

/// Other hints. The arguments are those of `DueHints`.
pub(in crate::sqlite) const OTHER_HINTS: &str =
    "select at, k from expiries where at between 0 and ? or at = ? order by at, k limit ?";

/// Those of the named hints that exist.
pub(in crate::sqlite) fn read_hints(hints: usize) -> String {
    format!("select at, k from expiries where {}", either("at = ? and k = ?", hints))
}
