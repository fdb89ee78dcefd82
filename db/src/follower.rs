//! Follows the log of changes: reads which lanes have moved, which keys they wrote, and what these keys hold in the same snapshot.

use std::ops::ControlFlow;

use futures_util::future::Either;

use crate::changes::LogState;
use crate::engine::FollowSession as _;
use crate::engine::any::{AnyFollower, dispatch};
use crate::engine::shapes::KEYS_PER_SELECT_MAX;
use crate::entry::{Key, Rev};
use crate::error::Error;
use crate::row::RowError;
use crate::scanner::range::Range;
use crate::store::Store;
use crate::timeouts::{CONNECT_TIMEOUT, QUERY_TIMEOUT, within};

/// One connection that follows the log of changes. Drop it after an error, and if a snapshot was dropped without [`LogSnapshot::end`].
#[derive(Debug)]
pub struct Follower(AnyFollower);

/// The log of changes and the entries as they were at one instant, whatever is written meanwhile.
///
/// A snapshot locks nothing, but the database keeps every overwritten row until the snapshot ends. So it must not stay open for long.
#[derive(Debug)]
pub struct LogSnapshot<'a> {
    follower: &'a mut AnyFollower,
    state: LogState,
}

/// Which values [`LogSnapshot::rows`] and [`LogSnapshot::range`] bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// None. The database does not read them, so long values cost nothing.
    No,
    /// Those of at most this many bytes. A longer one gives [`RowError::LeftOut`].
    UpTo(usize),
}

/// The row of a key, judged at the instant [`LogState::now`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundRow<'r> {
    /// The key.
    pub key: &'r str,
    /// The revision.
    pub rev: Rev,
    /// What the key holds.
    pub content: Content<'r>,
}

/// What a row says of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'r> {
    /// An entry.
    Live {
        /// The value. `None` if and only if [`Values::No`].
        value: Option<&'r str>,
        /// When the entry expires, in microseconds since 1970 UTC. `None`: never.
        expires_at: Option<u64>,
    },
    /// Nothing: the last write was a delete.
    Deleted,
    /// Nothing any more: the entry expired at or before [`LogState::now`].
    Expired,
}

impl Store {
    /// Opens one connection that follows the log of changes within 3 seconds. Checks durability and schema.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::NotReady`].
    pub async fn follower(&self) -> Result<Follower, Error> {
        within(CONNECT_TIMEOUT, self.engine.open_follower()).await.map(Follower)
    }
}

impl Follower {
    /// Reads the state of the log by one statement within 5 seconds, outside of a snapshot. It only tells whether a lane has moved: what is read
    /// afterwards may be newer. Not cancel-safe: after the future is dropped, the follower must be dropped too.
    ///
    /// # Errors
    /// After any error the follower must be dropped.
    pub async fn poll(&mut self) -> Result<LogState, Error> {
        dispatch!(&mut self.0, follower => within(QUERY_TIMEOUT, follower.poll()).await)
    }

    /// Takes a snapshot within 5 seconds. It shows every write that was acknowledged before. Not cancel-safe: after the future is
    /// dropped, the follower must be dropped too.
    ///
    /// # Errors
    /// After any error the follower must be dropped.
    pub async fn snapshot(&mut self) -> Result<LogSnapshot<'_>, Error> {
        let state = dispatch!(&mut self.0, follower => within(QUERY_TIMEOUT, follower.begin()).await?);
        Ok(LogSnapshot { follower: &mut self.0, state })
    }

    /// Ends with an error when the database needs this connection to be closed at once: on `SQLite`, when its files were moved. Drop
    /// the follower then. The future does not borrow the follower, so that it can be awaited beside a snapshot.
    pub fn displaced(&self) -> impl Future<Output = Error> + Send + use<> {
        match &self.0 {
            AnyFollower::MySql(follower) => Either::Left(follower.displaced()),
            AnyFollower::Sqlite(follower) => Either::Right(follower.displaced()),
        }
    }

    /// Closes the connection and tells the server, which would otherwise log a client that vanished.
    pub async fn close(self) {
        dispatch!(self.0, follower => follower.close().await);
    }
}

/// Each method that reads sends one statement and ends within 5 seconds. None is cancel-safe: after its future is dropped, the follower must be
/// dropped too. Rows and keys that were given before an error are valid.
impl LogSnapshot<'_> {
    /// The state of the log at the instant of the snapshot.
    #[must_use]
    pub fn state(&self) -> &LogState {
        &self.state
    }

    /// Reads up to `rows_max` rows of the log of `lane` that come after the row `after` (seq and part), in their order. Calls `on_key` with each
    /// key and the seq of its batch. Returns the seq and the part of the last row, for the next call. `None`: there was no row.
    ///
    /// `(seq, u16::MAX)` is after every row of the batch `seq`.
    ///
    /// # Errors
    /// [`Error::Internal`] if a row is damaged. After any error the follower must be dropped.
    pub async fn changes(
        &mut self,
        lane: u64,
        after: (u64, u16),
        rows_max: usize,
        on_key: impl FnMut(u64, Key) + Send,
    ) -> Result<Option<(u64, u16)>, Error> {
        dispatch!(self.follower, follower => {
            within(QUERY_TIMEOUT, follower.changes(lane, after, rows_max, on_key)).await
        })
    }

    /// Reads the rows of up to 128 distinct keys by one SELECT, dead rows included, and calls `on_row` for each row as it arrives, in
    /// no order. A key without a row gives nothing.
    ///
    /// # Errors
    /// After any error the follower must be dropped.
    ///
    /// # Panics
    /// If there are more than 128 keys, or none.
    pub async fn rows(
        &mut self,
        keys: &[Key],
        values: Values,
        on_row: impl FnMut(Result<FoundRow<'_>, RowError>) + Send,
    ) -> Result<(), Error> {
        assert!((1..=KEYS_PER_SELECT_MAX).contains(&keys.len()), "as many keys as one SELECT takes");
        dispatch!(self.follower, follower => {
            within(QUERY_TIMEOUT, follower.rows(keys, self.state.now, values, on_row)).await
        })
    }

    /// Reads the first `limit` rows of `range` in key order by one statement, dead rows included, and calls `on_row` for each row
    /// as it arrives, until `on_row` returns `Break`. A server still sends the remaining rows, and they are ignored.
    ///
    /// Returns how many rows there were; fewer than `limit` means that the range ends there, unless `on_row` returned `Break`.
    ///
    /// # Errors
    /// After any error the follower must be dropped.
    pub async fn range(
        &mut self,
        range: &Range,
        limit: usize,
        values: Values,
        on_row: impl FnMut(Result<FoundRow<'_>, RowError>) -> ControlFlow<()> + Send,
    ) -> Result<usize, Error> {
        dispatch!(self.follower, follower => {
            within(QUERY_TIMEOUT, follower.range(range, limit, self.state.now, values, on_row)).await
        })
    }

    /// Ends the snapshot, so that the connection can take another.
    ///
    /// # Errors
    /// After any error the follower must be dropped.
    pub async fn end(self) -> Result<(), Error> {
        dispatch!(self.follower, follower => within(QUERY_TIMEOUT, follower.end()).await)
    }
}

#[cfg(test)]
mod tests;
