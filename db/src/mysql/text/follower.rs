//! The text of the statements that follow the log of changes.

use crate::engine::shapes::list;

/// The row of the store with each fence row, in no order: a server would sort a temporary table, at each poll. Without fence rows there
/// is one row all the same. A marker is the first row of its lane in the log. Its order names the lane too: else `MySQL` sorts all rows of the lane.
pub(in crate::mysql) const STATE: &str = "select store.id, store.retention, store.floor, \
    writers.id, writers.seq, writers.rev, writers.logged, \
    (select cast(if(length(ks) = 0, changes.seq, 0) as unsigned) from changes where lane = writers.id \
    order by lane, changes.seq, part limit 1) \
    from store left join writers on true where store.one = 0";

/// Rows of the log of a lane after a row. The arguments are the lane, the seq of that row twice, its part, and the number of rows.
/// The condition is not a comparison of pairs, because for such a one `MySQL` reads the lane from its first row on.
pub(in crate::mysql) const CHANGES: &str = "select seq, part, ks from changes \
    where lane = ? and seq >= ? and (seq > ? or part > ?) order by seq, part limit ?";

/// Rows at the instant of the first argument: those that are live have their values, without values above the size of the second
/// argument, and the sizes of all values. The third argument is the instant again.
macro_rules! with_values {
    () => {
        "select k, rev, expires_at, if(expires_at is null or expires_at > ?, if(length(v) <= ?, v, null), null), \
        if(expires_at is null or expires_at > ?, length(v), null) from entries"
    };
}

/// Rows without the column `v`. `InnoDB` stores a long value outside of its row, so the value is not read.
macro_rules! without_values {
    () => {
        "select k, rev, expires_at from entries"
    };
}

/// The rows of keys.
pub(in crate::mysql) fn rows(keys: usize) -> String {
    format!(concat!(with_values!(), " where k in ({})"), list("?", keys))
}

/// The rows of keys, without values.
pub(in crate::mysql) fn rows_without_values(keys: usize) -> String {
    format!(concat!(without_values!(), " where k in ({})"), list("?", keys))
}

/// A range of the primary key.
pub(in crate::mysql) const RANGE: &str =
    concat!(with_values!(), " where k >= ? and k < ? order by k limit ?");

/// All rows from a key on. It has no upper bound for the same reason as [`ALL_RECORDS`](super::ALL_RECORDS).
pub(in crate::mysql) const TO_THE_END: &str = concat!(with_values!(), " where k >= ? order by k limit ?");

/// A range of the primary key, without values.
pub(in crate::mysql) const RANGE_WITHOUT_VALUES: &str =
    concat!(without_values!(), " where k >= ? and k < ? order by k limit ?");

/// All rows from a key on, without values.
pub(in crate::mysql) const TO_THE_END_WITHOUT_VALUES: &str =
    concat!(without_values!(), " where k >= ? order by k limit ?");
