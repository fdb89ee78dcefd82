//! The texts of the statements of writes, each for a number of rows or keys.

use super::now;
use crate::engine::shapes::list;

/// Adds the fence row of a lane; its age counts from here on.
pub(super) const REGISTER: &str =
    concat!("insert into writers (id, seq, rev) values (?, 0, ", now!(), ") on duplicate key update id = id");

/// Passes a lane's fence and reserves revisions; the last of them comes back as the `last_insert_id`.
pub(super) const FENCE: &str = "update writers set seq = ?, rev = last_insert_id(greatest(rev + ?, \
    cast(unix_timestamp(now(6)) * 1000000 as unsigned))) where id = ? and seq < ?";

/// An instant given as microseconds from now, or as microseconds since 1970, or not at all.
macro_rules! instant {
    () => {
        concat!("coalesce(", now!(), " + ?, ?)")
    };
}

/// What rows become when their key is there. The assignments run in this order, each seeing the ones before it.
const OVERWRITE: &str = concat!(
    " on duplicate key update v = values(v), born = if(expires_at <= ",
    now!(),
    ", last_insert_id(greatest(values(rev), rev + 1)), born), ",
    "rev = if(rev >= values(rev), last_insert_id(rev + 1), values(rev)), ",
    "expires_at = values(expires_at)"
);

/// Keys, their revisions and whether they are live, locked.
pub(super) fn held(keys: usize) -> String {
    format!(
        concat!(
            "select k, rev, coalesce(expires_at > ",
            now!(),
            ", 1) from entries where k in ({}) order by k for update"
        ),
        list("?", keys)
    )
}

/// Whether each row was created by this batch: an entry's first revision is the one it was born with.
pub(super) fn stored(keys: usize) -> String {
    format!("select rev, born = rev from entries where k in ({}) order by k", list("?", keys))
}

/// Rows of keys that have none.
pub(super) fn insert(rows: usize) -> String {
    format!("insert into entries (k, v, rev, born) values {}", list("(?, ?, ?, ?)", rows))
}

/// The same for rows that may expire.
pub(super) fn insert_expiring(rows: usize) -> String {
    let row = concat!("(?, ?, ?, ?, ", instant!(), ")");
    format!("insert into entries (k, v, rev, born, expires_at) values {}", list(row, rows))
}

/// Rows whether or not their keys are there.
pub(super) fn upsert(rows: usize) -> String {
    insert(rows) + OVERWRITE
}

/// The same for rows that may expire.
pub(super) fn upsert_expiring(rows: usize) -> String {
    insert_expiring(rows) + OVERWRITE
}

/// When the sweeper is to look at keys.
pub(super) fn remember(rows: usize) -> String {
    format!(
        "insert into expiries (at, k) values {} on duplicate key update k = values(k)",
        list("(?, ?)", rows)
    )
}
