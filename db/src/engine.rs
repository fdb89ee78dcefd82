//! What a lane needs of a database: the steps of one fenced transaction. Two engines speak it.

pub(crate) mod clock;
pub(crate) mod columns;
pub(crate) mod schema;
pub(crate) mod shapes;

use std::future::Future;

use crate::entry::{Key, Rev};
use crate::error::Error;
use crate::plan::run::{Held, Row, Stored};
use crate::sweeper::hint::Hint;

/// The database users that [`Store::migrate`] gives exactly the rights their service needs.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// The user of `ws-ingest`; none = no grant.
    pub writer: Option<String>,
    /// The user of `rest-read`; none = no grant.
    pub reader: Option<String>,
}

/// A database that lanes can write to.
pub(crate) trait Engine: Clone + Send + Sync + 'static {
    /// One connection for writes.
    type Session: Session;
    /// Names a connection, so that its successor can end it on the server.
    type Identity: Send + Sync;

    /// Whether a statement is a round trip to a server, worth saving.
    const ROUND_TRIPS: bool;

    /// Opens a connection and checks that what it commits is durable and that the schema fits.
    fn connect(&self) -> impl Future<Output = Result<Self::Session, Error>> + Send;

    /// The identity of `session`.
    fn identity(session: &Self::Session) -> Self::Identity;

    /// Ends `previous` on the server if it may still hold the lane's locks there.
    fn end(
        session: &mut Self::Session,
        previous: &Self::Identity,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// One connection, used by one lane. After any error but [`Error::Conflict`] it is thrown away.
///
/// None of these futures may be dropped half-way unless the session is dropped with it.
pub(crate) trait Session: Send {
    /// Adds the fence row of a fresh lane and commits it.
    fn register(&mut self, lane: u64) -> impl Future<Output = Result<(), Error>> + Send;

    /// Begins the transaction and passes the fence: takes the lane's row if its seq is below `seq`,
    /// sets it, and reserves `revs` revisions. Answers the last of them, or `None` if no row matched.
    fn fence(
        &mut self,
        lane: u64,
        seq: u64,
        revs: u64,
    ) -> impl Future<Output = Result<Option<Rev>, Error>> + Send;

    /// The seq in the lane's fence row, if there is one. For a fence that did not match.
    fn seq(&mut self, lane: u64) -> impl Future<Output = Result<Option<u64>, Error>> + Send;

    /// What the store holds of `keys` (in key order); rows that exist are locked, in key order.
    fn held(&mut self, keys: &[&Key]) -> impl Future<Output = Result<Vec<Held>, Error>> + Send;

    /// Writes `rows` (in key order, their keys found absent); an entry that appeared is a conflict.
    fn insert(&mut self, rows: &[Row<'_>]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Writes `rows` (in key order, each locked and of a revision above the stored one).
    fn overwrite(&mut self, rows: &[Row<'_>]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Writes `rows` (in key order) whether or not their keys exist, and tells what became of each.
    fn upsert(&mut self, rows: &[Row<'_>]) -> impl Future<Output = Result<Vec<Stored>, Error>> + Send;

    /// Leaves `hints` for the sweeper.
    fn remember(&mut self, hints: &[Hint]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Sends COMMIT. Any error leaves the outcome unknown.
    fn commit(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Sends ROLLBACK.
    fn rollback(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Keeps an idle session alive and finds out whether it still is.
    fn touch(&mut self) -> impl Future<Output = Result<(), Error>> + Send;
}
