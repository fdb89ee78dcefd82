//! The text of every statement. A statement with a number of rows or keys is a function of that number.

pub(super) mod follower;
pub(super) mod schema;

use crate::engine::shapes::list;

/// The clock of the database, in microseconds since 1970. `sysdate` is read for each row, after its lock. `now()` would be the
/// start of the statement, so an entry that expired while its lock was awaited would count as live.
macro_rules! now {
    () => {
        "cast(unix_timestamp(sysdate(6)) * 1000000 as unsigned)"
    };
}

/// An instant, from two arguments. The first is a number of microseconds from now, or null. The second is the earliest result
/// allowed; if it is null, the result is null.
macro_rules! instant {
    () => {
        concat!("greatest(coalesce(", now!(), " + ?, 0), ?)")
    };
}

/// Whether an entry is neither deleted nor expired. The argument is the store clock, as far as this process knows it: the clock
/// may have been set back.
macro_rules! is_live {
    () => {
        concat!("(expires_at is null or (expires_at > ", now!(), " and expires_at > ?))")
    };
}

/// `entries`, of which only the rows of the named keys are read. Without the hint, a small table is scanned, and a statement that locks
/// waits for the locks of rows that it does not want. `MySQL` heeds the hint only if a column is read that is not in the key.
macro_rules! by_key {
    () => {
        " from entries force index (primary) "
    };
}

pub(super) mod changes;
pub(super) mod sweeper;

// Sessions.

/// For every connection: every variable of a session that could change an answer, whatever the server has for it. README.md of this
/// crate says what each of them would do. The comments with `!` are run only by `MySQL` or only by `MariaDB`.
pub(super) const SETTINGS: &str = "set sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', \
    autocommit = 1, completion_type = 0, sql_select_limit = 18446744073709551615, sql_big_selects = 1, \
    sql_safe_updates = 0, sql_auto_is_null = 0, max_sort_length = 1024, \
    innodb_lock_wait_timeout = 2, lock_wait_timeout = 2, wait_timeout = 3600, net_read_timeout = 30, net_write_timeout = 60 \
    /*!80000 , max_execution_time = 0 */ \
    /*M! , max_statement_time = 0, idle_transaction_timeout = 0, idle_readonly_transaction_timeout = 0, \
    idle_write_transaction_timeout = 0, in_predicate_conversion_threshold = 0 */";

/// A statement of its own, because the variables behind it have other names in `MariaDB` 10.11.
pub(super) const READ_COMMITTED: &str = "set session transaction isolation level read committed, read write";

/// For connections that write. The fence opens the transaction. A host that dies within a transaction holds its locks for 30 s.
pub(super) const WRITER_SETTINGS: &str = "set autocommit = 0, wait_timeout = 30";

/// For connections with snapshots: several statements read from one snapshot. If the client vanishes, the server gives its snapshot
/// up after 30 s instead of hours.
pub(super) const SCANNER_SETTINGS: [&str; 2] =
    ["set session transaction isolation level repeatable read", "set wait_timeout = 30"];

/// The checks of a new connection, for what cannot change while the server runs. `sleep` comes first: before it the two clocks are equal
/// even with `--sysdate-is-now`.
pub(super) const INSPECT: &str = "select sleep(0.001), cast(@@max_allowed_packet as signed), sysdate(6) > now(6), \
    coalesce(@@innodb_flush_method, '') not in ('nosync', 'littlesync'), coalesce(@@innodb_flush_method, '')";

/// Finds a row if the server can log nothing that this session writes: a change at READ COMMITTED has no form as a statement.
pub(super) const LOGS_STATEMENTS: &str = "show session variables \
    where variable_name = 'binlog_format' and value = 'STATEMENT' and @@log_bin and @@sql_log_bin";

/// Whether `MySQL` writes its redo log. `MariaDB` always does, and has no such variable.
pub(super) const REDO_LOG: &str = "show global status like 'Innodb_redo_log_enabled'";

/// The connection and the time of the server, in seconds since 1970, by the same clock as [`UPTIME`].
pub(super) const IDENTITY: &str = "select cast(connection_id() as signed), cast(unix_timestamp() as signed)";

pub(super) const SERVER_UUID: &str = "show global variables like 'server_uuid'";

pub(super) const UPTIME: &str = "show global status like 'Uptime'";

/// A table of the store that is not of the engine `InnoDB`.
pub(super) const TABLE_OF_OTHER_ENGINE: &str = "select table_name from information_schema.tables \
    where table_schema = schema() and table_name in ('entries', 'writers', 'expiries', 'changes', 'store') \
    and engine <> 'InnoDB' order by table_name limit 1";

/// Prepares a statement, in place of the one that was prepared so before. Fails if a table is missing or the user lacks a right. Takes no
/// locks, and waits for none.
pub(super) fn prepare(statement: &str) -> String {
    assert!(!statement.contains(['\'', '\\']), "a statement without quotes: {statement}");
    format!("prepare checked from '{statement}'")
}

/// The stored time. Each lane stores the time in its row at each commit.
pub(super) const STORED_TIME: &str = "select cast(coalesce(max(rev), 0) as unsigned) from writers";

/// The clock of the database, the stored time, whether commits are durable, and whether the server accepts writes.
/// `read_only` is a number, and a text in newer versions of `MariaDB`. `super_read_only` sets `read_only`, too.
pub(super) const SAMPLE: &str = concat!(
    "select ",
    now!(),
    ", cast(coalesce(max(rev), 0) as unsigned), ",
    "(@@log_bin + 0, @@sync_binlog + 0, @@innodb_flush_log_at_trx_commit + 0, @@sql_log_bin + 0) = (1, 1, 1, 1), ",
    "cast(@@read_only as char) in ('0', 'OFF') from writers"
);

/// The settings behind the third column of [`SAMPLE`].
pub(super) const DURABILITY: &str =
    "select @@log_bin + 0, @@sync_binlog + 0, @@innodb_flush_log_at_trx_commit + 0, @@sql_log_bin + 0";

/// Ends a connection of this server.
pub(super) fn kill(connection: u64) -> String {
    format!("kill {connection}")
}

/// Ends the running statement of a connection of this server.
pub(super) fn kill_statement(connection: u64) -> String {
    format!("kill query {connection}")
}

// Transactions of lanes.

/// Adds the fence row of a lane. Its age counts from now on.
pub(super) const REGISTER: &str = concat!(
    "insert into writers (id, seq, rev, logged) values (?, 0, greatest(",
    now!(),
    ", ?), ?) on duplicate key update id = id"
);

/// Passes the fence of a lane and reserves revisions. The last of them is the `last_insert_id`, and not lower than the third argument.
pub(super) const FENCE: &str = "update writers set seq = ?, rev = last_insert_id(greatest(rev + ?, \
    cast(unix_timestamp(now(6)) * 1000000 as unsigned), ?)) where id = ? and seq < ?";

/// Whether an entry may expire, or was deleted not long ago. If not, nobody needs the stored time.
pub(super) const HAS_HINTS: &str = "select exists(select 1 from expiries)";

/// Stores the time in the row of a lane.
pub(super) const STORE_TIME: &str =
    concat!("update writers set rev = greatest(rev, ", now!(), ", ?) where id = ?");

pub(super) const SEQ: &str = "select seq from writers where id = ?";

pub(super) const COMMIT: &str = "commit";

pub(super) const ROLLBACK: &str = "rollback";

/// What an upsert does with a row that exists. The assignments run in this order, and each sees the ones before it. The argument is
/// the store clock, as far as this process knows it.
const OVERWRITE: &str = concat!(
    " on duplicate key update v = values(v), born = if(expires_at <= ",
    now!(),
    " or expires_at <= ?, last_insert_id(greatest(values(rev), rev + 1)), born), ",
    "rev = if(rev >= values(rev), last_insert_id(rev + 1), values(rev)), ",
    "expires_at = values(expires_at)"
);

/// Keys, their revisions and whether they are live, locked. The first argument is that of `is_live`.
pub(super) fn read_for_update(keys: usize) -> String {
    format!(
        concat!("select k, rev, ", is_live!(), by_key!(), "where k in ({}) order by k for update"),
        list("?", keys)
    )
}

/// Those of some keys whose rows exist and are not locked by others. Locks them.
pub(super) fn lock_unlocked(keys: usize) -> String {
    format!(concat!("select k, rev", by_key!(), "where k in ({}) for update skip locked"), list("?", keys))
}

/// Those of some keys whose rows exist, by the last commit.
pub(super) fn committed_keys(keys: usize) -> String {
    format!("select k from entries where k in ({})", list("?", keys))
}

/// Locks rows, and fails at once if one of them is locked by others. Finds also rows that are not committed yet.
pub(super) fn lock_nowait(keys: usize) -> String {
    format!(concat!("select k, rev", by_key!(), "where k in ({}) for update nowait"), list("?", keys))
}

/// The revisions of rows that were just upserted, and whether each was created: a created entry still has its first revision.
pub(super) fn read_upserted(keys: usize) -> String {
    format!("select rev, born = rev from entries where k in ({}) order by k", list("?", keys))
}

/// Adds rows that never expire.
pub(super) fn insert(rows: usize) -> String {
    format!("insert into entries (k, v, rev, born) values {}", list("(?, ?, ?, ?)", rows))
}

/// Adds rows that may expire.
pub(super) fn insert_expiring(rows: usize) -> String {
    let row = concat!("(?, ?, ?, ?, ", instant!(), ")");
    format!("insert into entries (k, v, rev, born, expires_at) values {}", list(row, rows))
}

/// Adds or overwrites rows that never expire.
pub(super) fn upsert(rows: usize) -> String {
    insert(rows) + OVERWRITE
}

/// Adds or overwrites rows that may expire.
pub(super) fn upsert_expiring(rows: usize) -> String {
    insert_expiring(rows) + OVERWRITE
}

/// Adds hints for the sweeper.
pub(super) fn add_hints(hints: usize) -> String {
    format!(
        "insert into expiries (at, k) values {} on duplicate key update k = values(k)",
        list("(?, ?)", hints)
    )
}

// Reads.

/// The live entries of keys. The last argument is that of `is_live`.
pub(super) fn get(keys: usize) -> String {
    live("k, v, rev", keys)
}

/// The live entries of keys, without values above a size, and the sizes of all values.
pub(super) fn get_bounded(keys: usize) -> String {
    live("k, if(length(v) <= ?, v, null), rev, length(v)", keys)
}

fn live(columns: &str, keys: usize) -> String {
    format!(concat!("select {} from entries where k in ({}) and ", is_live!()), columns, list("?", keys))
}

pub(super) const BEGIN_SNAPSHOT: &str = "start transaction with consistent snapshot, read only";

/// Rows without values above a size, and the sizes of all values. The arguments are that of `is_live`, the size, and that of `is_live`
/// again.
macro_rules! records {
    () => {
        concat!(
            "select k, if(",
            is_live!(),
            ", if(length(v) <= ?, v, null), null), rev, expires_at, if(",
            is_live!(),
            ", length(v), null) from entries"
        )
    };
}

/// A range of the primary key.
pub(super) const RECORDS: &str = concat!(records!(), " where k >= ? and k < ? order by k limit ?");

/// To the last key, without an upper bound. An argument behind every key is no valid text: while such a statement runs, `MySQL` 9.7
/// fails every query of `information_schema.processlist`.
pub(super) const ALL_RECORDS: &str = concat!(records!(), " where k >= ? order by k limit ?");

/// Selects rows without the column `v`. `InnoDB` stores a long value outside of its row, so the value is not read. The argument is that of
/// `is_live`.
macro_rules! keys {
    () => {
        concat!("select k, rev, ", is_live!(), " from entries")
    };
}

/// A range of the primary key, without values.
pub(super) const KEYS: &str = concat!(keys!(), " where k >= ? and k < ? order by k limit ?");

/// All rows from a key on, without values. It has no upper bound for the same reason as [`ALL_RECORDS`].
pub(super) const ALL_KEYS: &str = concat!(keys!(), " where k >= ? order by k limit ?");
