//! Connections to `SQLite`: settings, and the checks on each new one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection};

use super::error::classify;
use super::migrate;
use crate::engine::clock::StoreClock;
use crate::engine::shapes::SHAPES;
use crate::error::{BadUrl, Error};
use crate::timeouts::QUERY_TIMEOUT;

/// How long a statement waits for another writer of the file: not as long as its caller waits for it.
pub(super) const BUSY_TIMEOUT: Duration = QUERY_TIMEOUT.checked_div(2).expect("two is not zero");

/// A database file on a local disk. Network file systems are not supported.
#[derive(Debug, Clone)]
pub(crate) struct Sqlite {
    path: PathBuf,
    options: SqliteConnectOptions,
    /// The time of the store, for all connections.
    pub(super) clock: StoreClock,
}

impl Sqlite {
    pub(crate) fn new(url: &str) -> Result<Self, BadUrl> {
        let path = url.trim_start_matches("sqlite://");
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        if path.is_empty() || path.contains(":memory:") {
            return Err(BadUrl("must name a file, as in sqlite://path/to/file.db".into()));
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(5 * SHAPES + 64)
            .disable_statement_logging();
        Ok(Self { path: path.into(), options, clock: StoreClock::new() })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A connection without checks, for migrations. Makes the file if there is none.
    pub(super) async fn open_unchecked(&self) -> Result<SqliteConnection, Error> {
        self.options.connect().await.map_err(classify)
    }

    /// A connection to a file whose schema fits.
    pub(super) async fn open(&self) -> Result<SqliteConnection, Error> {
        let existing = self.options.clone().create_if_missing(false);
        let mut connection = existing.connect().await.map_err(classify)?;
        migrate::check(&mut connection).await?;
        Ok(connection)
    }
}
