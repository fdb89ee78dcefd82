//! A lane's way to the database: its connection, and the fence row that tells what became of a lost COMMIT.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tracing::{info, warn};

use crate::Error;
use crate::engine::{Engine, Session};
use crate::entry::Rev;
use crate::store::{CONNECT_TIMEOUT, QUERY_TIMEOUT, within};
use crate::writer::{LaneState, Refusal};

/// How long a lane that writes nothing keeps its fence row: well below the day after which the sweeper takes it for that of a
/// lane long gone.
const FRESH: Duration = Duration::from_hours(6);

/// A connection attempt that outlives whoever waits for it.
type Connecting<S> = BoxFuture<'static, Result<S, Error>>;

/// One connection at a time, and one row of the fence table.
pub(crate) struct Link<E: Engine> {
    engine: E,
    state: LaneState,
    /// The fence row; fresh per start, replaced when it cannot be trusted.
    id: u64,
    registered: bool,
    /// The number of the batch under way.
    seq: u64,
    /// When the fence was passed last, or the row was to be added.
    fenced: Instant,
    /// The fence of that batch is passed: the last of the revisions it reserved, and their number.
    ahead: Option<(Rev, u64)>,
    session: Option<E::Session>,
    /// A connection being opened; it goes on whenever somebody waits for it.
    connecting: Option<Connecting<E::Session>>,
    /// The connection before this one, which may still hold the row; none if it is not to be ended.
    previous: Option<E::Identity>,
}

impl<E: Engine> Link<E> {
    pub(crate) fn new(engine: E, state: LaneState) -> Self {
        Self {
            engine,
            state,
            id: fresh_id(),
            registered: false,
            seq: 0,
            fenced: Instant::now(),
            ahead: None,
            session: None,
            connecting: None,
            previous: None,
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    pub(crate) fn is_open(&self) -> bool {
        self.session.is_some()
    }

    pub(crate) fn session(&mut self) -> Option<&mut E::Session> {
        self.session.as_mut()
    }

    /// What a write that must not wait any longer is told.
    pub(crate) fn refusal(&self) -> Refusal {
        match self.state.get() {
            Ok(()) => Refusal::Overloaded,
            Err(_) => Refusal::Unavailable,
        }
    }

    /// The next batch has the next number, so that its fence can tell it from this one.
    pub(crate) fn next_batch(&mut self) {
        // A fence that no batch has used is the fence of this one.
        if self.ahead.is_none() {
            self.seq += 1;
        }
    }

    /// Connects unless there is a connection, and waits for it at most for `limit`. Says once why there is none, however
    /// often it is tried. Dropping the future does not end the attempt.
    pub(crate) async fn open(&mut self, limit: Duration) -> Result<(), Error> {
        if self.session.is_some() {
            return Ok(());
        }
        let begin = || connect(self.engine.clone(), self.id, self.registered).boxed();
        let connecting = self.connecting.get_or_insert_with(begin);
        let connected = within(limit, async { Ok(connecting.await) }).await?;
        self.connecting = None;
        let opened = connected.map(|session| self.session = Some(session));
        match &opened {
            Ok(()) => {
                self.registered = true;
                if self.state.set(Ok(())) {
                    info!(lane = self.id, "database connected");
                }
            }
            Err(error) => {
                if self.state.set(Err(error.to_string())) {
                    warn!(%error, lane = self.id, "no database connection; trying again");
                }
            }
        }
        opened
    }

    /// Passes the fence of the next batch while there is nothing else to do, where that saves time. It holds the lane's
    /// own row and nothing else until the batch comes, or [`Link::rollback`].
    pub(crate) async fn fence_ahead(&mut self, revs: u64) {
        if !E::ROUND_TRIPS || self.ahead.is_some() || self.session.is_none() {
            return;
        }
        match self.fence(revs, QUERY_TIMEOUT).await {
            Ok(Some(last)) => self.ahead = Some((last, revs)),
            // The batch will meet the same, and answer for it.
            Ok(None) | Err(Error::Conflict(_)) => self.rollback().await,
            Err(error) => self.close(&error),
        }
    }

    /// Passes the fence, if it was not passed ahead; if an earlier connection of this lane still holds its row, ends that one.
    pub(crate) async fn fence(&mut self, revs: u64, limit: Duration) -> Result<Option<Rev>, Error> {
        if let Some((last, reserved)) = self.ahead.take() {
            if revs <= reserved {
                return Ok(Some(last));
            }
            self.rollback().await;
        }
        let Some(session) = &mut self.session else {
            return Err(Error::Unavailable("not connected".into()));
        };
        self.fenced = Instant::now();
        let fenced = within(limit, session.fence(self.id, self.seq, revs)).await;
        match fenced {
            Ok(rev) => {
                self.previous = None;
                Ok(rev)
            }
            Err(Error::Conflict(reason)) => {
                if let Some(previous) = &self.previous {
                    within(QUERY_TIMEOUT, E::end(session, previous)).await?;
                }
                Err(Error::Conflict(reason))
            }
            Err(error) => Err(error),
        }
    }

    /// What stands in the fence row, after a fence that did not match; ends its transaction.
    pub(crate) async fn found_seq(&mut self, limit: Duration) -> Result<Option<u64>, Error> {
        let Some(session) = &mut self.session else {
            return Err(Error::Unavailable("not connected".into()));
        };
        let seq = within(limit, session.seq(self.id)).await?;
        within(QUERY_TIMEOUT, session.rollback()).await?;
        Ok(seq)
    }

    /// Rolls back; a connection that cannot is thrown away, and takes its transaction along.
    pub(crate) async fn rollback(&mut self) {
        self.ahead = None;
        if let Some(session) = &mut self.session
            && let Err(error) = within(QUERY_TIMEOUT, session.rollback()).await
        {
            self.close(&error);
        }
    }

    /// Keeps an idle connection alive. A fence passed ahead ends here: committed by itself, it would guard nothing.
    pub(crate) async fn touch(&mut self) {
        if self.ahead.is_some() {
            return self.rollback().await;
        }
        if self.fenced.elapsed() > FRESH {
            return self.forget();
        }
        if let Some(session) = &mut self.session
            && let Err(error) = within(QUERY_TIMEOUT, session.touch()).await
        {
            self.close(&error);
        }
    }

    /// Throws the connection away, if there is one, because of `error`.
    pub(crate) fn close(&mut self, error: &Error) {
        self.ahead = None;
        if let Some(session) = self.session.take() {
            warn!(%error, lane = self.id, "database connection given up");
            self.previous = Some(E::identity(&session));
            self.state.set(Err(error.to_string()));
        }
    }

    /// Throws the connection away because its COMMIT got no answer. It is not ended on the server: if it waits there for room
    /// on the disk, the whole of `MySQL` would stop. If COMMIT never got there, the server ends it by itself.
    pub(crate) fn close_committing(&mut self, error: &Error) {
        self.close(error);
        self.previous = None;
    }

    /// Goes on under a fresh id: the old fence row says nothing about this lane any more.
    pub(crate) fn forget(&mut self) {
        (self.id, self.registered, self.seq) = (fresh_id(), false, 1);
        (self.session, self.connecting, self.previous) = (None, None, None);
        self.ahead = None;
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
fn fresh_id() -> u64 {
    rand::random::<u64>() >> 1
}
