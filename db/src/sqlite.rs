//! `SQLite`: one file, one writer at a time, any number of readers and processes.

mod arguments;
mod clock;
pub(crate) mod connect;
mod error;
mod migrate;
mod reader;
mod scanner;
mod session;
mod sweeper;
mod text;

use std::num::NonZeroUsize;

use sqlx::Connection as _;

use crate::engine::{DatabaseUsers, Engine, WriteEngine};
use crate::error::Error;
use connect::Sqlite;
use error::classify;
use reader::SqliteReader;
use scanner::SqliteScanner;
use session::SqliteSession;
use sweeper::SqliteSweeper;

impl WriteEngine for Sqlite {
    type Session = SqliteSession;
    /// A connection that is gone leaves nothing behind: its transaction ended with it.
    type Identity = ();
    const ROUND_TRIPS: bool = false;

    async fn open_session(&self) -> Result<SqliteSession, Error> {
        Ok(SqliteSession::new(self.open().await?, self.clock.clone()))
    }

    fn identity(_session: &SqliteSession) {}

    async fn kill(_session: &mut SqliteSession, _lock_holder: &()) -> Result<(), Error> {
        Ok(())
    }
}

impl Engine for Sqlite {
    type Reader = SqliteReader;
    type Scanner = SqliteScanner;
    type Sweeper = SqliteSweeper;
    const SYSTEM: &'static str = "sqlite";

    /// One for all writes, because a file has one writer at a time.
    fn lanes(_single: NonZeroUsize) -> usize {
        1
    }

    async fn open_reader(&self) -> Result<SqliteReader, Error> {
        Ok(SqliteReader::new(self.open().await?, self.clock.clone()))
    }

    async fn open_scanner(&self) -> Result<SqliteScanner, Error> {
        Ok(SqliteScanner::new(self.open().await?, self.clock.clone()))
    }

    async fn migrate(&self, _users: &DatabaseUsers) -> Result<(), Error> {
        let lock = migrate::lock(self.path()).await?;
        let mut connection = self.open_unchecked().await?;
        migrate::migrate(&mut connection).await?;
        connection.close().await.map_err(classify)?;
        drop(lock);
        Ok(())
    }

    async fn open_sweeper(&self) -> Result<SqliteSweeper, Error> {
        Ok(SqliteSweeper::new(self.open().await?))
    }
}
