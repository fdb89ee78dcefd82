//! The text of the statements of the log of changes.

/// Adds a part of the keys that a batch wrote. The fourth argument is the store clock, as far as this process knows it.
pub(in crate::mysql) const LOG_CHANGES: &str =
    concat!("insert into changes (lane, seq, part, at, ks) values (?, ?, ?, greatest(", now!(), ", ?), ?)");

/// Needs the rights of a reader on each table of the log. It is only prepared.
pub(in crate::mysql) const READS_LOG: &str = "select c.lane, c.seq, c.part, c.at, c.ks, w.id, w.seq, w.rev, w.logged, s.id, s.retention, s.floor \
    from changes c, writers w, store s limit 1";

/// Stores for how long changes are kept, in seconds.
pub(in crate::mysql) const SET_RETENTION: &str = "update store set retention = ? where one = 0";

pub(in crate::mysql) const RETENTION: &str = "select retention from store where one = 0";

/// Gives the store another id.
pub(in crate::mysql) const SET_STORE_ID: &str = "update store set id = ? where one = 0";

/// The first row of the first lane whose id is at least the first argument. A marker counts if it was written before the second argument.
pub(in crate::mysql) const FIRST_PART: &str = "select lane, seq, part, at, cast(length(ks) as unsigned) \
    from changes where lane >= ? and (length(ks) > 0 or at < ?) order by lane, seq, part limit 1";

/// The rows of a lane behind a row. The arguments are the lane, the seq of the row, the seq again, its part, and the number of rows.
pub(in crate::mysql) const PARTS: &str = "select lane, seq, part, at, cast(length(ks) as unsigned) \
    from changes where lane = ? and (seq > ? or (seq = ? and part > ?)) order by seq, part limit ?";

/// Removes the first rows of a lane. The arguments are the lane, the seq of the last row, the seq again, and its part.
pub(in crate::mysql) const DELETE_PARTS: &str =
    "delete from changes where lane = ? and (seq < ? or (seq = ? and part <= ?))";

/// Adds a row without keys. The arguments are the lane, the seq, the part and the time of the last row that was removed.
pub(in crate::mysql) const ADD_MARKER: &str =
    "insert into changes (lane, seq, part, at, ks) values (?, ?, ?, ?, '')";

/// Changes up to this instant may be removed from now on, because of their age.
pub(in crate::mysql) const RAISE_FLOOR: &str = "update store set floor = greatest(floor, ?) where one = 0";
