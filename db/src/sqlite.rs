//! `SQLite`: one file, one writer at a time, any number of readers and processes.

mod arguments;
mod changes;
mod clock;
pub(crate) mod connect;
mod connection;
pub(crate) mod error;
mod files;
#[cfg(test)]
pub(crate) mod fixture;
mod follower;
mod found_file;
mod lane_row;
mod migrate;
mod migration_lock;
mod paths;
mod reader;
mod scanner;
mod session;
mod sweeper;
mod text;
mod wal;

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use sqlx::{Connection as _, SqliteConnection};

use crate::engine::{DatabaseUsers, Engine, WriteEngine};
use crate::error::Error;
use arguments::signed;
use connect::Sqlite;
use connection::CHECK_INTERVAL;
use error::classify;
use follower::SqliteFollower;
use reader::SqliteReader;
use scanner::SqliteScanner;
use session::SqliteSession;
use sweeper::SqliteSweeper;

impl WriteEngine for Sqlite {
    type Session = SqliteSession;
    /// A connection that is gone leaves nothing behind: its transaction ended with it.
    type Identity = ();
    const ROUND_TRIPS: bool = false;
    /// Nobody else tells that the file was removed or that its disk has room again.
    const IDLE_MAX: Duration = CHECK_INTERVAL;

    async fn open_session(&self) -> Result<SqliteSession, Error> {
        let mut session = SqliteSession::new(self.open().await?, self.clock.clone());
        session.prove().await?;
        Ok(session)
    }

    fn identity(_session: &SqliteSession) {}

    async fn kill(_session: &mut SqliteSession, _lock_holder: &()) -> Result<(), Error> {
        Ok(())
    }
}

impl Engine for Sqlite {
    type Reader = SqliteReader;
    type Scanner = SqliteScanner;
    type Follower = SqliteFollower;
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

    async fn open_follower(&self) -> Result<SqliteFollower, Error> {
        Ok(SqliteFollower::new(self.open().await?, self.clock.clone()))
    }

    async fn migrate(&self, _users: &DatabaseUsers) -> Result<(), Error> {
        let _lock = migration_lock::lock(self.path()).await?;
        let mut connection = self.open_unchecked().await?;
        let migrated = migrate(self.path(), &mut connection).await;
        // After a failure too: the last connection on a file removes the log.
        connection.close().await.map_err(classify)?;
        migrated
    }

    async fn set_store_id(&self, id: u64) -> Result<(), Error> {
        let _lock = migration_lock::lock(self.path()).await?;
        let mut connection = self.open_unchecked().await?;
        let set_id = sqlx::query(text::changes::SET_STORE_ID).bind(signed(id)?);
        let renamed = set_id.execute(&mut connection).await.map(drop).map_err(classify);
        connection.close().await.map_err(classify)?;
        renamed
    }

    async fn wait_closed(&self) {
        self.wait_closed().await;
    }

    async fn open_sweeper(&self) -> Result<SqliteSweeper, Error> {
        Ok(SqliteSweeper::new(self.open().await?, self.clock.clone()))
    }
}

async fn migrate(file: &Path, connection: &mut SqliteConnection) -> Result<(), Error> {
    migrate::check_owner(file, connection).await?;
    connect::use_wal(connection).await?;
    migrate::migrate(connection).await
}
