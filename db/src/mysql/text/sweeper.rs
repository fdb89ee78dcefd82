//! The text of the statements of the sweeper.

use crate::engine::shapes::{either, list};

/// Takes the lock of the sweeper. The lock ends with the connection. The name of a lock belongs to the whole server, so this name
/// contains the name of the schema. It is cut at 64 characters, the limit of `MySQL`. Two schemas with the same cut name are swept in turn.
pub(in crate::mysql) const LOCK_SWEEPER: &str =
    "select coalesce(get_lock(left(concat('keywire.sweeper.', schema()), 64), 0), 0)";

pub(in crate::mysql) const RIPE_HINTS: &str =
    "select at, k from expiries where at <= ? order by at, k limit ?";

/// Entries, locked.
pub(in crate::mysql) fn lock_entries(keys: usize) -> String {
    format!(
        concat!("select k, rev, expires_at", by_key!(), "where k in ({}) order by k for update"),
        list("?", keys)
    )
}

pub(in crate::mysql) fn delete_entries(keys: usize) -> String {
    format!("delete from entries where k in ({})", list("?", keys))
}

pub(in crate::mysql) fn delete_hints(hints: usize) -> String {
    format!("delete from expiries where {}", either("at = ? and k = ?", hints))
}

/// Reads without a lock. A scan that locks would wait for every lane, and every lane for the scan. The arguments are the instants before
/// which a row is old, if its lane has committed and if it has not.
pub(in crate::mysql) const OLD_FENCES: &str =
    "select id from writers where rev < ? or (seq = 0 and rev < ?) limit 256";

pub(in crate::mysql) const DELETE_OLD_FENCE: &str =
    "delete from writers where id = ? and (rev < ? or (seq = 0 and rev < ?))";

/// If the process of the sweeper hangs, the server ends its connection after this time, and with it the lock.
pub(in crate::mysql) const RELEASE_LOCK_IF_HUNG: &str = "set wait_timeout = 5";

/// Hints of expiries. The arguments are those of `DueHints`.
pub(in crate::mysql) const URGENT_HINTS: &str =
    "select at, k from expiries where at = ? or at between ? and ? order by at, k limit ?";

/// Other hints. The arguments are those of `DueHints`.
pub(in crate::mysql) const OTHER_HINTS: &str =
    "select at, k from expiries where at <= ? or at = ? order by at, k limit ?";

/// Those of the named hints that exist and that nobody has locked. Locks them.
pub(in crate::mysql) fn take_hints(hints: usize) -> String {
    format!("select at, k from expiries where {} for update skip locked", either("at = ? and k = ?", hints))
}

/// The same for hints of one instant, which is the first argument.
pub(in crate::mysql) fn take_hints_at(keys: usize) -> String {
    format!("select at, k from expiries where at = ? and k in ({}) for update skip locked", list("?", keys))
}

/// Removes hints of one instant, which is the first argument.
pub(in crate::mysql) fn delete_hints_at(keys: usize) -> String {
    format!("delete from expiries where at = ? and k in ({})", list("?", keys))
}

/// Those of the named entries that exist and that nobody has locked. Locks them.
pub(in crate::mysql) fn lock_free_entries(keys: usize) -> String {
    format!(
        concat!("select k, rev, expires_at", by_key!(), "where k in ({}) order by k for update skip locked"),
        list("?", keys)
    )
}
