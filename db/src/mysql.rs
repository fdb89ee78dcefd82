//! `MySQL` and `MariaDB`: one SQL text for both, run as prepared statements of few sizes.

mod connect;
mod migrate;
mod reader;
mod scanner;
mod session;
mod sweeper;
mod text;

use sqlx::mysql::MySqlArguments;
use sqlx::{Arguments, AssertSqlSafe};

use crate::engine::Engine;
use crate::engine::shapes::pad;
use crate::entry::Key;
use crate::error::Error;

pub(crate) use connect::MySql;
use connect::{Identity, error};
pub(crate) use reader::MySqlReader;
pub(crate) use scanner::MySqlScanner;
use session::MySqlSession;

/// The database's clock in microseconds. sysdate is read per row, after its lock; `now()` would be the
/// start of the statement and answer "updated" for an entry that expired while the lock was awaited.
macro_rules! now {
    () => {
        "cast(unix_timestamp(sysdate(6)) * 1000000 as unsigned)"
    };
}
use now;

impl Engine for MySql {
    type Session = MySqlSession;
    type Identity = Identity;
    const ROUND_TRIPS: bool = true;

    async fn connect(&self) -> Result<MySqlSession, Error> {
        let (connection, server) = self.open(true).await?;
        Ok(MySqlSession::new(connection, server.identity, server.statement_bytes_max))
    }

    fn identity(session: &MySqlSession) -> Identity {
        session.identity.clone()
    }

    async fn end(session: &mut MySqlSession, previous: &Identity) -> Result<(), Error> {
        if !session.identity.is_successor_of(previous) {
            return Ok(());
        }
        tracing::warn!(connection = previous.connection, "ending the half-dead connection of this lane");
        let kill = AssertSqlSafe(format!("kill {}", previous.connection));
        match sqlx::raw_sql(kill).execute(&mut session.connection).await.map_err(error) {
            // It is gone already.
            Ok(_) | Err(Error::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// `keys` as arguments, padded to a prepared size by repeating the last.
fn key_list<'a>(keys: impl ExactSizeIterator<Item = &'a Key> + Clone) -> Result<MySqlArguments, Error> {
    let mut arguments = MySqlArguments::default();
    for key in pad(keys) {
        bind(&mut arguments, key.as_str().as_bytes())?;
    }
    Ok(arguments)
}

fn bind<'t, T>(arguments: &mut MySqlArguments, value: T) -> Result<(), Error>
where
    T: sqlx::Encode<'t, sqlx::MySql> + sqlx::Type<sqlx::MySql>,
{
    arguments.add(value).map_err(|e| Error::Internal(e.to_string()))
}
