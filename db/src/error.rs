//! What can go wrong with a database and with its URL.

use std::borrow::Cow;
use std::time::Duration;

/// Why the database did not do its work, by what the caller may do next. The text is for the log, never for a client.
///
/// The text ends with that of the [`Cause`], so [`std::error::Error::source`] does not give the cause again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another writer was in the way. Nothing was applied, and the same connection may try again.
    #[error("another writer holds the same rows: {0}")]
    Conflict(Cause),
    /// The database is reachable but cannot write: its disk is full, a quota is reached, or its settings forbid it. Nothing was applied,
    /// even if it was COMMIT that failed, and the same connection, if there is one, may try again.
    #[error("the database cannot write: {0}")]
    Refused(Cause),
    /// The database cannot be reached, refuses the connection or the statement, or took too long. A new connection may try again.
    #[error("database unavailable: {0}")]
    Unavailable(Cause),
    /// The database can be reached, but its setup makes it unfit for use.
    #[error("database not fit for use: {0}")]
    NotReady(Cause),
    /// The database holds or returned something that it never should.
    #[error("unexpected database content: {0}")]
    Internal(Cause),
}

/// What caused an [`Error`].
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// An error of the database or of its client library.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Somebody else held a row locked for longer than a statement waits. Only in [`Error::Conflict`].
    #[error("{0}")]
    LockWait(Cow<'static, str>),
    /// A migration failed.
    #[error("migration failed: {0}")]
    Migration(sqlx::migrate::MigrateError),
    /// The database did not answer for this long.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// A check of this program failed.
    #[error("{0}")]
    Check(Cow<'static, str>),
}

impl From<&'static str> for Cause {
    fn from(text: &'static str) -> Self {
        Self::Check(text.into())
    }
}

impl From<String> for Cause {
    fn from(text: String) -> Self {
        Self::Check(text.into())
    }
}

/// The database URL cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("DATABASE_URL {0}")]
pub struct BadUrl(pub(crate) String);

impl BadUrl {
    /// What is wrong, without the name of the setting.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0
    }
}
