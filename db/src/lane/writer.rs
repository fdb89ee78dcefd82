//! The write side of a process: each write goes into the queue of the lane of its key, and gets its outcome after the commit.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Span;

use crate::engine::any::dispatch;
use crate::engine::{Engine, WriteEngine};
use crate::entry::{Key, Refusal, Write};
use crate::lane::Lane;
use crate::lane::config::{BatchReport, WriterConfig};
use crate::lane::pending::{PendingWrite, Ticket};
use crate::lane::receiver::QueueReceiver;
use crate::lane::sender::{Priority, QueueDepth, QueueSender};
use crate::lane::state::LaneState;
use crate::outage::OutageLog;
use crate::store::Store;

/// The write side of a process. After the last clone is dropped, the writes that wait are still committed, and the lanes end.
#[derive(Clone)]
pub struct Writer {
    /// The last one is the lane of atomic writes; on `SQLite` it is the only one.
    lanes: Arc<[LaneHandle]>,
    /// The most bytes of the writes of one lane.
    lane_bytes_max: u32,
    /// Random input of the hash of each key, so that nobody can choose keys that all belong to one lane.
    salt: u64,
    op_timeout: Duration,
}

/// The number of waiting writes and the state of each lane. Does not keep the lanes from ending.
#[derive(Debug, Clone)]
pub struct WriterHealth(Vec<(QueueDepth, LaneState)>);

struct LaneHandle {
    queue: QueueSender,
    /// Its free bytes. Each lane has its own, so that a lane that is stuck takes no room from the others.
    bytes: Arc<Semaphore>,
    state: LaneState,
}

/// The result of [`Writer::try_submit`].
#[derive(Debug)]
pub enum Submitted {
    /// The write is in the queue.
    Queued(Ticket),
    /// The write is not in the queue: the queue is full, or an atomic write is past its deadline. Pass the write to
    /// [`Writer::submit`], which waits or refuses.
    Returned(Write, Span),
}

impl Writer {
    /// Starts the lanes as tasks of `tracker`. Each lane calls `observe` after each batch.
    ///
    /// The lanes end once every clone of the writer is dropped and every waiting write has its outcome.
    pub fn start(
        store: &Store,
        config: WriterConfig,
        tracker: &TaskTracker,
        observe: impl Fn(BatchReport) + Send + Sync + 'static,
    ) -> Self {
        let outages = &store.write_outages;
        dispatch!(&store.engine, engine => Self::start_lanes(engine, outages, config, tracker, observe))
    }

    fn start_lanes<E: Engine>(
        engine: &E,
        outages: &OutageLog,
        config: WriterConfig,
        tracker: &TaskTracker,
        observe: impl Fn(BatchReport) + Send + Sync + 'static,
    ) -> Self {
        let random = StdRng::from_rng(&mut rand::rng());
        Self::start_on(engine, outages, E::lanes(config.lanes), config, tracker, random, observe)
    }

    /// Starts `lanes` lanes on `engine`. `random` is the source of every random choice.
    pub(crate) fn start_on<E: WriteEngine>(
        engine: &E,
        outages: &OutageLog,
        lanes: usize,
        config: WriterConfig,
        tracker: &TaskTracker,
        mut random: StdRng,
        observe: impl Fn(BatchReport) + Send + Sync + 'static,
    ) -> Self {
        let observe: Arc<dyn Fn(BatchReport) + Send + Sync> = Arc::new(observe);
        let salt = random.next_u64();
        let lane_bytes_max = config.queue_bytes_max / u32::try_from(lanes).expect("there are few lanes");
        let config = WriterConfig { queue_bytes_max: lane_bytes_max, ..config };
        let handle = |_| {
            let (queue, receiver) =
                QueueReceiver::new(config.queue_ops_max.get(), config.batch_ops_max.get());
            let state = LaneState::new(outages.clone());
            let (lane_state, observe) = (state.clone(), Arc::clone(&observe));
            let random = StdRng::from_rng(&mut random);
            tracker.spawn(Lane::new(engine.clone(), receiver, config, lane_state, random, observe).run());
            LaneHandle { queue, bytes: Arc::new(Semaphore::new(lane_bytes_max as usize)), state }
        };
        Self { lanes: (0..lanes).map(handle).collect(), lane_bytes_max, salt, op_timeout: config.op_timeout }
    }

    /// The deadline of a write that is received now: the present instant plus [`WriterConfig::op_timeout`].
    #[must_use]
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.op_timeout
    }

    /// Queues `write` if there is room for it now. `span` is the message of the write; the span of its commit links to it.
    #[must_use]
    pub fn try_submit(&self, write: Write, priority: Priority, span: Span, deadline: Instant) -> Submitted {
        if write.is_atomic() && deadline <= Instant::now() {
            // It waited for the replies to earlier writes of its sender. `submit` refuses it.
            return Submitted::Returned(write, span);
        }
        let lane = self.lane(&write);
        let Ok(permit) = Arc::clone(&lane.bytes).try_acquire_many_owned(self.weight(&write)) else {
            return Submitted::Returned(write, span);
        };
        match lane.queue.channel(priority).try_reserve() {
            Ok(room) => {
                let (pending, ticket) = PendingWrite::new(write, span, permit, deadline);
                room.send(pending);
                Submitted::Queued(ticket)
            }
            Err(_) => Submitted::Returned(write, span),
        }
    }

    /// Queues `write`, and waits while its queue is full.
    ///
    /// If the future is dropped before it is done, the write is not queued.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] or [`Refusal::Unavailable`] if there was no room before `deadline`.
    pub async fn submit(
        &self,
        write: Write,
        priority: Priority,
        span: Span,
        deadline: Instant,
    ) -> Result<Ticket, Refusal> {
        let lane = self.lane(&write);
        if deadline <= Instant::now() {
            return Err(lane.state.refusal());
        }
        let queued = async {
            let permit = lane.reserve(self.weight(&write)).await;
            // A lane ends only when every writer is gone or its task died.
            let room = lane.queue.channel(priority).reserve().await.map_err(|_| Refusal::Unavailable)?;
            let (pending, ticket) = PendingWrite::new(write, span, permit, deadline);
            room.send(pending);
            Ok(ticket)
        };
        match tokio::time::timeout_at(deadline, queued).await {
            Ok(queued) => queued,
            Err(_) => Err(lane.state.refusal()),
        }
    }

    /// A view of the lanes.
    #[must_use]
    pub fn health(&self) -> WriterHealth {
        let lane = |lane: &LaneHandle| (lane.queue.depth(), lane.state.clone());
        WriterHealth(self.lanes.iter().map(lane).collect())
    }

    /// The size of `write` in permits of its lane. A write that is larger than what its lane may have takes all of it, and so is
    /// alone in the lane.
    fn weight(&self, write: &Write) -> u32 {
        u32::try_from(write.bytes()).expect("a message never has 4 GiB").min(self.lane_bytes_max)
    }

    /// The lane of a write, by the hash of its key. Atomic writes have the last lane.
    fn lane(&self, write: &Write) -> &LaneHandle {
        let last = self.lanes.len() - 1;
        let index = match write {
            Write::One(op) => {
                // The remainder is below the number of lanes, which is a usize.
                let index = self.hash(&op.key) % last.max(1) as u64;
                usize::try_from(index).expect("the index is below the number of lanes")
            }
            Write::Atomic(_) => last,
        };
        &self.lanes[index]
    }

    fn hash(&self, key: &Key) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.salt.hash(&mut hasher);
        key.hash(&mut hasher);
        hasher.finish()
    }
}

impl LaneHandle {
    /// Waits until `bytes` bytes of the lane are free, and takes them.
    async fn reserve(&self, bytes: u32) -> OwnedSemaphorePermit {
        let reserved = Arc::clone(&self.bytes).acquire_many_owned(bytes).await;
        reserved.expect("nobody closes the semaphore of a lane")
    }
}

impl WriterHealth {
    /// How many writes are in the channels of the lanes. Writes that a lane has taken out do not count.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.iter().map(|(depth, _)| depth.get()).sum()
    }

    /// Whether every lane has its connection.
    ///
    /// # Errors
    /// Why a lane has none, for an operator.
    pub fn ready(&self) -> Result<(), String> {
        self.0.iter().try_for_each(|(_, state)| state.get())
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("lanes", &self.lanes.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
