//! The queue of writes: each goes to the lane of its key, waits there, and is answered after its commit.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Span;

use crate::engine::Engine;
use crate::entry::{Key, Write};
use crate::inbox::Inbox;
use crate::lane::Lane;
use crate::outbox::{Depth, Entrance, Outbox, Place};
use crate::pending::{Pending, Ticket};
use crate::store::{AnyEngine, Store};

/// Limits of the write side of one process.
#[derive(Debug, Clone, Copy)]
pub struct WriterConfig {
    /// Lanes of single ops; each has a queue, a task and a connection of its own, and atomic writes have one more.
    /// `SQLite` has one writer: always one for both.
    pub lanes: NonZeroUsize,
    /// The most writes of one transaction.
    pub batch_ops_max: NonZeroUsize,
    /// The most bytes of keys and values of one transaction (one write is always let in).
    pub batch_bytes_max: usize,
    /// The most writes that wait in one lane, at either place.
    pub queue_ops_max: NonZeroUsize,
    /// The most bytes of keys and values that wait in the process; at least one write must fit.
    pub queue_bytes_max: u32,
    /// How long after its receipt a write is answered at the latest.
    pub op_timeout: Duration,
}

/// Why a write was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not applied: the database cannot be reached or refuses.
    #[error("the database is not available")]
    Unavailable,
    /// Not applied: still queued at its deadline while the database works.
    #[error("too many writes are waiting")]
    Overloaded,
    /// Perhaps applied: a COMMIT carrying it was sent and no answer could be had.
    #[error("the outcome of the write is not known")]
    OutcomeUnknown,
}

/// What is told of each settled batch, for metrics.
#[derive(Debug, Clone, Copy)]
pub struct BatchReport {
    /// Writes that were acknowledged.
    pub committed: usize,
    /// Writes that were refused.
    pub refused: usize,
    /// Transactions that were begun.
    pub attempts: u32,
    /// From taking the batch out of the queue to its last answer.
    pub elapsed: Duration,
}

/// The write side of a process. Dropping every clone is the drain: what waits is still settled.
#[derive(Clone)]
pub struct Writer {
    /// By the hash of the key; the last is that of atomic writes, and on `SQLite` the only one.
    lanes: Arc<[LaneHandle]>,
    bytes: Arc<Semaphore>,
    /// What the hash of a key begins with, so that nobody can choose keys that all meet in one lane.
    salt: u64,
    op_timeout: Duration,
}

/// How the lanes of a [`Writer`] are doing; holding it keeps nothing alive.
#[derive(Debug, Clone)]
pub struct Gauge(Vec<(Depth, LaneState)>);

struct LaneHandle {
    queue: Outbox,
    state: LaneState,
}

/// Whether a lane has a connection; the text says why not.
#[derive(Debug, Clone)]
pub(crate) struct LaneState(Arc<Mutex<Result<(), String>>>);

/// What became of a write that was offered to its queue.
#[derive(Debug)]
pub enum Submitted {
    /// It waits there for its answer.
    Queued(Ticket),
    /// There was no room, and nothing was done with it.
    Full(Write, Span),
}

impl Writer {
    /// Starts the lanes on `tracker`; `observe` is called after each batch, in the lane's task.
    ///
    /// The lanes end once every clone of the writer is dropped and all that waited is answered.
    pub fn start(
        store: &Store,
        config: WriterConfig,
        tracker: &TaskTracker,
        observe: impl Fn(BatchReport) + Send + Sync + 'static,
    ) -> Self {
        let random = StdRng::from_rng(&mut rand::rng());
        match &store.engine {
            // One more for atomic writes, whose keys may belong to any of the others.
            AnyEngine::MySql(engine) => {
                Self::on(engine, config.lanes.get() + 1, config, tracker, random, observe)
            }
            AnyEngine::Sqlite(engine) => Self::on(engine, 1, config, tracker, random, observe),
        }
    }

    /// Starts so many `lanes` on `engine`. Whatever is left to chance is drawn from `random`.
    pub(crate) fn on<E: Engine>(
        engine: &E,
        lanes: usize,
        config: WriterConfig,
        tracker: &TaskTracker,
        mut random: StdRng,
        observe: impl Fn(BatchReport) + Send + Sync + 'static,
    ) -> Self {
        let observe: Arc<dyn Fn(BatchReport) + Send + Sync> = Arc::new(observe);
        let salt = random.next_u64();
        let handle = |_| {
            let (queue, inbox) = Inbox::new(config.queue_ops_max.get(), config.batch_ops_max.get());
            let state = LaneState::new();
            let (lane_state, observe) = (state.clone(), Arc::clone(&observe));
            let random = StdRng::from_rng(&mut random);
            tracker.spawn(Lane::new(engine.clone(), inbox, config, lane_state, random, observe).run());
            LaneHandle { queue, state }
        };
        Self {
            lanes: (0..lanes).map(handle).collect(),
            bytes: Arc::new(Semaphore::new(config.queue_bytes_max as usize)),
            salt,
            op_timeout: config.op_timeout,
        }
    }

    /// When a write that is received now is answered at the latest.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.op_timeout
    }

    /// Queues `write` unless its queue is full, in which case it is given back: hand it to [`Writer::submit`], which waits.
    /// It is refused once `deadline` has passed.
    #[must_use]
    pub fn try_submit(&self, write: Write, place: Place, span: Span, deadline: Instant) -> Submitted {
        if write.is_atomic() && deadline <= Instant::now() {
            // It has waited for what its sender sent before it.
            return Submitted::Full(write, span);
        }
        let Ok(bytes) = Arc::clone(&self.bytes).try_acquire_many_owned(weight(&write)) else {
            return Submitted::Full(write, span);
        };
        match self.entrance(&write, place).try_enter() {
            Some(room) => {
                let (pending, ticket) = Pending::new(write, span, bytes, deadline);
                room.send(pending);
                Submitted::Queued(ticket)
            }
            None => Submitted::Full(write, span),
        }
    }

    /// Queues `write`, waiting while its queue is full. Writes of one task are queued in the order awaited.
    ///
    /// Dropping the future before it is done means the write was not queued.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] or [`Refusal::Unavailable`] if it did not get in before `deadline`.
    pub async fn submit(
        &self,
        write: Write,
        place: Place,
        span: Span,
        deadline: Instant,
    ) -> Result<Ticket, Refusal> {
        let entrance = self.entrance(&write, place);
        let wait = entrance.enter(async |queue| {
            let bytes = self.reserve(weight(&write)).await;
            // A lane ends only when every writer is gone or its task died.
            let room = queue.reserve().await.map_err(|_| Refusal::Unavailable)?;
            let (pending, ticket) = Pending::new(write, span, bytes, deadline);
            room.send(pending);
            Ok(ticket)
        });
        if deadline <= Instant::now() {
            return Err(self.refusal_of_waiting());
        }
        match tokio::time::timeout_at(deadline, wait).await {
            Ok(entered) => entered,
            Err(_) => Err(self.refusal_of_waiting()),
        }
    }

    /// A view of the lanes that does not keep them from ending.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        let lane = |lane: &LaneHandle| (lane.queue.depth(), lane.state.clone());
        Gauge(self.lanes.iter().map(lane).collect())
    }

    /// So many bytes of the queue, once they are free.
    async fn reserve(&self, bytes: u32) -> OwnedSemaphorePermit {
        let reserved = Arc::clone(&self.bytes).acquire_many_owned(bytes).await;
        reserved.expect("nobody closes the semaphore of a writer")
    }

    fn entrance(&self, write: &Write, place: Place) -> &Entrance {
        self.lanes[self.lane_of(write)].queue.at(place)
    }

    fn lane_of(&self, write: &Write) -> usize {
        let last = self.lanes.len() - 1;
        match write {
            Write::One(op) => {
                // What is left of the hash is below the number of lanes, which is a usize.
                let lane = self.hash(&op.key) % last.max(1) as u64;
                usize::try_from(lane).expect("a lane has an index")
            }
            Write::Atomic(_) => last,
        }
    }

    fn hash(&self, key: &Key) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.salt.hash(&mut hasher);
        key.hash(&mut hasher);
        hasher.finish()
    }

    fn refusal_of_waiting(&self) -> Refusal {
        match self.gauge().ready() {
            Ok(()) => Refusal::Overloaded,
            Err(_) => Refusal::Unavailable,
        }
    }
}

impl Gauge {
    /// How many writes wait in the lanes.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.iter().map(|(depth, _)| depth.get()).sum()
    }

    /// Whether every lane has its connection.
    ///
    /// # Errors
    /// Why one has not, for an operator.
    pub fn ready(&self) -> Result<(), String> {
        self.0.iter().try_for_each(|(_, state)| state.get())
    }
}

/// Bytes of `write` as the queue counts them; a message never has 4 GiB.
fn weight(write: &Write) -> u32 {
    u32::try_from(write.bytes()).expect("a message never has 4 GiB")
}

impl LaneState {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Err("not connected yet".into()))))
    }

    /// Takes the new state and answers whether it is another one than before.
    pub(crate) fn set(&self, state: Result<(), String>) -> bool {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *now != state;
        *now = state;
        changed
    }

    pub(crate) fn get(&self) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a write that must not wait any longer is told.
    pub(crate) fn refusal(&self) -> Refusal {
        match self.get() {
            Ok(()) => Refusal::Overloaded,
            Err(_) => Refusal::Unavailable,
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("lanes", &self.lanes.len()).finish_non_exhaustive()
    }
}
