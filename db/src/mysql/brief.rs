//! Statements that must not wait for a lock for long.

use std::pin::pin;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use tokio::time::timeout;

use super::connect::{MySql, close};
use super::error::{classify, number};
use super::text;
use crate::error::{Cause, Error};

/// How long a statement may take that should meet no lock. The shortest lock wait of the server is a second.
const BRIEF_MAX: Duration = Duration::from_millis(150);

/// The number of the error of a statement that was ended.
const INTERRUPTED: u16 = 1317;

/// The result of a `statement` that runs on the connection `id` of `server`. A statement that takes too long is ended, by another
/// connection, and counts as a lock wait.
pub(super) async fn brief<T>(
    server: &MySql,
    id: u64,
    statement: impl Future<Output = sqlx::Result<T>>,
) -> Result<T, Error> {
    let mut statement = pin!(statement);
    if let Ok(done) = timeout(BRIEF_MAX, &mut statement).await {
        return done.map_err(classify);
    }
    let mut other = server.open_unchecked().await?;
    let kill = AssertSqlSafe(text::kill_statement(id));
    let killed = sqlx::raw_sql(kill).execute(&mut other).await.map_err(classify);
    close(other).await;
    killed?;
    match statement.await {
        Err(error) if number(&error) != Some(INTERRUPTED) => Err(classify(error)),
        // If the statement has ended by itself, the next one may be ended instead. It is the rollback that follows this error.
        Ok(_) | Err(_) => Err(Error::Conflict(Cause::LockWait("the statement took too long".into()))),
    }
}
