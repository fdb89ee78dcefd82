//! The text of the statements that follow the log of changes.

use crate::engine::shapes::list;

/// The row of the store with each fence row, in no order. Without fence rows there is one row all the same. A marker is the first row of its
/// lane in the log.
pub(in crate::sqlite) const STATE: &str = "select store.id, store.retention, store.floor, \
    writers.id, writers.seq, writers.rev, writers.logged, \
    (select iif(octet_length(ks) = 0, seq, 0) from changes where lane = writers.id order by seq, part limit 1) \
    from store left join writers on true where store.one = 0";

/// Rows of the log of a lane after a row. The arguments are the lane, the seq and the part of that row, and the number of rows.
pub(in crate::sqlite) const CHANGES: &str = "select seq, part, ks from changes \
    where lane = ?1 and (seq, part) > (?2, ?3) order by seq, part limit ?4";

/// Rows at the instant of the first argument: those that are live have their values, without values above the size of the second
/// argument, and the sizes of all values.
macro_rules! with_values {
    () => {
        "select k, rev, expires_at, iif(expires_at is null or expires_at > ?1, iif(octet_length(v) <= ?2, v, null), null), \
        iif(expires_at is null or expires_at > ?1, octet_length(v), null) from entries"
    };
}

/// Rows without the column `v`: `SQLite` does not build a long value.
macro_rules! without_values {
    () => {
        "select k, rev, expires_at from entries"
    };
}

/// The rows of keys. The keys are the arguments from the third on, with numbers: the client library would count those without numbers
/// from the first on.
pub(in crate::sqlite) fn rows(keys: usize) -> String {
    let keys = (3..keys + 3).map(|number| format!("?{number}")).collect::<Vec<_>>().join(", ");
    format!(concat!(with_values!(), " where k in ({})"), keys)
}

/// The rows of keys, without values.
pub(in crate::sqlite) fn rows_without_values(keys: usize) -> String {
    format!(concat!(without_values!(), " where k in ({})"), list("?", keys))
}

/// A range of the primary key. The arguments after those of the values are the range and the number of rows.
pub(in crate::sqlite) const RANGE: &str =
    concat!(with_values!(), " where k >= ?3 and k < ?4 order by k limit ?5");

/// A range of the primary key, without values. The arguments are the range and the number of rows.
pub(in crate::sqlite) const RANGE_WITHOUT_VALUES: &str =
    concat!(without_values!(), " where k >= ?1 and k < ?2 order by k limit ?3");
