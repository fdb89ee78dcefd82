//! A lane: takes the waiting writes, commits them in one transaction, and gives each its outcome. Contains no SQL.

pub(crate) mod aside;
pub(crate) mod batch;
pub(crate) mod batcher;
pub(crate) mod config;
pub(crate) mod pending;
pub(crate) mod receiver;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod sender;
pub(crate) mod state;
pub(crate) mod writer;

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument;

use crate::engine::WriteEngine;
use crate::entry::Refusal;
use crate::fence::{AttemptEnd, Link, TimeLimits};
use crate::lane::batch::{Batch, REVS_RESERVED};
use crate::lane::batcher::Batcher;
use crate::lane::config::{BatchReport, WriterConfig};
use crate::lane::receiver::{QueueReceiver, ReceiveResult};
use crate::lane::state::LaneState;

/// How often an idle lane stores the time. More often if its engine asks for that ([`WriteEngine::IDLE_MAX`]). So the
/// time in the store is never much older, and what readers see expire stays gone even if the clock is set back.
const IDLE: Duration = Duration::from_secs(1);

/// How long a fence that was passed ahead waits for its batch. If writes come further apart, no fence is passed ahead.
const FENCE_HOLD_MAX: Duration = Duration::from_millis(5);

/// The first wait between attempts. It doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(2);

/// The longest wait between attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// The longest wait after a conflict. The other transaction ends soon. The wait is random, so that two lanes do not meet again and
/// again.
const CONFLICT_WAIT_MAX: Duration = Duration::from_millis(10);

/// One queue, one task, one connection. All single writes of a key go through the same lane.
pub(crate) struct Lane<E: WriteEngine> {
    /// Its connection and its row in `writers`.
    link: Link<E>,
    /// Its queue.
    batcher: Batcher,
    /// Whether it has a connection, for readiness checks.
    state: LaneState,
    /// Called after each batch.
    observe: Arc<dyn Fn(BatchReport) + Send + Sync>,
    /// The next wait between attempts.
    backoff: Duration,
    /// For the wait after a conflict.
    random: StdRng,
    /// Whether the last batch came within [`FENCE_HOLD_MAX`] after the end of the batch before it.
    is_busy: bool,
}

impl<E: WriteEngine> Lane<E> {
    pub(crate) fn new(
        engine: E,
        receiver: QueueReceiver,
        config: WriterConfig,
        state: LaneState,
        mut random: StdRng,
        observe: Arc<dyn Fn(BatchReport) + Send + Sync>,
    ) -> Self {
        Self {
            link: Link::new(engine, state.clone(), config.logs_changes, StdRng::from_rng(&mut random)),
            batcher: Batcher::new(receiver, config, state.clone()),
            state,
            observe,
            backoff: BACKOFF_MIN,
            random,
            is_busy: false,
        }
    }

    /// Commits batch after batch until every [`writer::Writer`] is dropped and the queue is empty.
    pub(crate) async fn run(mut self) {
        while let Some(batch) = self.take().await {
            self.commit(batch).await;
        }
    }

    /// Waits for a write, then takes all waiting writes, up to the limits of a batch. `None`: every writer is gone. The batch is empty
    /// if the lane must only look at the keys of writes that are set aside.
    async fn take(&mut self) -> Option<Batch> {
        self.link.next_seq();
        self.link.look_again(&mut TimeLimits::idle()).await;
        let free = Instant::now();
        if self.batcher.is_empty() {
            if self.is_busy {
                self.receive_fenced().await;
            } else {
                // A passed fence is left over if every write of its batch was late.
                self.link.release_fence(&mut TimeLimits::idle()).await;
            }
        }
        while self.batcher.is_empty() && !self.batcher.is_aside_due(self.link.is_open()) {
            let waited = if self.link.is_open() {
                WaitEnd::of(
                    timeout(IDLE.min(E::IDLE_MAX), self.batcher.receive(true)).await.ok(),
                    WaitEnd::Idle,
                )
            } else {
                self.connect_or_receive().await
            };
            match waited {
                WaitEnd::Writes | WaitEnd::Connection => {}
                WaitEnd::Idle => self.link.touch(&mut TimeLimits::idle()).await,
                WaitEnd::Closed => return None,
            }
        }
        self.is_busy = free.elapsed() < FENCE_HOLD_MAX;
        Some(self.batcher.next_batch())
    }

    /// Passes the fence before there is a batch, so that a batch that comes soon does not wait for the fence.
    async fn receive_fenced(&mut self) {
        let mut limits = TimeLimits::idle();
        self.link.fence_ahead(REVS_RESERVED, &mut limits).await;
        if timeout(FENCE_HOLD_MAX, self.batcher.receive(true)).await.is_err() {
            self.link.release_fence(&mut limits).await;
        }
    }

    /// Waits for a write or for a connection. If the connection fails, also waits for the backoff. Once a write has come, its
    /// deadline limits how long the lane waits for the connection.
    async fn connect_or_receive(&mut self) -> WaitEnd {
        let mut limits = TimeLimits::idle();
        let connected = tokio::select! {
            biased;
            received = self.batcher.receive(false) => return WaitEnd::of(Some(received), WaitEnd::Idle),
            opened = self.link.open(&mut limits) => opened.is_ok(),
        };
        if connected {
            self.backoff = BACKOFF_MIN;
            return WaitEnd::Connection;
        }
        let received = timeout(self.next_backoff(), self.batcher.receive(false)).await.ok();
        WaitEnd::of(received, WaitEnd::Connection)
    }

    /// Attempts to commit `batch` until each of its writes has an outcome.
    async fn commit(&mut self, mut batch: Batch) {
        loop {
            batch.refuse_late(self.batcher.refusal());
            // Without writes, an attempt only looks at the keys for which writes are set aside.
            let has_work =
                batch.len() > 0 || batch.is_untried() && self.link.is_open() && self.batcher.must_check();
            if !has_work {
                break;
            }
            let span = batch.begin_attempt();
            match self.link.attempt(&mut batch, &mut self.batcher).instrument(span).await {
                AttemptEnd::Committed => {
                    self.backoff = BACKOFF_MIN;
                    self.batcher.committed(batch.elapsed());
                    self.batcher.note_committed(&batch);
                    batch.acknowledge();
                    break;
                }
                AttemptEnd::Refused => {
                    if !self.link.is_open() {
                        // Each batch opens a connection, so a server that refuses them all would be asked without a pause.
                        let wait = self.next_backoff();
                        self.pause(wait, &batch).await;
                    }
                    batch.refuse_all(Refusal::Unavailable);
                    break;
                }
                AttemptEnd::Lost => {
                    batch.refuse_all(Refusal::OutcomeUnknown);
                    break;
                }
                AttemptEnd::RetryAtOnce => {}
                AttemptEnd::RetryAfterBackoff => {
                    let wait = self.next_backoff();
                    self.pause(wait, &batch).await;
                }
                AttemptEnd::RetrySoon => {
                    let wait = CONFLICT_WAIT_MAX.mul_f64(self.random.random());
                    self.pause(wait, &batch).await;
                }
            }
        }
        let refused_waiting = self.batcher.take_refused();
        if batch.has_outcomes() || refused_waiting > 0 {
            (self.observe)(batch.report(refused_waiting));
        }
    }

    fn next_backoff(&mut self) -> Duration {
        let wait = self.backoff;
        self.backoff = (wait * 2).min(BACKOFF_MAX);
        wait
    }

    /// Waits before the next attempt, at most until the first deadline in the batch and in the queue.
    async fn pause(&mut self, wait: Duration, batch: &Batch) {
        // A write whose deadline has passed may be behind those that `deadline` sees.
        self.batcher.refuse_late();
        let due = batch.deadline().into_iter().chain(self.batcher.deadline()).min();
        let end = Instant::now() + wait;
        sleep_until(due.map_or(end, |due| due.min(end))).await;
        self.batcher.refuse_late();
    }
}

/// What has ended the wait of a lane without a batch.
enum WaitEnd {
    /// There are writes, or something is to be done for those that are set aside.
    Writes,
    /// There is a connection, or it is time for the next attempt to open one.
    Connection,
    /// Nothing came for [`IDLE`].
    Idle,
    /// Every writer is gone, and the queue is empty.
    Closed,
}

impl WaitEnd {
    /// The kind of `received`; `otherwise` if nothing was received.
    fn of(received: Option<ReceiveResult>, otherwise: Self) -> Self {
        match received {
            Some(ReceiveResult::Writes | ReceiveResult::Due) => Self::Writes,
            Some(ReceiveResult::Closed) => Self::Closed,
            None => otherwise,
        }
    }
}

impl<E: WriteEngine> Drop for Lane<E> {
    /// A lane whose task panics is no longer ready. Its writes get `OutcomeUnknown`, later writes `Unavailable`.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.state.set(Err("a lane has stopped because of a bug; restart this process".into()));
        }
    }
}

#[cfg(test)]
mod tests;
