//! What can go wrong with a database, and with its URL.

/// Why the database did not do what it was asked. The text is for the log, never for a client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another writer was in the way; nothing was applied and the same connection may try again.
    #[error("another writer holds the same rows: {0}")]
    Conflict(String),
    /// The database cannot be reached, refuses, or took too long. A new connection may try again.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// The database can be reached, but must not be used as it is set up.
    #[error("database not fit for use: {0}")]
    NotReady(String),
    /// The database holds or answers what it never should.
    #[error("unexpected database content: {0}")]
    Internal(String),
}

/// The database URL cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("DATABASE_URL {0}")]
pub struct BadUrl(pub(crate) String);
