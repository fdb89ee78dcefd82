//! The text of every statement. A statement with a number of rows or keys is a function of that number.

pub(super) mod changes;
pub(super) mod follower;
pub(super) mod sweeper;

use crate::engine::shapes::list;

/// The stored time. Each lane stores the time there at each commit.
pub(super) const STORED_TIME: &str = "select rev from clock where id = 0";

// Schema.

pub(super) const MIGRATIONS: &str =
    "select version, description, success from _sqlx_migrations order by version";

/// The tables of the file, in no order.
pub(super) const TABLES: &str =
    "select name from sqlite_schema where type = 'table' and name not like 'sqlite^_%' escape '^'";

/// Writes go into a log beside the file. The mode is kept in the file. Returns the mode that is in force.
pub(super) const USE_LOG: &str = "pragma journal_mode = wal";

/// How long [`TRUNCATE_WAL`] may keep writers waiting for readers, in milliseconds.
pub(super) const SHORT_WAIT: &str = "pragma busy_timeout = 50";

/// Writes the log into the database, up to what the oldest reader needs.
pub(super) const WRITE_BACK_WAL: &str = "pragma wal_checkpoint(passive)";

/// Writes the rest of the log into the database and cuts the log to nothing, if no reader needs it.
pub(super) const TRUNCATE_WAL: &str = "pragma wal_checkpoint(truncate)";

// Transactions of lanes.

/// Commits a change that means nothing: a revision is skipped.
pub(super) const PROVE: &str = "update clock set rev = rev + 1 where id = 0";

/// Makes pages go into the log before COMMIT. [`LARGE_CACHE`] is the default.
pub(super) const SMALL_CACHE: &str = "pragma cache_size = 10";

pub(super) const LARGE_CACHE: &str = "pragma cache_size = -2000";

/// Writes as many bytes as its argument says. Must be rolled back.
pub(super) const FILL: &str = "insert into expiries (at, k) values (0, zeroblob(?))";

/// Adds the fence row of a lane. Its age counts from now on.
pub(super) const REGISTER: &str =
    "insert into writers (id, seq, rev, logged) values (?, 0, ?, ?) on conflict (id) do nothing";

/// Begins a transaction that writes: waits for the one writer of the file.
pub(super) const BEGIN_WRITE: &str = "begin immediate";

/// Begins a transaction, reserves revisions, returns the last of them, and passes the fence of a lane. The arguments are the number of
/// revisions, the time, the seq and the lane. The fence sets the last revision together with the seq, because the trigger of the schema takes an
/// update without it for that of an older program. One text, because each text is a message to the thread of the connection.
pub(super) const FENCE: &str = "begin immediate; \
    update clock set rev = max(rev + ?1, ?2) where id = 0 returning rev; \
    update writers set seq = ?3, rev = (select rev from clock where id = 0) where id = ?4 and seq < ?3";

pub(super) const SEQ: &str = "select seq from writers where id = ?";

pub(super) const COMMIT: &str = "commit";

pub(super) const ROLLBACK: &str = "rollback";

/// Whether an entry may expire, or was deleted not long ago. If not, nobody needs the stored time.
pub(super) const HAS_HINTS: &str = "select exists(select 1 from expiries)";

/// Stores the time.
pub(super) const STORE_TIME: &str = "update clock set rev = ?1 where id = 0 and rev < ?1";

/// Keys, their revisions and whether they are live. The first argument is the time.
pub(super) fn read_for_update(keys: usize) -> String {
    let keys = list("?", keys);
    format!("select k, rev, coalesce(expires_at > ?, 1) from entries where k in ({keys}) order by k")
}

/// Adds rows that never expire.
pub(super) fn insert(rows: usize) -> String {
    into_entries(rows, false, false)
}

/// Adds rows that may expire.
pub(super) fn insert_expiring(rows: usize) -> String {
    into_entries(rows, true, false)
}

/// Adds or overwrites rows that never expire.
pub(super) fn upsert(rows: usize) -> String {
    into_entries(rows, false, true)
}

/// Adds or overwrites rows that may expire.
pub(super) fn upsert_expiring(rows: usize) -> String {
    into_entries(rows, true, true)
}

/// The text of an insert of `rows` rows. Each row has these arguments: key, value, revision; if it may expire, also its expiry. If rows
/// that exist are overwritten, the last argument is the time.
fn into_entries(rows: usize, may_expire: bool, overwrites: bool) -> String {
    let (columns, arguments) =
        if may_expire { ("k, v, rev, born, expires_at", 4) } else { ("k, v, rev, born", 3) };
    let row = |at| {
        let first = arguments * at + 1;
        let expires_at = if may_expire { format!(", ?{}", first + 3) } else { String::new() };
        // The revision is also the one that the row is born with.
        format!("(?{first}, ?{}, ?{}, ?{}{expires_at})", first + 1, first + 2, first + 2)
    };
    let values = (0..rows).map(row).collect::<Vec<_>>().join(", ");
    let on_conflict = if overwrites { overwrite(arguments * rows + 1) } else { String::new() };
    format!("insert into entries ({columns}) values {values}{on_conflict} returning k, rev, born = rev")
}

/// What an upsert does with a row that exists. The argument with the number `now` is the time.
fn overwrite(now: usize) -> String {
    format!(
        " on conflict (k) do update set v = excluded.v, rev = max(excluded.rev, rev + 1), \
        born = iif(expires_at <= ?{now}, max(excluded.rev, rev + 1), born), expires_at = excluded.expires_at"
    )
}

/// Adds hints for the sweeper.
pub(super) fn add_hints(hints: usize) -> String {
    let hints = list("(?, ?)", hints);
    format!("insert into expiries (at, k) values {hints} on conflict (at, k) do nothing")
}

// Reads.

/// The live entries of keys. The last argument is the time.
pub(super) fn get(keys: usize) -> String {
    live("k, v, rev", keys)
}

/// The live entries of keys, without values above a size, and the sizes of all values. `SQLite` finds the size of a value without
/// reading the value.
pub(super) fn get_bounded(keys: usize) -> String {
    live("k, iif(octet_length(v) <= ?, v, null), rev, octet_length(v)", keys)
}

fn live(columns: &str, keys: usize) -> String {
    let keys = list("?", keys);
    format!("select {columns} from entries where k in ({keys}) and (expires_at is null or expires_at > ?)")
}

/// Takes a snapshot: that of the first statement.
pub(super) const BEGIN_SNAPSHOT: &str = "begin deferred";

/// A range of the primary key, without values above a size, and the sizes of all values. The arguments are the time, the size, the
/// range and the number of rows.
pub(super) const RECORDS: &str = "select k, iif(expires_at is null or expires_at > ?1, iif(octet_length(v) <= ?2, v, null), null), \
    rev, expires_at, iif(expires_at is null or expires_at > ?1, octet_length(v), null) \
    from entries where k >= ?3 and k < ?4 order by k limit ?5";

/// A range of the primary key, without values. `SQLite` does not build a long value, but follows the chain of its pages to the columns
/// after it. The arguments are the time, the range and the number of rows.
pub(super) const KEYS: &str = "select k, rev, expires_at is null or expires_at > ?1 \
    from entries where k >= ?2 and k < ?3 order by k limit ?4";
