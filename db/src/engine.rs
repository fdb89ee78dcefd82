//! What the store needs of a database: write sessions, readers, scanners, a sweeper and migrations.
//!
//! To add an engine:
//! 1. Write `NAME.rs` and a folder `NAME/` with the files of `mysql/`: `connect` (opens and checks connections), `error` (the class
//!    of each error), `text` (every statement), `clock`, `arguments`, `session`, `reader`, `scanner`, `follower`, `sweeper` and
//!    `migrate`.
//! 2. Implement [`Engine`] and the traits that it builds on. An engine for tests of the write path needs only [`WriteEngine`] and
//!    [`WriteSession`].
//! 3. Put its migrations into `migrations/NAME/`.
//! 4. Add a variant to [`any::Any`], the only place that tells engines apart.

pub(crate) mod any;
pub(crate) mod clock;
pub(crate) mod columns;
pub(crate) mod log;
pub(crate) mod schema;
pub(crate) mod shapes;
pub(crate) mod sweep;
pub(crate) mod yielding;

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::time::Duration;

use crate::changes::LogState;
use crate::entry::{Entry, Key, KeyRecord, Record, Rev};
use crate::error::Error;
use crate::follower::{FoundRow, Values};
use crate::plan::run::{CurrentRow, Row, UpsertResult};
use crate::row::RowError;
use crate::scanner::range::Range;
use crate::sweeper::hint::Hint;
use sweep::{ExpirySession, LogSession};

/// The database users of the services. [`crate::Store::migrate`] gives each user exactly the rights that its service needs.
#[derive(Debug, Clone, Default)]
pub struct DatabaseUsers {
    /// The user of `ws-ingest`. `None`: nothing is granted.
    pub writer: Option<String>,
    /// The user of `rest-read`. `None`: nothing is granted.
    pub reader: Option<String>,
}

/// A database that lanes can write to.
pub(crate) trait WriteEngine: Clone + Send + Sync + 'static {
    /// One connection for writes.
    type Session: WriteSession;
    /// Names a connection, so that a later connection can kill it on the server.
    type Identity: Send + Sync;

    /// Whether a statement is a round trip to a server, which is worth saving.
    const ROUND_TRIPS: bool;
    /// How long a connection may be idle before a statement checks it.
    const IDLE_MAX: Duration;

    /// Opens a session. Checks that its commits are durable and that the schema fits.
    fn open_session(&self) -> impl Future<Output = Result<Self::Session, Error>> + Send;

    /// The identity of `session`.
    fn identity(session: &Self::Session) -> Self::Identity;

    /// Kills the connection `lock_holder` on the server if it may still hold locks of the lane.
    fn kill(
        session: &mut Self::Session,
        lock_holder: &Self::Identity,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// What a look for locks has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FoundLocks {
    /// The keys that somebody else holds locked.
    pub(crate) locked: Vec<Key>,
    /// The other keys that have no row. To add one may still meet the lock of a gap between rows, which no look shows.
    pub(crate) absent: HashSet<Key>,
}

/// One connection of one lane. After [`Error::Unavailable`] or [`Error::NotReady`] it must be dropped. After another error, such as
/// [`Error::Refused`], it may be used again if a rollback succeeds.
///
/// To drop a future of these methods before it is done is allowed only if the session is dropped too.
pub(crate) trait WriteSession: Send {
    /// Adds the fence row of a new lane, and commits it. `logs`: the lane will log its changes.
    fn register(&mut self, lane: u64, logs: bool) -> impl Future<Output = Result<(), Error>> + Send;

    /// Begins the transaction and passes the fence: if the seq in the lane's row is below `seq`, sets it and reserves `revs`
    /// revisions. Returns the last of them, or `None` if no row matched.
    fn fence(
        &mut self,
        lane: u64,
        seq: u64,
        revs: u64,
    ) -> impl Future<Output = Result<Option<Rev>, Error>> + Send;

    /// The seq in the lane's row; `None` if there is no row. For a fence that did not match.
    fn read_seq(&mut self, lane: u64) -> impl Future<Output = Result<Option<u64>, Error>> + Send;

    /// Looks which of `keys`, in key order, somebody else holds locked. Waits for no lock, and locks the rows that are free. Where it
    /// finds a locked key, it may have ended the transaction.
    fn find_locked(&mut self, keys: &[&Key]) -> impl Future<Output = Result<FoundLocks, Error>> + Send;

    /// What the store holds of `keys`, which are in key order. Locks the rows that exist, in key order.
    fn read_for_update(
        &mut self,
        keys: &[&Key],
    ) -> impl Future<Output = Result<Vec<CurrentRow>, Error>> + Send;

    /// Writes `rows`, which are in key order and whose keys have no row. A row that has appeared is a conflict.
    fn insert(&mut self, rows: &[Row<'_>]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Writes `rows`, which are in key order, locked, and of a higher revision than the stored ones.
    fn overwrite(&mut self, rows: &[Row<'_>]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Writes `rows`, which are in key order, whether or not their keys have rows. Returns a result for each.
    fn upsert(&mut self, rows: &[Row<'_>]) -> impl Future<Output = Result<Vec<UpsertResult>, Error>> + Send;

    /// Adds hints for the sweeper.
    fn add_hints(&mut self, hints: &[Hint]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Adds `keys`, at least one, to the log of changes, as the keys that the batch `seq` of `lane` has written.
    fn log_changes(
        &mut self,
        lane: u64,
        seq: u64,
        keys: &[Key],
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Sends COMMIT. After any error but [`Error::Refused`] the outcome is unknown.
    fn commit(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Sends ROLLBACK.
    fn rollback(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    /// An idle lane calls this each second, or each [`WriteEngine::IDLE_MAX`] if that is shorter.
    ///
    /// 1. Stores the time in the row of `lane`, unless the stored time is younger than 0.9 s or no entry may expire.
    /// 2. Finds out whether the idle session still works, and keeps the server from closing it.
    /// 3. After [`Error::Refused`], finds out whether the database would take the refused writes now.
    ///
    /// May skip 1 and 2 if another session of the process did them within the last second, and this session was used in the last 10 s.
    fn touch(&mut self, lane: u64) -> impl Future<Output = Result<(), Error>> + Send;
}

/// A database with everything that the store needs.
pub(crate) trait Engine: WriteEngine {
    /// One connection for gets.
    type Reader: ReadSession;
    /// One connection for reads in key order.
    type Scanner: ScanSession;
    /// One connection that follows the log of changes.
    type Follower: FollowSession;
    /// One connection of the sweeper.
    type Sweeper: ExpirySession + LogSession;

    /// The name of the engine as `OpenTelemetry` spells it.
    const SYSTEM: &'static str;

    /// How many lanes a writer starts where `single` lanes for single ops are configured. The last one takes atomic writes.
    fn lanes(single: NonZeroUsize) -> usize;

    /// Opens a connection for gets, and checks durability and schema.
    fn open_reader(&self) -> impl Future<Output = Result<Self::Reader, Error>> + Send;

    /// Opens a connection for reads in key order, and checks durability and schema.
    fn open_scanner(&self) -> impl Future<Output = Result<Self::Scanner, Error>> + Send;

    /// Opens a connection that follows the log of changes, and checks durability and schema.
    fn open_follower(&self) -> impl Future<Output = Result<Self::Follower, Error>> + Send;

    /// Brings the schema up to date, then gives `users` their rights. Several processes may do so at once.
    fn migrate(&self, users: &DatabaseUsers) -> impl Future<Output = Result<(), Error>>;

    /// Replaces the id of the store. See [`LogState::store_id`].
    fn set_store_id(&self, id: u64) -> impl Future<Output = Result<(), Error>>;

    /// Waits until the database has closed every connection of this process.
    fn wait_closed(&self) -> impl Future<Output = ()> + Send;

    /// Opens a connection for the sweeper, and checks durability and schema.
    fn open_sweeper(&self) -> impl Future<Output = Result<Self::Sweeper, Error>> + Send;
}

/// One connection for gets. After any error it must be dropped.
pub(crate) trait ReadSession: Send {
    /// Reads `keys` by one SELECT, and calls `on_row` for each live entry as it arrives, until `on_row` returns `Break`. A server still
    /// sends the remaining rows, and they are ignored. Values of more than `value_bytes_max` bytes are left out.
    fn get(
        &mut self,
        keys: &[Key],
        value_bytes_max: Option<usize>,
        on_row: impl FnMut(Result<Entry, RowError>) -> ControlFlow<()> + Send,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// One connection for reads in key order. After any error it must be dropped.
pub(crate) trait ScanSession: Send {
    /// Takes a snapshot.
    fn begin(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Reads the first `limit` rows of `range` by one statement, and calls `on_row` for each row as it arrives, until
    /// `on_row` returns `Break`. A server still sends the remaining rows, and they are ignored. Values of more than `value_bytes_max`
    /// bytes are left out. Returns how many rows there were, unless `on_row` returned `Break`.
    fn records(
        &mut self,
        range: &Range,
        limit: usize,
        value_bytes_max: usize,
        on_row: impl FnMut(Result<Record<'_>, RowError>) -> ControlFlow<()> + Send,
    ) -> impl Future<Output = Result<usize, Error>> + Send;

    /// Reads the first `limit` rows of `range` without their values, which the database does not read. Otherwise the same as `records`.
    fn keys(
        &mut self,
        range: &Range,
        limit: usize,
        on_row: impl FnMut(Result<KeyRecord<'_>, RowError>) -> ControlFlow<()> + Send,
    ) -> impl Future<Output = Result<usize, Error>> + Send;

    /// Ends with an error when the database needs this connection to be closed, however slowly the snapshot is read. The future does
    /// not borrow the session.
    fn displaced(&self) -> impl Future<Output = Error> + Send + use<Self>;

    /// Ends the snapshot.
    fn end(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Closes the connection.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// One connection that follows the log of changes. After any error it must be dropped.
pub(crate) trait FollowSession: Send {
    /// Reads the state of the log by one statement, outside of a snapshot.
    fn poll(&mut self) -> impl Future<Output = Result<LogState, Error>> + Send;

    /// Takes a snapshot, and reads the state of the log from it.
    fn begin(&mut self) -> impl Future<Output = Result<LogState, Error>> + Send;

    /// Reads up to `rows_max` rows of the log of `lane` that come after the row `after` (seq and part), in their order, by one
    /// statement. Calls `on_key` with the seq of each key. Returns the last row; `None` if there was no row.
    fn changes(
        &mut self,
        lane: u64,
        after: (u64, u16),
        rows_max: usize,
        on_key: impl FnMut(u64, Key) + Send,
    ) -> impl Future<Output = Result<Option<(u64, u16)>, Error>> + Send;

    /// Reads the rows of `keys` by one SELECT, dead rows included, and calls `on_row` for each row as it arrives. Whether a row is
    /// live is judged at the instant `now`.
    fn rows(
        &mut self,
        keys: &[Key],
        now: u64,
        values: Values,
        on_row: impl FnMut(Result<FoundRow<'_>, RowError>) + Send,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Reads the first `limit` rows of `range` by one statement, dead rows included, and calls `on_row` for each row as it arrives,
    /// until `on_row` returns `Break`. A server still sends the remaining rows, and they are ignored. Returns how many rows there
    /// were, unless `on_row` returned `Break`.
    fn range(
        &mut self,
        range: &Range,
        limit: usize,
        now: u64,
        values: Values,
        on_row: impl FnMut(Result<FoundRow<'_>, RowError>) -> ControlFlow<()> + Send,
    ) -> impl Future<Output = Result<usize, Error>> + Send;

    /// As [`ScanSession::displaced`].
    fn displaced(&self) -> impl Future<Output = Error> + Send + use<Self>;

    /// Ends the snapshot.
    fn end(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Closes the connection.
    fn close(self) -> impl Future<Output = ()> + Send;
}
