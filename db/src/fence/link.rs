//! A lane's way to the database: its connection, and its row in the fence table.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Patience, Transaction};
use crate::Error;
use crate::engine::{Engine, Session};
use crate::store::{CONNECT_TIMEOUT, within};
use crate::writer::LaneState;

/// How long a lane that writes nothing keeps its fence row: well below the day after which the sweeper takes it for that of a
/// lane long gone.
const FRESH: Duration = Duration::from_hours(6);

/// A connection attempt that outlives whoever waits for it.
type Connecting<S> = BoxFuture<'static, Result<S, Error>>;

/// One connection at a time, and one row of the fence table.
pub(crate) struct Link<E: Engine> {
    engine: E,
    state: LaneState,
    /// Ids are drawn from it.
    random: StdRng,
    /// The fence row; fresh per start, replaced when it cannot be trusted.
    id: u64,
    is_registered: bool,
    /// The number of the batch under way.
    seq: u64,
    /// When the fence was passed last, or the row was to be added.
    fenced: Instant,
    connection: Connection<E::Session>,
    /// The connection before this one, which may still hold the row; none if it is not to be ended.
    previous: Option<E::Identity>,
}

/// The connection of a lane while no batch uses it.
enum Connection<S> {
    /// There is none, or a batch has it.
    None,
    /// It is being opened; that goes on whenever somebody waits for it.
    Opening(Connecting<S>),
    /// It is open, and no transaction on it.
    Idle(S),
    /// The fence of the next batch is passed.
    Ahead(Transaction<S>),
}

/// How the transaction of a batch began.
pub(super) enum Begun<S> {
    /// The fence matched: no earlier attempt under this number was applied, nor will be.
    Passed(Transaction<S>),
    /// The fence matched no row. This number stands in the lane's row; none: the row is gone.
    Missed(Option<u64>),
}

/// Why a transaction did not begin. What this means for the connection has been done.
#[derive(Debug)]
pub(super) struct Failed(pub(super) Error);

impl<E: Engine> Link<E> {
    pub(crate) fn new(engine: E, state: LaneState, mut random: StdRng) -> Self {
        Self {
            engine,
            state,
            id: fresh_id(&mut random),
            random,
            is_registered: false,
            seq: 0,
            fenced: Instant::now(),
            connection: Connection::None,
            previous: None,
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    pub(crate) fn is_open(&self) -> bool {
        match self.connection {
            Connection::Idle(_) | Connection::Ahead(_) => true,
            Connection::None | Connection::Opening(_) => false,
        }
    }

    /// The next batch has the next number, so that its fence can tell it from this one.
    pub(crate) fn next_batch(&mut self) {
        match self.connection {
            // A fence that no batch has used is the fence of the next one.
            Connection::Ahead(_) => {}
            Connection::None | Connection::Opening(_) | Connection::Idle(_) => self.seq += 1,
        }
    }

    /// Connects unless there is a connection. Says once why there is none, however
    /// often it is tried. Dropping the future does not end the attempt.
    pub(crate) async fn open(&mut self, patience: &mut Patience<'_>) -> Result<(), Error> {
        if matches!(self.connection, Connection::None) {
            let connecting = connect(self.engine.clone(), self.id, self.is_registered).boxed();
            self.connection = Connection::Opening(connecting);
        }
        let connected = match &mut self.connection {
            Connection::Opening(connecting) => patience.connection(async { Ok(connecting.await) }).await?,
            Connection::None | Connection::Idle(_) | Connection::Ahead(_) => return Ok(()),
        };
        match connected {
            Ok(session) => {
                self.connection = Connection::Idle(session);
                self.is_registered = true;
                if self.state.set(Ok(())) {
                    info!(lane = self.id, "database connected");
                }
                Ok(())
            }
            Err(error) => {
                self.connection = Connection::None;
                if self.state.set(Err(error.to_string())) {
                    warn!(%error, lane = self.id, "no database connection; trying again");
                }
                Err(error)
            }
        }
    }

    /// Begins the transaction of a batch: connects if need be, and passes the fence unless that was done ahead.
    pub(super) async fn begin(
        &mut self,
        revs: u64,
        patience: &mut Patience<'_>,
    ) -> Result<Begun<E::Session>, Failed> {
        self.open(patience).await.map_err(Failed)?;
        match std::mem::replace(&mut self.connection, Connection::None) {
            Connection::Ahead(transaction) if transaction.reserved() >= revs => {
                return Ok(Begun::Passed(transaction));
            }
            Connection::Ahead(transaction) => self.roll_back(transaction, patience).await,
            idle => self.connection = idle,
        }
        self.fence(revs, patience).await
    }

    /// Passes the fence of the next batch while there is nothing else to do, where that saves time. It holds the lane's
    /// own row from then on, until the batch comes or [`Link::rest`].
    pub(crate) async fn fence_ahead(&mut self, revs: u64, patience: &mut Patience<'_>) {
        match self.connection {
            Connection::Idle(_) if E::ROUND_TRIPS => {}
            Connection::None | Connection::Opening(_) | Connection::Idle(_) | Connection::Ahead(_) => return,
        }
        // Where it does not match or fails, the batch will meet the same, and answer for it.
        if let Ok(Begun::Passed(transaction)) = self.fence(revs, patience).await {
            self.connection = Connection::Ahead(transaction);
        }
    }

    /// Passes the fence on the idle connection; if an earlier connection of this lane still holds the row, ends that one.
    async fn fence(&mut self, revs: u64, patience: &mut Patience<'_>) -> Result<Begun<E::Session>, Failed> {
        let mut session = match std::mem::replace(&mut self.connection, Connection::None) {
            Connection::Idle(session) => session,
            Connection::None | Connection::Opening(_) | Connection::Ahead(_) => {
                return Err(Failed(Error::Unavailable("the connection was lost before the fence".into())));
            }
        };
        self.fenced = Instant::now();
        let passed = patience.statement(session.fence(self.id, self.seq, revs)).await;
        match passed {
            Ok(Some(last)) => {
                self.previous = None;
                Ok(Begun::Passed(Transaction::new(session, last, revs)))
            }
            Ok(None) => {
                self.previous = None;
                let found = patience.statement(session.seq(self.id)).await;
                self.end(session, found.as_ref().err(), patience).await;
                found.map(Begun::Missed).map_err(Failed)
            }
            Err(error @ Error::Conflict(_)) => {
                let ended = match &self.previous {
                    Some(previous) => patience.statement(E::end(&mut session, previous)).await,
                    None => Ok(()),
                };
                self.end(session, ended.as_ref().err(), patience).await;
                Err(Failed(error))
            }
            Err(error) => {
                self.lose(&session, &error);
                Err(Failed(error))
            }
        }
    }

    /// Sends COMMIT and waits for its answer. An error tells nothing about what became of it.
    ///
    /// The connection is then not ended on the server: if it waits there for room on the disk, the whole of `MySQL` would stop.
    /// If COMMIT never got there, the server ends it by itself.
    pub(super) async fn commit(
        &mut self,
        mut transaction: Transaction<E::Session>,
        patience: &mut Patience<'_>,
    ) -> Result<(), Error> {
        let committed = patience.statement(transaction.session.commit()).await;
        match &committed {
            Ok(()) => self.connection = Connection::Idle(transaction.session),
            Err(error) => {
                self.lose(&transaction.session, error);
                self.previous = None;
            }
        }
        committed
    }

    /// Ends a transaction that met `error`, which is no answer to its COMMIT.
    pub(super) async fn abandon(
        &mut self,
        transaction: Transaction<E::Session>,
        error: &Error,
        patience: &mut Patience<'_>,
    ) {
        self.end(transaction.session, Some(error), patience).await;
    }

    /// Ends a transaction that is not to be committed.
    pub(super) async fn roll_back(
        &mut self,
        transaction: Transaction<E::Session>,
        patience: &mut Patience<'_>,
    ) {
        self.end(transaction.session, None, patience).await;
    }

    /// Rolls back and keeps the connection, unless `error` or the rollback says that it is of no use any more.
    async fn end(&mut self, mut session: E::Session, error: Option<&Error>, patience: &mut Patience<'_>) {
        match error {
            None | Some(Error::Conflict(_)) => match patience.statement(session.rollback()).await {
                Ok(()) => self.connection = Connection::Idle(session),
                Err(error) => self.lose(&session, &error),
            },
            Some(error @ (Error::Unavailable(_) | Error::NotReady(_) | Error::Internal(_))) => {
                self.lose(&session, error);
            }
        }
    }

    /// Nothing is to be written for now: ends a fence that was passed ahead.
    pub(crate) async fn rest(&mut self, patience: &mut Patience<'_>) {
        match std::mem::replace(&mut self.connection, Connection::None) {
            Connection::Ahead(transaction) => self.roll_back(transaction, patience).await,
            other => self.connection = other,
        }
    }

    /// Keeps an idle connection alive, and finds out whether it still is.
    pub(crate) async fn touch(&mut self, patience: &mut Patience<'_>) {
        // Committed by itself, a fence that was passed ahead would guard nothing.
        self.rest(patience).await;
        if self.fenced.elapsed() > FRESH {
            return self.forget();
        }
        match std::mem::replace(&mut self.connection, Connection::None) {
            Connection::Idle(mut session) => match patience.statement(session.touch()).await {
                Ok(()) => self.connection = Connection::Idle(session),
                Err(error) => self.lose(&session, &error),
            },
            other => self.connection = other,
        }
    }

    /// The connection is of no use any more, because of `error`.
    fn lose(&mut self, session: &E::Session, error: &Error) {
        warn!(%error, lane = self.id, "database connection given up");
        self.previous = Some(E::identity(session));
        self.state.set(Err(error.to_string()));
    }

    /// Goes on under a fresh id: the old fence row says nothing about this lane any more.
    pub(super) fn forget(&mut self) {
        (self.id, self.is_registered, self.seq) = (fresh_id(&mut self.random), false, 1);
        (self.connection, self.previous) = (Connection::None, None);
        self.fenced = Instant::now();
    }
}

/// A connection whose fence row is there.
async fn connect<E: Engine>(engine: E, lane: u64, registered: bool) -> Result<E::Session, Error> {
    within(CONNECT_TIMEOUT, async {
        let mut session = engine.connect().await?;
        if !registered {
            session.register(lane).await?;
        }
        Ok(session)
    })
    .await
}

/// 63 bits that no other lane has, so that it fits the signed column of `SQLite` too.
fn fresh_id(random: &mut StdRng) -> u64 {
    random.random::<u64>() >> 1
}
