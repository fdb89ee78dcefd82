//! A lane: takes what waits, commits it in one fenced transaction, answers each. Knows no SQL.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument;

use crate::batch::{Batch, REVS};
use crate::engine::Engine;
use crate::feed::Feed;
use crate::fence::{Attempt, Link, Patience};
use crate::inbox::Inbox;
use crate::writer::{BatchReport, LaneState, WriterConfig};

/// How often an idle lane shows its session that it is alive; below the server's `wait_timeout`.
const IDLE: Duration = Duration::from_secs(10);

/// How long a fence that was passed ahead waits for its batch. Writes that come further apart pay for no fence in vain.
const HOLD: Duration = Duration::from_millis(5);

/// The wait between attempts: doubles from the first up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(2), Duration::from_secs(1));

/// The longest wait after a conflict: whoever was in the way is done within a transaction or two. Drawn anew each time, or
/// two lanes could go on meeting.
const CONFLICT_WAIT_MAX: Duration = Duration::from_millis(10);

/// One queue, one task, one connection. Writes of one key always go through the same lane.
pub(crate) struct Lane<E: Engine> {
    link: Link<E>,
    feed: Feed,
    state: LaneState,
    observe: Arc<dyn Fn(BatchReport) + Send + Sync>,
    backoff: Duration,
    random: StdRng,
    /// The last batch came within [`HOLD`] of the one before it.
    is_busy: bool,
}

impl<E: Engine> Lane<E> {
    pub(crate) fn new(
        engine: E,
        inbox: Inbox,
        config: WriterConfig,
        state: LaneState,
        mut random: StdRng,
        observe: Arc<dyn Fn(BatchReport) + Send + Sync>,
    ) -> Self {
        Self {
            link: Link::new(engine, state.clone(), StdRng::from_rng(&mut random)),
            feed: Feed::new(inbox, config, state.clone()),
            state,
            observe,
            backoff: BACKOFF.0,
            random,
            is_busy: false,
        }
    }

    /// Settles batch after batch until every writer is dropped and the queue is empty.
    pub(crate) async fn run(mut self) {
        while let Some(batch) = self.take().await {
            self.settle(batch).await;
        }
    }

    /// Waits for a write, then takes all that wait up to the batch limits; `None` = the drain is done.
    async fn take(&mut self) -> Option<Batch> {
        self.link.next_batch();
        let free = Instant::now();
        if self.is_busy && self.feed.is_empty() {
            self.receive_fenced().await;
        }
        while self.feed.is_empty() {
            let received = if self.link.is_open() {
                timeout(IDLE, self.feed.receive()).await.ok()
            } else {
                self.connect_or_receive().await
            };
            match received {
                Some(0) => return None,
                Some(_) => {}
                None => self.link.touch(&mut Patience::idle()).await,
            }
        }
        self.is_busy = free.elapsed() < HOLD;
        Some(self.feed.batch())
    }

    /// Passes the fence before there is a batch: while writes keep coming, none of them has to wait for it.
    async fn receive_fenced(&mut self) {
        let mut patience = Patience::idle();
        self.link.fence_ahead(REVS, &mut patience).await;
        if timeout(HOLD, self.feed.receive()).await.is_err() {
            self.link.rest(&mut patience).await;
        }
    }

    /// Goes on connecting until that is done or writes come: they wait no longer for it than their deadline.
    async fn connect_or_receive(&mut self) -> Option<usize> {
        let mut patience = Patience::idle();
        let connected = tokio::select! {
            biased;
            received = self.feed.receive() => return Some(received),
            opened = self.link.open(&mut patience) => opened.is_ok(),
        };
        if connected {
            self.backoff = BACKOFF.0;
            return None;
        }
        timeout(self.next_backoff(), self.feed.receive()).await.ok()
    }

    /// Attempts `batch` until each of its writes is answered.
    async fn settle(&mut self, mut batch: Batch) {
        loop {
            batch.refuse_late(self.feed.refusal());
            if batch.len() == 0 {
                break;
            }
            let span = batch.attempt();
            match self.link.attempt(&mut batch, &mut self.feed).instrument(span).await {
                Attempt::Committed => {
                    self.backoff = BACKOFF.0;
                    self.feed.committed(batch.elapsed());
                    batch.acknowledge();
                    break;
                }
                Attempt::Lost => {
                    batch.lose();
                    break;
                }
                Attempt::Again => {
                    let wait = self.next_backoff();
                    self.pause(wait, &batch).await;
                }
                Attempt::Conflict => {
                    let wait = CONFLICT_WAIT_MAX.mul_f64(self.random.random());
                    self.pause(wait, &batch).await;
                }
            }
        }
        (self.observe)(batch.report(self.feed.refused()));
    }

    fn next_backoff(&mut self) -> Duration {
        let now = self.backoff;
        self.backoff = (now * 2).min(BACKOFF.1);
        now
    }

    /// Waits before the next attempt, but not past the first deadline of the batch and of what waits behind it.
    async fn pause(&mut self, wait: Duration, batch: &Batch) {
        let due = batch.deadline().into_iter().chain(self.feed.deadline()).min();
        let end = Instant::now() + wait;
        sleep_until(due.map_or(end, |due| due.min(end))).await;
        self.feed.refuse_late();
    }
}

impl<E: Engine> Drop for Lane<E> {
    /// A lane that found an invariant broken stops: its writes are in doubt, and no others are taken.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.state
                .set(Err("a lane has stopped because of a fault in this program; start it anew".into()));
        }
    }
}
