//! Reading in key order: a connection of its own, a snapshot at a time, one statement after another.

pub(crate) mod range;

use std::ops::ControlFlow;

use crate::entry::Record;
use crate::error::Error;
use crate::mysql::MySqlScanner;
use crate::scanner::range::Range;
use crate::sqlite::SqliteScanner;
use crate::store::{AnyEngine, Store};
use crate::timeouts::{CONNECT_TIMEOUT, QUERY_TIMEOUT, within};

/// One connection that reads in key order, from one [`Snapshot`] at a time. Throw it away after an error, and if a
/// snapshot was not ended.
#[derive(Debug)]
pub struct Scanner(AnyScanner);

#[derive(Debug)]
enum AnyScanner {
    MySql(MySqlScanner),
    Sqlite(SqliteScanner),
}

/// The store as it was at one instant, whatever is written meanwhile. Only read: it locks nothing, but as long as it lasts
/// the database keeps what is overwritten.
#[derive(Debug)]
pub struct Snapshot<'a>(&'a mut AnyScanner);

impl Store {
    /// Opens one connection that reads in key order, checking durability and schema, within 3 seconds.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::NotReady`].
    pub async fn scanner(&self) -> Result<Scanner, Error> {
        let open = async {
            Ok(Scanner(match &self.engine {
                AnyEngine::MySql(mysql) => AnyScanner::MySql(mysql.scanner().await?),
                AnyEngine::Sqlite(sqlite) => AnyScanner::Sqlite(sqlite.scanner().await?),
            }))
        };
        within(CONNECT_TIMEOUT, open).await
    }
}

impl Scanner {
    /// Takes a snapshot, within 5 seconds. It shows every write that was acknowledged before.
    ///
    /// # Errors
    /// After any error the connection must be thrown away.
    pub async fn snapshot(&mut self) -> Result<Snapshot<'_>, Error> {
        match &mut self.0 {
            AnyScanner::MySql(scanner) => within(QUERY_TIMEOUT, scanner.begin()).await?,
            AnyScanner::Sqlite(scanner) => within(QUERY_TIMEOUT, scanner.begin()).await?,
        }
        Ok(Snapshot(&mut self.0))
    }

    /// Closes the connection; the server is told, so that it does not log a client that vanished.
    pub async fn close(self) {
        match self.0 {
            AnyScanner::MySql(scanner) => scanner.close().await,
            AnyScanner::Sqlite(scanner) => scanner.close().await,
        }
    }
}

impl Snapshot<'_> {
    /// Reads the first `most` rows of `range` in key order, dead ones included, by one statement, and calls `on_record` for
    /// each as it arrives, until it breaks: the rest is then fetched in vain, for a statement cannot be cut short.
    ///
    /// Answers how many rows there were: if fewer than `most`, the range ends there. Ends within 5 seconds. Not
    /// cancel-safe: dropping the future half-way spoils the connection.
    ///
    /// # Errors
    /// After any error the connection must be thrown away; records given so far are valid.
    pub async fn records(
        &mut self,
        range: &Range,
        most: usize,
        on_record: impl FnMut(Record<'_>) -> ControlFlow<()> + Send,
    ) -> Result<usize, Error> {
        match self.0 {
            AnyScanner::MySql(scanner) => {
                within(QUERY_TIMEOUT, scanner.records(range, most, on_record)).await
            }
            AnyScanner::Sqlite(scanner) => {
                within(QUERY_TIMEOUT, scanner.records(range, most, on_record)).await
            }
        }
    }

    /// Gives the snapshot up, so that the connection can take another.
    ///
    /// # Errors
    /// After any error the connection must be thrown away.
    pub async fn end(self) -> Result<(), Error> {
        match self.0 {
            AnyScanner::MySql(scanner) => within(QUERY_TIMEOUT, scanner.end()).await,
            AnyScanner::Sqlite(scanner) => within(QUERY_TIMEOUT, scanner.end()).await,
        }
    }
}
