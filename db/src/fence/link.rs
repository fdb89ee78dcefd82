//! The connection of a lane, and the lane's row in `writers`.

mod idle;
mod opening;

use futures_util::future::BoxFuture;
use rand::rngs::StdRng;
use tokio::time::Instant;

use super::limits::TimeLimits;
use super::transaction::FencedTransaction;
use crate::engine::{WriteEngine, WriteSession};
use crate::error::{Cause, Error};
use crate::lane::state::LaneState;
pub(crate) use opening::fresh_id;

/// A connection attempt. It goes on when the future that awaits it is dropped.
type Connecting<S> = BoxFuture<'static, Result<S, Error>>;

/// The connection of a lane, one at a time, and its row in `writers`.
pub(crate) struct Link<E: WriteEngine> {
    engine: E,
    state: LaneState,
    /// For new ids.
    random: StdRng,
    /// The key of the lane's row. A new one is taken at each start, and when the row cannot be trusted.
    id: u64,
    is_registered: bool,
    /// The number of the present batch, or of the next batch if its fence is passed.
    seq: u64,
    /// When the fence was last tried, or when the id was made.
    last_fence: Instant,
    /// When the id was made. `None`: it is known that a batch was committed under it.
    unused_since: Option<Instant>,
    /// Whether each batch logs which keys it wrote.
    logs: bool,
    connection: LinkState<E::Session>,
    /// The first connection that was given up since the last kill. It may still lock the row. `None`: there is none, or it must
    /// not be killed.
    lock_holder: Option<E::Identity>,
    /// When the database last refused to write, until it is known to write again.
    refused: Option<Instant>,
    /// Whether the last fence met a lock of somebody else: of the whole table, or of all tables during a backup. Nobody else
    /// knows the lane's own row.
    is_locked_out: bool,
}

/// The state of a lane's connection. While a transaction uses the connection, it is not here.
enum LinkState<S> {
    /// There is no connection here.
    Closed,
    /// The connection is being opened, but only while somebody waits for it.
    Opening(Connecting<S>),
    /// The connection is open, without a transaction.
    Idle(S),
    /// The fence of the next batch is passed.
    Fenced(FencedTransaction<S>),
}

/// How the transaction of a batch began, or why it did not.
pub(super) type BeginResult<S> = Result<FenceAnswer<S>, BeginError>;

/// Whether the fence of a transaction matched.
pub(super) enum FenceAnswer<S> {
    /// The fence matched: no earlier attempt with this seq took effect or will.
    Passed(FencedTransaction<S>),
    /// The fence matched no row. The seq in the lane's row; `None`: the row is gone.
    Missed(Option<u64>),
}

/// Why no transaction began. The connection is rolled back or given up already.
#[derive(Debug)]
pub(super) struct BeginError(pub(super) Error);

impl<E: WriteEngine> Link<E> {
    pub(crate) fn new(engine: E, state: LaneState, logs: bool, mut random: StdRng) -> Self {
        Self {
            engine,
            state,
            id: fresh_id(&mut random),
            random,
            is_registered: false,
            seq: 0,
            last_fence: Instant::now(),
            unused_since: Some(Instant::now()),
            logs,
            connection: LinkState::Closed,
            lock_holder: None,
            refused: None,
            is_locked_out: false,
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
            LinkState::Idle(_) | LinkState::Fenced(_) => true,
            LinkState::Closed | LinkState::Opening(_) => false,
        }
    }

    /// Takes the seq of the next batch.
    pub(crate) fn next_seq(&mut self) {
        match self.connection {
            // The passed fence has no batch yet, so it belongs to the next batch.
            LinkState::Fenced(_) => {}
            LinkState::Closed | LinkState::Opening(_) | LinkState::Idle(_) => self.seq += 1,
        }
    }

    /// Begins the transaction of a batch: connects if needed, and passes the fence unless it is passed already.
    pub(super) async fn begin(&mut self, revs: u64, limits: &mut TimeLimits<'_>) -> BeginResult<E::Session> {
        self.open(limits).await.map_err(BeginError)?;
        match std::mem::replace(&mut self.connection, LinkState::Closed) {
            LinkState::Fenced(transaction) if transaction.reserved() >= revs => {
                return Ok(FenceAnswer::Passed(transaction));
            }
            LinkState::Fenced(transaction) => self.roll_back_session(transaction.session, None, limits).await,
            idle @ (LinkState::Closed | LinkState::Opening(_) | LinkState::Idle(_)) => self.connection = idle,
        }
        self.fence(revs, limits).await
    }

    /// Passes the fence of the next batch before the batch comes, if this saves a round trip. Locks only the lane's own row, until
    /// the batch ends or [`Link::release_fence`].
    pub(crate) async fn fence_ahead(&mut self, revs: u64, limits: &mut TimeLimits<'_>) {
        match self.connection {
            LinkState::Idle(_) if E::ROUND_TRIPS => {}
            LinkState::Closed | LinkState::Opening(_) | LinkState::Idle(_) | LinkState::Fenced(_) => {
                return;
            }
        }
        // After a failure, the next batch passes the fence itself.
        if let Ok(FenceAnswer::Passed(transaction)) = self.fence(revs, limits).await {
            self.connection = LinkState::Fenced(transaction);
        }
    }

    /// Passes the fence on the idle connection. First kills the connection of this lane that may still lock the row: waiting for
    /// the lock could take longer than the writes have.
    async fn fence(&mut self, revs: u64, limits: &mut TimeLimits<'_>) -> BeginResult<E::Session> {
        let mut session = match std::mem::replace(&mut self.connection, LinkState::Closed) {
            LinkState::Idle(session) => session,
            LinkState::Closed | LinkState::Opening(_) | LinkState::Fenced(_) => {
                let lost = Error::Unavailable("the connection was lost before the fence".into());
                return Err(BeginError(lost));
            }
        };
        self.last_fence = Instant::now();
        if let Some(lock_holder) = &self.lock_holder {
            if let Err(error) = limits.statement(E::kill(&mut session, lock_holder)).await {
                self.roll_back_session(session, Some(&error), limits).await;
                return Err(BeginError(error));
            }
            self.lock_holder = None;
        }
        let passed = limits.statement(session.fence(self.id, self.seq, revs)).await;
        match passed {
            Ok(Some(last)) => {
                if std::mem::take(&mut self.is_locked_out) {
                    self.state.set(Ok(()));
                    self.state.outages.succeeded();
                }
                Ok(FenceAnswer::Passed(FencedTransaction::new(session, last, revs, self.logs)))
            }
            Ok(None) => {
                let found = limits.statement(session.read_seq(self.id)).await;
                self.roll_back_session(session, found.as_ref().err(), limits).await;
                found.map(FenceAnswer::Missed).map_err(BeginError)
            }
            Err(error) => {
                self.roll_back_session(session, Some(&error), limits).await;
                if let Error::Conflict(Cause::LockWait(_)) = error {
                    self.is_locked_out = true;
                    self.state.set(Err(format!("the database is locked against writes: {error}")));
                    self.state.outages.failed("the database is locked against writes", &error);
                }
                Err(BeginError(error))
            }
        }
    }

    /// Sends COMMIT and waits for its answer. After an error other than [`Error::Refused`] it is unknown whether COMMIT took effect.
    ///
    /// The next connection does not kill one whose COMMIT failed: if COMMIT waits for disk space, killing its connection stops
    /// all of `MySQL`. If COMMIT never arrived, the server closes the connection by itself (`wait_timeout`).
    pub(super) async fn commit(
        &mut self,
        mut transaction: FencedTransaction<E::Session>,
        limits: &mut TimeLimits<'_>,
    ) -> Result<(), Error> {
        let committed = limits.statement(transaction.session.commit()).await;
        match &committed {
            Ok(()) => {
                self.state.outages.succeeded();
                self.unused_since = None;
                self.connection = LinkState::Idle(transaction.session);
            }
            Err(error @ Error::Refused(_)) => {
                self.roll_back_session(transaction.session, Some(error), limits).await;
            }
            Err(error) => {
                self.give_up(&transaction.session, error);
                self.lock_holder = None;
            }
        }
        committed
    }

    /// Ends a transaction without COMMIT, and keeps its connection. Gives the connection up if the rollback fails, or after an
    /// `error` other than a conflict and a refusal.
    pub(super) async fn roll_back_session(
        &mut self,
        mut session: E::Session,
        error: Option<&Error>,
        limits: &mut TimeLimits<'_>,
    ) {
        if let Some(error @ Error::Refused(_)) = error {
            self.note_refusal(error);
        }
        match error {
            None | Some(Error::Conflict(_) | Error::Refused(_)) => {
                match limits.statement(session.rollback()).await {
                    Ok(()) => self.connection = LinkState::Idle(session),
                    Err(error) => self.give_up(&session, &error),
                }
            }
            Some(error @ (Error::Unavailable(_) | Error::NotReady(_) | Error::Internal(_))) => {
                self.give_up(&session, error);
            }
        }
    }

    /// Notes that `session` failed with `error`. The caller drops it.
    fn give_up(&mut self, session: &E::Session, error: &Error) {
        self.state.outages.failed("database connection given up", error);
        // The first connection that was given up may lock the row. Later ones only waited for that lock.
        self.lock_holder.get_or_insert_with(|| E::identity(session));
        self.state.set(Err(error.to_string()));
    }
}
