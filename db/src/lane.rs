//! A lane: takes what waits, commits it in one fenced transaction, answers each. Knows no SQL.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use tracing::{Instrument, debug, warn};

use crate::Error;
use crate::attempt::{Attempt, Failed};
use crate::batch::{Batch, GRACE, REVS};
use crate::engine::{Engine, Session};
use crate::inbox::Inbox;
use crate::link::Link;
use crate::plan::Plan;
use crate::store::{CONNECT_TIMEOUT, within};
use crate::transaction::write;
use crate::writer::{BatchReport, LaneState, Refusal, WriterConfig};

/// How often an idle lane shows its session that it is alive; below the server's `wait_timeout`.
const IDLE: Duration = Duration::from_secs(10);

/// Statements of writes that one transaction has at most, beside those a large batch takes: writes that come while one
/// is under way join the transaction with another.
const PARTS_MAX: usize = 4;

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
    inbox: Inbox,
    config: WriterConfig,
    observe: Arc<dyn Fn(BatchReport) + Send + Sync>,
    backoff: Duration,
    /// The last batch came within [`HOLD`] of the one before it.
    busy: bool,
    /// What the last commit took: a write with less time left is refused before it costs a rollback.
    lead: Duration,
}

impl<E: Engine> Lane<E> {
    pub(crate) fn new(
        engine: E,
        inbox: Inbox,
        config: WriterConfig,
        state: LaneState,
        observe: Arc<dyn Fn(BatchReport) + Send + Sync>,
    ) -> Self {
        Self {
            link: Link::new(engine, state),
            inbox,
            config,
            observe,
            backoff: BACKOFF.0,
            busy: false,
            lead: Duration::ZERO,
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
        if self.busy && self.inbox.is_empty() {
            self.receive_fenced().await;
        }
        while self.inbox.is_empty() {
            let received = if self.link.is_open() {
                timeout(IDLE, self.inbox.receive()).await.ok()
            } else {
                self.connect_or_receive().await
            };
            match received {
                Some(0) => return None,
                Some(_) => {}
                None => self.link.touch().await,
            }
        }
        self.busy = free.elapsed() < HOLD;
        let mut batch = Batch::new();
        self.fill(&mut batch, usize::MAX);
        Some(batch)
    }

    /// Passes the fence before there is a batch: while writes keep coming, none of them has to wait for it.
    async fn receive_fenced(&mut self) {
        self.link.fence_ahead(REVS).await;
        if timeout(HOLD, self.inbox.receive()).await.is_err() {
            self.link.rollback().await;
        }
    }

    /// Goes on connecting until that is done or writes come: they wait no longer for it than their deadline.
    async fn connect_or_receive(&mut self) -> Option<usize> {
        let connected = tokio::select! {
            biased;
            received = self.inbox.receive() => return Some(received),
            opened = self.link.open(CONNECT_TIMEOUT) => opened.is_ok(),
        };
        if connected {
            self.backoff = BACKOFF.0;
            return None;
        }
        timeout(self.next_backoff(), self.inbox.receive()).await.ok()
    }

    /// Moves up to `most` of what waits into `batch`, within the batch limits. A write that is late is refused instead.
    fn fill(&mut self, batch: &mut Batch, most: usize) {
        let late = Instant::now() + self.lead;
        for _ in 0..most {
            let Some(next) = self.inbox.next() else { return };
            if next.deadline <= late {
                batch.refuse(next, self.link.refusal());
            } else if batch.has_room(&next.write, &self.config) {
                batch.add(next);
            } else {
                return self.inbox.put_back(next);
            }
        }
    }

    /// Attempts `batch` until each of its writes is answered.
    async fn settle(&mut self, mut batch: Batch) {
        loop {
            batch.refuse_late(self.link.refusal());
            if batch.pending.is_empty() {
                break;
            }
            batch.attempts += 1;
            let span = batch.span.clone();
            let attempt = self.attempt(&mut batch).instrument(span).await;
            match attempt {
                Attempt::Committed => {
                    self.backoff = BACKOFF.0;
                    self.lead = batch.begun.elapsed().min(GRACE);
                    batch.acknowledge();
                    break;
                }
                Attempt::Lost => {
                    self.link.forget();
                    batch.refuse_all(Refusal::OutcomeUnknown);
                    break;
                }
                Attempt::Again => {
                    let wait = self.next_backoff();
                    pause(wait, &batch).await;
                }
                Attempt::Conflict => pause(CONFLICT_WAIT_MAX.mul_f64(rand::random()), &batch).await,
            }
        }
        (self.observe)(batch.report());
    }

    /// One transaction: fence, state if needed, write, COMMIT. Every outcome is known before COMMIT.
    async fn attempt(&mut self, batch: &mut Batch) -> Attempt {
        let limit = batch.time_left();
        match self.prepare(batch, limit).await {
            Ok(true) => {}
            Ok(false) => return Attempt::Committed,
            Err(Failed::Lost) => return Attempt::Lost,
            Err(Failed::Error(error)) => return self.failed(error).await,
        }
        if batch.is_late() {
            self.link.rollback().await;
            return Attempt::Again;
        }
        let Some(session) = self.link.session() else {
            return Attempt::Again;
        };
        batch.send_commit();
        match within(batch.time_left(), session.commit()).await {
            Ok(()) => Attempt::Committed,
            Err(error) => {
                // Whatever it says, an answer to COMMIT that is not OK is a lost answer.
                warn!(%error, lane = self.link.id(), "COMMIT got no answer; asking the fence");
                self.link.close_committing(&error);
                Attempt::Again
            }
        }
    }

    /// Everything before COMMIT. `Ok(false)`: an earlier attempt turns out to be committed.
    async fn prepare(&mut self, batch: &mut Batch, limit: Duration) -> Result<bool, Failed> {
        self.link.open(batch.until_deadline().min(CONNECT_TIMEOUT)).await?;
        let Some(last) = self.link.fence(batch.revs, limit).await? else {
            return self.missed_fence(batch, limit).await.map(|()| false);
        };
        // No earlier attempt of this batch was applied, nor ever will be.
        batch.void();
        self.join(batch, 0);
        let mut written = 0;
        for part in 1.. {
            let plan = Plan::new(batch.pending[written..].iter().map(|pending| &pending.write));
            if plan.revs() > batch.revs {
                batch.revs = plan.revs();
                let why = "more revisions are needed than were reserved";
                return Err(Failed::Error(Error::Conflict(why.into())));
            }
            let session = self.link.session().ok_or(Failed::Lost)?;
            let settled = within(limit, write(session, plan, last)).await?;
            for (pending, settled) in batch.pending[written..].iter_mut().zip(settled) {
                pending.settled = Some(settled);
            }
            written = batch.pending.len();
            if part < PARTS_MAX {
                self.join(batch, written);
            }
            if batch.pending.len() == written {
                break;
            }
        }
        Ok(true)
    }

    /// What came while the database was busy travels along, in a first attempt: the COMMIT is yet to come. Up to the
    /// first write of a key that is among the `written` already, because a plan never builds on rows of its own.
    fn join(&mut self, batch: &mut Batch, written: usize) {
        if batch.attempts == 1 && !batch.is_full(&self.config) && !self.inbox.is_empty() {
            let most = self.inbox.apart_from(&batch.pending[..written]);
            self.fill(batch, most);
        }
    }

    /// The fence matched no row: an earlier attempt was committed if exactly its seq stands there.
    async fn missed_fence(&mut self, batch: &mut Batch, limit: Duration) -> Result<(), Failed> {
        let found = self.link.found_seq(limit).await?;
        if batch.commit_sent && found == Some(self.link.seq()) {
            return Ok(());
        }
        warn!(
            lane = self.link.id(),
            expected = self.link.seq(),
            ?found,
            "the fence row was changed by somebody else"
        );
        if batch.commit_sent {
            return Err(Failed::Lost);
        }
        self.link.forget();
        Err(Failed::Error(Error::Conflict("the lane goes on under a fresh id".into())))
    }

    /// What an error before COMMIT means: a conflict keeps the connection, anything else ends it.
    async fn failed(&mut self, error: Error) -> Attempt {
        match &error {
            Error::Conflict(reason) => {
                debug!(lane = self.link.id(), reason, "conflict; the batch is tried again");
                self.link.rollback().await;
                Attempt::Conflict
            }
            Error::Unavailable(_) | Error::NotReady(_) | Error::Internal(_) => {
                self.link.close(&error);
                Attempt::Again
            }
        }
    }

    fn next_backoff(&mut self) -> Duration {
        let now = self.backoff;
        self.backoff = (now * 2).min(BACKOFF.1);
        now
    }
}

/// Waits before the next attempt, but not past the first deadline of the batch.
async fn pause(wait: Duration, batch: &Batch) {
    sleep(wait.min(batch.until_deadline())).await;
}
