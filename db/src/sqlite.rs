//! `SQLite`: one file, one writer at a time, any number of readers and processes.

mod migrate;
mod reader;
mod scanner;
mod session;
mod sweeper;
mod text;

use std::path::PathBuf;

use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Arguments, ConnectOptions, SqliteConnection};

use crate::engine::Engine;
use crate::engine::shapes::{SHAPES, pad};
use crate::entry::Key;
use crate::error::{BadUrl, Error};
use crate::timeouts::QUERY_TIMEOUT;

pub(crate) use reader::SqliteReader;
pub(crate) use scanner::SqliteScanner;
use session::SqliteSession;

/// The clock of the machine in microseconds: all processes on a local file share it.
const NOW: &str = "cast(unixepoch('subsec') * 1000000 as integer)";

/// A database file on a local disk; network file systems are not supported.
#[derive(Debug, Clone)]
pub(crate) struct Sqlite {
    path: PathBuf,
    options: SqliteConnectOptions,
}

impl Sqlite {
    pub(crate) fn new(url: &str) -> Result<Self, BadUrl> {
        let path = url.trim_start_matches("sqlite://");
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        if path.is_empty() || path.contains(":memory:") {
            return Err(BadUrl("names no file: sqlite://path/to/file.db".into()));
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(QUERY_TIMEOUT / 2)
            .statement_cache_capacity(5 * SHAPES + 64)
            .disable_statement_logging();
        Ok(Self { path: path.into(), options })
    }

    async fn open(&self) -> Result<SqliteConnection, Error> {
        let existing = self.options.clone().create_if_missing(false);
        let mut connection = existing.connect().await.map_err(error)?;
        migrate::check(&mut connection).await?;
        Ok(connection)
    }

    pub(crate) async fn reader(&self) -> Result<SqliteReader, Error> {
        Ok(SqliteReader::new(self.open().await?))
    }
}

impl Engine for Sqlite {
    type Session = SqliteSession;
    /// Nothing survives a connection to a file but its uncommitted transaction, which it takes along.
    type Identity = ();
    const ROUND_TRIPS: bool = false;

    async fn connect(&self) -> Result<SqliteSession, Error> {
        Ok(SqliteSession::new(self.open().await?))
    }

    fn identity(_session: &SqliteSession) {}

    async fn end(_session: &mut SqliteSession, _previous: &()) -> Result<(), Error> {
        Ok(())
    }
}

/// `keys` as arguments, padded to a prepared size by repeating the last.
fn key_list<'a>(keys: impl ExactSizeIterator<Item = &'a Key> + Clone) -> Result<SqliteArguments, Error> {
    let mut arguments = SqliteArguments::default();
    for key in pad(keys) {
        bind(&mut arguments, key.as_str().as_bytes().to_vec())?;
    }
    Ok(arguments)
}

fn bind<'t, T>(arguments: &mut SqliteArguments, value: T) -> Result<(), Error>
where
    T: sqlx::Encode<'t, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    arguments.add(value).map_err(|e| Error::Internal(e.to_string()))
}

fn signed(number: u64) -> Result<i64, Error> {
    i64::try_from(number).map_err(|_| Error::Internal(format!("{number} does not fit a column")))
}

fn unsigned(number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| Error::Internal(format!("{number} in a column of revisions")))
}

/// What an error of the client library means for the caller.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn error(error: sqlx::Error) -> Error {
    let reason = error.to_string();
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .and_then(|c| c.parse::<i32>().ok());
    match code.map(|extended| extended & 0xff) {
        // Busy or locked by another process; an entry that appeared.
        Some(5 | 6 | 19) => Error::Conflict(reason),
        Some(1) => Error::Internal(reason),
        // Any other code, and what went wrong outside of the database and has none.
        Some(_) | None => Error::Unavailable(reason),
    }
}
