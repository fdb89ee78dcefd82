//! Connections to the file of a store. Each knows the files that it has open, and counts as open until `SQLite` has closed it.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::{Connection as _, Row as _, SqliteConnection};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::error::classify;
use super::files::StoreFiles;
use super::text;
use super::wal::{WalState, empty_wal};
use crate::error::Error;

/// A log that is larger than this is emptied when a connection is closed. Commits alone keep it at a few MiB: without readers of
/// old snapshots it begins anew after 1000 pages.
pub(super) const WAL_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How often a connection that only reads looks at the log. An idle one is checked as often.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The connections of this process to one store.
#[derive(Debug, Default)]
pub(super) struct Connections {
    state: Mutex<ConnectionCounts>,
    /// One is opened at a time, so that the next one can be compared with it.
    pub(super) opening: tokio::sync::Mutex<()>,
    /// One is closed at a time: two that end together would each leave the log to the other.
    closing: tokio::sync::Mutex<()>,
    /// A connection was closed, or an attempt has ended.
    closed: Notify,
    /// A connection could not be opened, because those that are open have files that were moved.
    moved: Arc<Notify>,
}

#[derive(Debug, Default)]
struct ConnectionCounts {
    /// Connections that are open or about to be opened by whoever has the turn.
    open: usize,
    /// Attempts to open one, those included that wait for their turn.
    openings: usize,
    /// The files of the last connection that was opened.
    files: Option<Arc<StoreFiles>>,
}

/// Counts an attempt to open a connection.
#[derive(Debug)]
pub(super) struct OpeningCount(Arc<Connections>);

/// Counts a connection until `SQLite` has closed it.
#[derive(Debug)]
pub(super) struct ConnectionCount(Arc<Connections>);

/// An open connection. Dropping it closes it in a task of its own.
#[derive(Debug)]
pub(super) struct Connection(Option<LiveConnection>);

#[derive(Debug)]
struct LiveConnection {
    connection: SqliteConnection,
    /// `None` until the schema is checked: before, there may be no log yet.
    files: Option<Arc<StoreFiles>>,
    /// When a read last looked at all of them.
    checked: Instant,
    count: ConnectionCount,
}

impl Connections {
    /// Counts an attempt that is about to begin.
    pub(super) fn count_opening(self: &Arc<Self>) -> OpeningCount {
        self.state().openings += 1;
        OpeningCount(Arc::clone(self))
    }

    /// Counts a connection that is about to be opened. Fails while a connection to moved files is open: `SQLite` finds
    /// the write-ahead log by the path of the database, so the connections to two databases would share one.
    pub(super) fn count_connection(self: &Arc<Self>) -> Result<ConnectionCount, Error> {
        let mut state = self.state();
        match (&state.files, state.open) {
            (Some(files), 1..) => {
                if let Err(error) = files.check() {
                    self.moved.notify_waiters();
                    return Err(error);
                }
            }
            (Some(files), 0) => files.clear_for_another()?,
            (None, _) => {}
        }
        state.open += 1;
        Ok(ConnectionCount(Arc::clone(self)))
    }

    /// Waits until `SQLite` has closed every connection of this process, and nobody opens another one.
    pub(super) async fn wait_closed(&self) {
        loop {
            let closed = self.closed.notified();
            let is_closed = {
                let state = self.state();
                (state.open, state.openings) == (0, 0)
            };
            if is_closed {
                return;
            }
            closed.await;
        }
    }

    /// Whether the last connection has left a log.
    pub(super) fn has_left_wal(&self) -> bool {
        self.state().files.as_ref().is_some_and(|files| files.wal_bytes() > 0)
    }

    fn state(&self) -> MutexGuard<'_, ConnectionCounts> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpeningCount {
    fn drop(&mut self) {
        self.0.state().openings -= 1;
        self.0.closed.notify_waiters();
    }
}

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        self.0.state().open -= 1;
        self.0.closed.notify_waiters();
    }
}

impl Connection {
    pub(super) fn new(connection: SqliteConnection, count: ConnectionCount) -> Self {
        Self(Some(LiveConnection { connection, files: None, checked: Instant::now(), count }))
    }

    /// Remembers the files of the store at `database`, which this connection has just read. An error if other connections have
    /// other files open.
    pub(super) fn remember_files(&mut self, database: &Path) -> Result<(), Error> {
        let files = Arc::new(StoreFiles::look(database)?);
        let open = self.live_mut();
        let mut state = open.count.0.state();
        let files = match &state.files {
            Some(others) if state.open > 1 && others.is_same(&files) => Arc::clone(others),
            Some(_) if state.open > 1 => {
                return Err(Error::Unavailable("the database was replaced while it was opened".into()));
            }
            Some(_) | None => files,
        };
        state.files = Some(Arc::clone(&files));
        drop(state);
        open.files = Some(files);
        Ok(())
    }

    /// Before a write: an error unless every file of the store is at its path, and the log is whole.
    pub(super) async fn check_write(&mut self) -> Result<(), Error> {
        let Some(files) = &self.live().files else { return Ok(()) };
        match files.check()? {
            WalState::Whole => Ok(()),
            WalState::Truncated => {
                let files = Arc::clone(files);
                let frames = sqlx::query(text::WRITE_BACK_WAL).fetch_one(&mut **self).await;
                files.wal.check_truncated(frames.and_then(|row| row.try_get(1)).map_err(classify))
            }
        }
    }

    /// After a commit: the same, and the log must hold the commit.
    pub(super) fn check_committed(&self) -> Result<(), Error> {
        self.live().files.as_ref().map_or(Ok(()), |files| files.check_committed())
    }

    /// The same for a read, at a third of its cost: the write-ahead log and its index are looked at every
    /// [`CHECK_INTERVAL`]. While one connection still uses a removed log, no new one can be opened.
    pub(super) fn check_read(&mut self) -> Result<(), Error> {
        let open = self.live_mut();
        let Some(files) = &open.files else { return Ok(()) };
        if open.checked.elapsed() < CHECK_INTERVAL {
            return files.check_database();
        }
        open.checked = Instant::now();
        files.check().map(drop)
    }

    /// Ends with an error when this connection has to be closed at once: the files were moved, and no other connection can be opened
    /// before. Counts from the call on. The future does not borrow the connection.
    pub(super) fn displaced(&self) -> impl Future<Output = Error> + Send + use<> {
        let moved = Arc::clone(&self.live().count.0.moved).notified_owned();
        async move {
            moved.await;
            Error::Unavailable("the files of the database were moved or replaced".into())
        }
    }

    /// Closes the connection. The last one on the file writes the log into the database and removes the log.
    pub(super) async fn close(mut self) {
        if let Some(open) = self.0.take() {
            open.close().await;
        }
    }

    fn live(&self) -> &LiveConnection {
        self.0.as_ref().expect("only `close` and `drop` take it")
    }

    fn live_mut(&mut self) -> &mut LiveConnection {
        self.0.as_mut().expect("only `close` and `drop` take it")
    }
}

impl Deref for Connection {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.live().connection
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.live_mut().connection
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let (Some(open), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(open.close());
        }
    }
}

impl LiveConnection {
    async fn close(mut self) {
        if let Some(files) = &self.files {
            let is_moved = files.check_database().is_err();
            // `SQLite` itself leaves the log of a database that was moved, and the next database at the path would take it for
            // its own.
            if (is_moved || files.wal_bytes() > WAL_BYTES_MAX)
                && let Err(error) = empty_wal(&mut self.connection).await
            {
                tracing::debug!(%error, "the log could not be emptied");
            }
        }
        // A statement under way ends first, so that nobody waits for it below.
        if let Err(error) = self.connection.ping().await {
            tracing::debug!(%error, "the connection was gone already");
        }
        let turn = self.count.0.closing.lock().await;
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "the connection could not be closed properly");
        }
        drop(turn);
        drop(self.count);
    }
}
