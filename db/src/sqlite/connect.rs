//! Connections to `SQLite`: settings, and the checks on each new one.

use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection};

use super::connection::{Connection, Connections, WAL_BYTES_MAX};
use super::error::{classify, classify_opening_store};
use super::{migrate, text};
use crate::engine::clock::StoreClock;
use crate::engine::shapes::SHAPES;
use crate::error::{BadUrl, Error};
use crate::timeouts::QUERY_TIMEOUT;

/// A database file on a local disk. Network file systems are not supported.
#[derive(Debug, Clone)]
pub(crate) struct Sqlite {
    path: PathBuf,
    options: SqliteConnectOptions,
    /// The connections of this process, except those that migrate.
    connections: Arc<Connections>,
    /// The store clock, for all connections.
    pub(super) clock: StoreClock,
}

impl Sqlite {
    pub(crate) fn new(url: &str) -> Result<Self, BadUrl> {
        let path = url.strip_prefix("sqlite://").unwrap_or_default();
        if let Some((path, parameters)) = path.split_once('?') {
            let reason = format!(
                "must be sqlite://{path} without `?{parameters}`: the URL of a file has no parameters"
            );
            return Err(BadUrl(reason));
        }
        if path.is_empty() || path.contains(":memory:") {
            return Err(BadUrl("must name a file, as in sqlite://path/to/file.db".into()));
        }
        // A relative path that begins with `file:` would be a URL for `SQLite`.
        let path = absolute(path).map_err(|error| BadUrl(format!("{path}: {error}")))?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .synchronous(SqliteSynchronous::Full)
            .pragma("journal_size_limit", WAL_BYTES_MAX.to_string())
            .busy_timeout(QUERY_TIMEOUT / 2)
            .statement_cache_capacity(5 * SHAPES + 64)
            .disable_statement_logging();
        Ok(Self { path, options, connections: Arc::default(), clock: StoreClock::new() })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A connection without checks, for migrations. There must be a file.
    pub(super) async fn open_unchecked(&self) -> Result<SqliteConnection, Error> {
        self.options.connect().await.map_err(|error| classify_opening_store(&self.path, error))
    }

    /// A connection to a file whose schema fits.
    pub(super) async fn open(&self) -> Result<Connection, Error> {
        let (engine, attempt) = (self.clone(), self.connections.count_opening());
        // In a task of its own: others wait for it, so it must go on while nobody waits for this one.
        let opened = tokio::spawn(async move {
            let opened = engine.open_next().await;
            drop(attempt);
            opened
        });
        let opened = opened.await;
        opened.map_err(|error| Error::Internal(error.to_string().into()))?
    }

    async fn open_next(&self) -> Result<Connection, Error> {
        let _turn = self.connections.opening.lock().await;
        let lease = self.connections.count_connection()?;
        let mut connection = Connection::new(self.open_unchecked().await?, lease);
        migrate::check(&mut connection).await?;
        use_wal(&mut connection).await?;
        connection.remember_files(&self.path)?;
        Ok(connection)
    }

    /// Waits until every connection of this process is closed.
    pub(super) async fn wait_closed(&self) {
        self.connections.wait_closed().await;
        // Another process has the file open, or has closed its last connection at the same instant.
        if self.connections.has_left_wal() {
            match self.open().await {
                Ok(connection) => connection.close().await,
                Err(error) => tracing::debug!(%error, "the log is left as it is"),
            }
        }
    }
}

/// Switches the file to a write-ahead log, unless it has one. Only once it is known to be a store: the file is changed.
pub(super) async fn use_wal(connection: &mut SqliteConnection) -> Result<(), Error> {
    let mode: String = sqlx::query_scalar(text::USE_LOG).fetch_one(connection).await.map_err(classify)?;
    if mode == "wal" {
        return Ok(());
    }
    Err(Error::NotReady(format!("the file system offers no write-ahead log, only {mode:?}").into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_with_parameters_is_refused_and_not_cut() {
        for url in [
            "sqlite://kv.db?mode=ro",
            "sqlite://kv.db?",
            "sqlite://",
            "sqlite://?mode=memory",
            "sqlite://:memory:",
        ] {
            assert!(Sqlite::new(url).is_err(), "{url}");
        }
        let refusal = Sqlite::new("sqlite://kv.db?mode=rwc").expect_err("parameters").to_string();
        assert!(refusal.contains("`?mode=rwc`") && refusal.contains("sqlite://kv.db"), "{refusal}");
    }
}
