//! `MySQL` and `MariaDB`: the same SQL for both, as prepared statements of few sizes.

mod arguments;
mod brief;
mod changes;
mod clock;
pub(crate) mod connect;
mod durability;
pub(crate) mod error;
mod follower;
mod lane_row;
mod locks;
mod migrate;
mod reader;
mod scanner;
mod server_check;
mod session;
mod sweeper;
mod text;
mod url;

use std::num::NonZeroUsize;
use std::time::Duration;

use sqlx::AssertSqlSafe;

use crate::engine::{DatabaseUsers, Engine, WriteEngine};
use crate::error::Error;
use connect::{Identity, MySql, check_log_format, close};
use error::classify;
use follower::MySqlFollower;
use reader::MySqlReader;
use scanner::MySqlScanner;
use session::MySqlSession;
use sweeper::MySqlSweeper;

impl WriteEngine for MySql {
    type Session = MySqlSession;
    type Identity = Identity;
    const ROUND_TRIPS: bool = true;
    const IDLE_MAX: Duration = Duration::from_secs(10);

    async fn open_session(&self) -> Result<MySqlSession, Error> {
        let (mut connection, facts) = self.open(true).await?;
        let identity = Identity::read(&mut connection).await?;
        Ok(MySqlSession::new(self.clone(), connection, identity, facts))
    }

    fn identity(session: &MySqlSession) -> Identity {
        session.identity.clone()
    }

    async fn kill(session: &mut MySqlSession, lock_holder: &Identity) -> Result<(), Error> {
        if !session.identity.is_successor_of(lock_holder) {
            return Ok(());
        }
        // The log has said why the connection was given up.
        tracing::debug!(connection = lock_holder.connection, "killing the earlier connection of this lane");
        let kill = AssertSqlSafe(text::kill(lock_holder.connection));
        match sqlx::raw_sql(kill).execute(&mut session.connection).await.map_err(classify) {
            // A conflict: there is no such connection any more.
            Ok(_) | Err(Error::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Engine for MySql {
    type Reader = MySqlReader;
    type Scanner = MySqlScanner;
    type Follower = MySqlFollower;
    type Sweeper = MySqlSweeper;
    const SYSTEM: &'static str = "mysql";

    /// One more for atomic writes, whose keys may belong to any of the others.
    fn lanes(single: NonZeroUsize) -> usize {
        single.get() + 1
    }

    async fn open_reader(&self) -> Result<MySqlReader, Error> {
        let (connection, facts) = self.open(false).await?;
        Ok(MySqlReader::new(connection, facts.checker))
    }

    async fn open_scanner(&self) -> Result<MySqlScanner, Error> {
        let (connection, facts) = self.open(false).await?;
        MySqlScanner::new(connection, facts.checker).await
    }

    async fn open_follower(&self) -> Result<MySqlFollower, Error> {
        let (connection, facts) = self.open_to_follow().await?;
        MySqlFollower::new(connection, facts.checker).await
    }

    async fn migrate(&self, users: &DatabaseUsers) -> Result<(), Error> {
        let mut connection = self.open_unchecked().await?;
        check_log_format(&mut connection).await?;
        migrate::migrate(&mut connection, users).await?;
        close(connection).await;
        Ok(())
    }

    async fn set_store_id(&self, id: u64) -> Result<(), Error> {
        let mut connection = self.open_unchecked().await?;
        let set_id = sqlx::query(text::changes::SET_STORE_ID).bind(id);
        set_id.execute(&mut connection).await.map_err(classify)?;
        close(connection).await;
        Ok(())
    }

    /// Each connection is closed by whoever has it, and the server needs no more.
    async fn wait_closed(&self) {}

    async fn open_sweeper(&self) -> Result<MySqlSweeper, Error> {
        let (connection, facts) = self.open(true).await?;
        Ok(MySqlSweeper::new(connection, facts))
    }
}
