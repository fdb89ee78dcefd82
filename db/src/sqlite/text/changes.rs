//! The text of the statements of the log of changes.

macro_rules! log_changes {
    () => {
        "insert into changes (lane, seq, part, at, ks) values (?, ?, ?, ?, ?)"
    };
}

/// Adds a part of the keys that a batch wrote.
pub(in crate::sqlite) const LOG_CHANGES: &str = log_changes!();

/// The same for the last part, and commits. One text, because each text is a message to the thread of the connection.
pub(in crate::sqlite) const LOG_AND_COMMIT: &str = concat!(log_changes!(), "; commit");

/// Stores for how long changes are kept, in seconds.
pub(in crate::sqlite) const SET_RETENTION: &str = "update store set retention = ? where one = 0";

pub(in crate::sqlite) const RETENTION: &str = "select retention from store where one = 0";

/// Gives the store another id.
pub(in crate::sqlite) const SET_STORE_ID: &str = "update store set id = ? where one = 0";

/// The first row of the first lane whose id is at least the first argument. A marker counts if it was written before the second argument.
pub(in crate::sqlite) const FIRST_PART: &str = "select lane, seq, part, at, octet_length(ks) from changes \
    where lane >= ? and (octet_length(ks) > 0 or at < ?) order by lane, seq, part limit 1";

/// The rows of a lane behind a row. The arguments are the lane, the seq and the part of the row, and the number of rows.
pub(in crate::sqlite) const PARTS: &str = "select lane, seq, part, at, octet_length(ks) from changes \
    where lane = ? and (seq, part) > (?, ?) order by seq, part limit ?";

/// Removes the first rows of a lane. The arguments are the lane, and the seq and the part of the last row.
pub(in crate::sqlite) const DELETE_PARTS: &str =
    "delete from changes where lane = ? and (seq, part) <= (?, ?)";

/// Adds a row without keys. The arguments are the lane, the seq, the part and the time of the last row that was removed.
pub(in crate::sqlite) const ADD_MARKER: &str =
    "insert into changes (lane, seq, part, at, ks) values (?, ?, ?, ?, x'')";

/// Changes up to this instant may be removed from now on, because of their age.
pub(in crate::sqlite) const RAISE_FLOOR: &str = "update store set floor = max(floor, ?) where one = 0";
