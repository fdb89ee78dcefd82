//! The text of the statements of the log of changes.

/// Adds a part of the keys that a batch wrote. The fourth argument is the store clock, as far as this process knows it.
pub(in crate::mysql) const LOG_CHANGES: &str =
    concat!("insert into changes (lane, seq, part, at, ks) values (?, ?, ?, greatest(", now!(), ", ?), ?)");

/// Needs the rights of a reader on each table of the log. It is only prepared.
pub(in crate::mysql) const READS_LOG: &str = "select c.lane, c.seq, c.part, c.at, c.ks, w.id, w.seq, w.rev, w.logged, s.id, s.retention, s.floor \
    from changes c, writers w, store s limit 1";
