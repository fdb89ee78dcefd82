//! The text of the statements that migrate, and of the check whether the schema fits.

/// For the connection that migrates. It waits for statements of services, but not for ever. If its client vanishes, the server gives
/// its lock up after 30 s. The list of migrations must survive a restart, so its table needs this engine.
pub(in crate::mysql) const MIGRATION_SETTINGS: &str =
    "set lock_wait_timeout = 60, wait_timeout = 30, default_storage_engine = InnoDB";

/// Takes the lock of migrations, which ends with the connection, within a minute.
pub(in crate::mysql) const LOCK_MIGRATIONS: &str =
    "select coalesce(get_lock(left(concat('keywire.migrate.', schema()), 64), 60), 0)";

/// Removes the marks of migrations that were begun and not finished.
pub(in crate::mysql) const FORGET_UNFINISHED: &str = "delete from _sqlx_migrations where not success";

/// The list of migrations, as the client library names it.
pub(in crate::mysql) const MIGRATIONS_TABLE: &str = "_sqlx_migrations";

pub(in crate::mysql) const MIGRATIONS: &str =
    "select version, description, success from _sqlx_migrations order by version";

/// What the user of `ws-ingest` may do.
pub(in crate::mysql) const WRITER_RIGHTS: [&str; 6] = [
    "select, insert, update, delete on entries",
    "select, insert, update, delete on writers",
    "select, insert, update, delete on expiries",
    "select, insert, delete on changes",
    "select, update on store",
    "select on _sqlx_migrations",
];

/// What the user of `rest-read` may do.
pub(in crate::mysql) const READER_RIGHTS: [&str; 5] = [
    "select on entries",
    "select on writers",
    "select on changes",
    "select on store",
    "select on _sqlx_migrations",
];

pub(in crate::mysql) fn grant(right: &str, account: &str) -> String {
    format!("grant {right} to {account}")
}
