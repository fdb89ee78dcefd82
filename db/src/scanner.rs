//! Reads in key order: one connection, one snapshot at a time, one statement after another.

pub(crate) mod range;

use std::ops::ControlFlow;

use futures_util::future::Either;

use crate::engine::ScanSession as _;
use crate::engine::any::{AnyScanner, dispatch};
use crate::entry::{KeyRecord, Record};
use crate::error::Error;
use crate::row::RowError;
use crate::scanner::range::Range;
use crate::store::Store;
use crate::timeouts::{CONNECT_TIMEOUT, QUERY_TIMEOUT, within};

/// One connection that reads in key order, from one [`Snapshot`] at a time. Drop it after an error, and if a snapshot was not
/// ended.
#[derive(Debug)]
pub struct Scanner(AnyScanner);

/// The store as it was at one instant, whatever is written meanwhile.
///
/// A snapshot locks nothing, but the database keeps every overwritten row until the snapshot ends.
#[derive(Debug)]
pub struct Snapshot<'a>(&'a mut AnyScanner);

impl Store {
    /// Opens one connection for reads in key order within 3 seconds. Checks durability and schema.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::NotReady`].
    pub async fn scanner(&self) -> Result<Scanner, Error> {
        within(CONNECT_TIMEOUT, self.engine.open_scanner()).await.map(Scanner)
    }
}

impl Scanner {
    /// Takes a snapshot within 5 seconds. It shows every write that was acknowledged before.
    ///
    /// # Errors
    /// After any error the scanner must be dropped.
    pub async fn snapshot(&mut self) -> Result<Snapshot<'_>, Error> {
        dispatch!(&mut self.0, scanner => within(QUERY_TIMEOUT, scanner.begin()).await?);
        Ok(Snapshot(&mut self.0))
    }

    /// Ends with an error when the database needs this connection to be closed at once: on `SQLite`, when its files were moved. Drop
    /// the scanner then. The future does not borrow the scanner, so that it can be awaited beside a snapshot.
    pub fn displaced(&self) -> impl Future<Output = Error> + Send + use<> {
        match &self.0 {
            AnyScanner::MySql(scanner) => Either::Left(scanner.displaced()),
            AnyScanner::Sqlite(scanner) => Either::Right(scanner.displaced()),
        }
    }

    /// Closes the connection and tells the server, which would otherwise log a client that vanished.
    pub async fn close(self) {
        dispatch!(self.0, scanner => scanner.close().await);
    }
}

impl Snapshot<'_> {
    /// Reads the first `limit` rows of `range` in key order by one statement, dead rows included, and calls `on_row` for each
    /// row as it arrives, until `on_row` returns `Break`. A server still sends the remaining rows, and they are ignored. Values of
    /// more than `value_bytes_max` bytes are left out.
    ///
    /// Returns how many rows there were; fewer than `limit` means that the range ends there, unless `on_row` returned `Break`. Ends
    /// within 5 seconds. Not cancel-safe: after the future is dropped, the scanner must be dropped too.
    ///
    /// # Errors
    /// After any error the scanner must be dropped. Records that were given before the error are valid.
    pub async fn records(
        &mut self,
        range: &Range,
        limit: usize,
        value_bytes_max: usize,
        on_row: impl FnMut(Result<Record<'_>, RowError>) -> ControlFlow<()> + Send,
    ) -> Result<usize, Error> {
        dispatch!(self.0, scanner => {
            within(QUERY_TIMEOUT, scanner.records(range, limit, value_bytes_max, on_row)).await
        })
    }

    /// Reads the first `limit` rows of `range` without their values, so long values cost nothing. Otherwise the same as
    /// [`records`](Self::records).
    ///
    /// # Errors
    /// After any error the scanner must be dropped. Records that were given before the error are valid.
    pub async fn keys(
        &mut self,
        range: &Range,
        limit: usize,
        on_row: impl FnMut(Result<KeyRecord<'_>, RowError>) -> ControlFlow<()> + Send,
    ) -> Result<usize, Error> {
        dispatch!(self.0, scanner => within(QUERY_TIMEOUT, scanner.keys(range, limit, on_row)).await)
    }

    /// Gives the snapshot up, so that the connection can take another.
    ///
    /// # Errors
    /// After any error the scanner must be dropped.
    pub async fn end(self) -> Result<(), Error> {
        dispatch!(self.0, scanner => within(QUERY_TIMEOUT, scanner.end()).await)
    }
}
