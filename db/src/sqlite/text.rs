//! The texts of the statements of writes, each for a number of rows or keys.

use super::NOW;
use crate::engine::shapes::list;

/// Keys, their revisions and whether they are live.
pub(super) fn held(keys: usize) -> String {
    let keys = list("?", keys);
    format!("select k, rev, coalesce(expires_at > {NOW}, 1) from entries where k in ({keys}) order by k")
}

/// Rows of keys that have none.
pub(super) fn insert(rows: usize) -> String {
    into_entries(rows, false, "")
}

/// The same for rows that may expire.
pub(super) fn insert_expiring(rows: usize) -> String {
    into_entries(rows, true, "")
}

/// Rows whether or not their keys are there.
pub(super) fn upsert(rows: usize) -> String {
    into_entries(rows, false, &overwrite())
}

/// The same for rows that may expire.
pub(super) fn upsert_expiring(rows: usize) -> String {
    into_entries(rows, true, &overwrite())
}

/// When the sweeper is to look at keys.
pub(super) fn remember(rows: usize) -> String {
    let rows = list("(?, ?)", rows);
    format!("insert into expiries (at, k) values {rows} on conflict (at, k) do nothing")
}

/// The arguments of a row: key, value, revision, and if it may expire, microseconds from now or since 1970.
fn into_entries(rows: usize, may_expire: bool, otherwise: &str) -> String {
    let (columns, arguments) =
        if may_expire { ("k, v, rev, born, expires_at", 5) } else { ("k, v, rev, born", 3) };
    let row = |at| {
        let first = arguments * at + 1;
        let expires_at = if may_expire {
            format!(", coalesce({NOW} + ?{}, ?{})", first + 3, first + 4)
        } else {
            String::new()
        };
        // The revision again as the one it is born with.
        format!("(?{first}, ?{}, ?{}, ?{}{expires_at})", first + 1, first + 2, first + 2)
    };
    let values = (0..rows).map(row).collect::<Vec<_>>().join(", ");
    format!("insert into entries ({columns}) values {values}{otherwise} returning k, rev, born = rev")
}

fn overwrite() -> String {
    format!(
        " on conflict (k) do update set v = excluded.v, rev = max(excluded.rev, rev + 1), \
         born = iif(expires_at <= {NOW}, max(excluded.rev, rev + 1), born), expires_at = excluded.expires_at"
    )
}
