//! A lane: takes what waits, commits it in one fenced transaction, answers each. Knows no SQL.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::{Instrument, debug, info, info_span, warn};

use crate::Error;
use crate::batch::{BatchReport, LaneState, Pending, Refusal, WriterConfig};
use crate::engine::{Engine, Session};
use crate::entry::{Outcome, Rev};
use crate::plan::{Held, Plan, Stored};
use crate::store::{CONNECT_TIMEOUT, QUERY_TIMEOUT, within};

/// How often an idle lane shows its session that it is alive; below the server's `wait_timeout`.
const IDLE: Duration = Duration::from_secs(10);

/// The wait between attempts: doubles from the first up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(2), Duration::from_secs(1));

/// How far past its deadline a write may be answered because a statement is under way.
const GRACE: Duration = Duration::from_secs(1);

/// One queue, one task, one connection. Writes of one key always go through the same lane.
pub(crate) struct Lane<E: Engine> {
    engine: E,
    queue: mpsc::Receiver<Pending>,
    config: WriterConfig,
    state: LaneState,
    observe: Arc<dyn Fn(BatchReport) + Send + Sync>,
    /// Taken out of the queue, not yet in a batch.
    waiting: VecDeque<Pending>,
    /// This lane's row in the fence table; fresh per start, replaced when the row cannot be trusted.
    id: u64,
    registered: bool,
    /// The number of the batch under way.
    seq: u64,
    session: Option<E::Session>,
    /// The connection before this one, which may still hold the lane's row.
    previous: Option<E::Identity>,
    backoff: Duration,
    /// What the last commit took: a write with less time left is refused before it costs a rollback.
    lead: Duration,
}

/// What is under way: the writes of one batch, and what was told of it.
struct Batch {
    pending: Vec<Pending>,
    /// A COMMIT of an attempt was sent whose fate is not known.
    commit_sent: bool,
    attempts: u32,
    refused: usize,
    begun: Instant,
}

/// How an attempt ended.
enum Attempt {
    Committed,
    /// Nothing of it was applied, or its fate is for the next attempt's fence to find out.
    Again,
    /// The fence row tells nothing about the COMMIT that was sent.
    Lost,
}

impl<E: Engine> Lane<E> {
    pub(crate) fn new(
        engine: E,
        queue: mpsc::Receiver<Pending>,
        config: WriterConfig,
        state: LaneState,
        observe: Arc<dyn Fn(BatchReport) + Send + Sync>,
    ) -> Self {
        Self {
            engine,
            queue,
            config,
            state,
            observe,
            waiting: VecDeque::new(),
            id: fresh_id(),
            registered: false,
            seq: 0,
            session: None,
            previous: None,
            backoff: BACKOFF.0,
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
        while self.waiting.is_empty() {
            if self.session.is_none() {
                self.connect_or_note().await;
            }
            let idle = if self.session.is_some() { IDLE } else { self.next_backoff() };
            match timeout(idle, self.receive()).await {
                Ok(0) => return None,
                Ok(_) => {}
                Err(_) => self.touch().await,
            }
        }
        if self.waiting.len() < self.config.batch_ops_max.get() && !self.queue.is_empty() {
            self.receive().await;
        }
        let mut bytes = 0;
        let fits = |pending: &&Pending| {
            bytes += pending.set.bytes();
            bytes <= self.config.batch_bytes_max
        };
        let most = self.config.batch_ops_max.get();
        let count = self.waiting.iter().take(most).take_while(fits).count().max(1);
        let pending: Vec<Pending> = self.waiting.drain(..count).collect();
        self.seq += 1;
        Some(Batch { pending, commit_sent: false, attempts: 0, refused: 0, begun: Instant::now() })
    }

    async fn receive(&mut self) -> usize {
        let mut taken = Vec::new();
        let count = self.queue.recv_many(&mut taken, self.config.batch_ops_max.get()).await;
        self.waiting.extend(taken);
        count
    }

    /// Attempts `batch` until each of its writes is answered.
    async fn settle(&mut self, mut batch: Batch) {
        let span = info_span!(
            "commit",
            otel.kind = "client",
            db.operation.batch.size = batch.pending.len(),
            attempts = tracing::field::Empty,
        );
        for pending in &batch.pending {
            span.follows_from(&pending.span);
        }
        let mut committed = 0;
        loop {
            self.refuse_late(&mut batch);
            if batch.pending.is_empty() {
                break;
            }
            batch.attempts += 1;
            let attempt = self.attempt(&mut batch).instrument(span.clone()).await;
            match attempt {
                Attempt::Committed => {
                    committed = batch.pending.len();
                    self.backoff = BACKOFF.0;
                    self.lead = batch.begun.elapsed().min(GRACE);
                    acknowledge(&mut batch);
                    break;
                }
                Attempt::Lost => {
                    self.forget_lane();
                    batch.refused += batch.pending.len();
                    for pending in batch.pending.drain(..) {
                        pending.answer(Err(Refusal::OutcomeUnknown));
                    }
                    break;
                }
                Attempt::Again => self.pause(&batch).await,
            }
        }
        span.record("attempts", batch.attempts);
        (self.observe)(BatchReport {
            committed,
            refused: batch.refused,
            attempts: batch.attempts,
            elapsed: batch.begun.elapsed(),
        });
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
            let rolled_back = match &mut self.session {
                Some(session) => within(QUERY_TIMEOUT, session.rollback()).await,
                None => Ok(()),
            };
            if let Err(error) = rolled_back {
                self.disconnect(&error);
            }
            return Attempt::Again;
        }
        batch.commit_sent = true;
        for pending in &mut batch.pending {
            pending.carried = true;
        }
        let Some(session) = &mut self.session else {
            return Attempt::Again;
        };
        match within(batch.time_left(), session.commit()).await {
            Ok(()) => Attempt::Committed,
            Err(error) => {
                // Whatever it says, an answer to COMMIT that is not OK is a lost answer.
                warn!(%error, lane = self.id, "COMMIT got no answer; asking the fence");
                self.disconnect(&error);
                Attempt::Again
            }
        }
    }

    /// Everything before COMMIT. `Ok(false)`: an earlier attempt turns out to be committed.
    async fn prepare(&mut self, batch: &mut Batch, limit: Duration) -> Result<bool, Failed> {
        if self.session.is_none() {
            self.connect(batch.until_deadline().min(CONNECT_TIMEOUT)).await?;
        }
        let mut plan = Plan::new(batch.pending.iter().map(|pending| &pending.set));
        let Some(rev) = self.fence(plan.revs(), limit).await? else {
            return self.missed_fence(batch, limit).await.map(|()| false);
        };
        // The fence matched: no earlier attempt of this batch was applied, nor ever will be.
        let session = self.session.as_mut().ok_or(Failed::Lost)?;
        let outcomes = within(limit, write(session, &mut plan, rev)).await;
        batch.commit_sent = false;
        for pending in &mut batch.pending {
            pending.carried = false;
        }
        for (pending, outcome) in batch.pending.iter_mut().zip(outcomes?) {
            pending.outcome = Some(outcome);
        }
        Ok(true)
    }

    /// Passes the fence; if an earlier connection of this lane still holds its row, ends that one.
    async fn fence(&mut self, revs: u64, limit: Duration) -> Result<Option<Rev>, Error> {
        let Some(session) = &mut self.session else {
            return Err(Error::Unavailable("not connected".into()));
        };
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

    /// The fence matched no row: an earlier attempt was committed if exactly its seq stands there.
    async fn missed_fence(&mut self, batch: &mut Batch, limit: Duration) -> Result<(), Failed> {
        let session = self.session.as_mut().ok_or(Failed::Lost)?;
        let seq = within(limit, session.seq(self.id)).await?;
        within(QUERY_TIMEOUT, session.rollback()).await?;
        if batch.commit_sent && seq == Some(self.seq) {
            return Ok(());
        }
        warn!(lane = self.id, expected = self.seq, found = ?seq, "the fence row was changed by somebody else");
        if batch.commit_sent {
            return Err(Failed::Lost);
        }
        self.forget_lane();
        Err(Failed::Error(Error::Conflict("the lane goes on under a fresh id".into())))
    }

    /// What an error before COMMIT means: a conflict keeps the connection, anything else ends it.
    async fn failed(&mut self, error: Error) -> Attempt {
        let Some(session) = &mut self.session else {
            self.note(&error);
            return Attempt::Again;
        };
        if let Error::Conflict(reason) = &error {
            debug!(lane = self.id, reason, "conflict; the batch is tried again");
            if within(QUERY_TIMEOUT, session.rollback()).await.is_ok() {
                return Attempt::Again;
            }
        }
        warn!(%error, lane = self.id, "write failed; reconnecting");
        self.disconnect(&error);
        Attempt::Again
    }

    async fn connect(&mut self, limit: Duration) -> Result<(), Error> {
        let mut session = within(limit, self.engine.connect()).await?;
        if !self.registered {
            within(limit, session.register(self.id)).await?;
            self.registered = true;
        }
        self.session = Some(session);
        if self.state.set(Ok(())) {
            info!(lane = self.id, "database connected");
        }
        Ok(())
    }

    async fn connect_or_note(&mut self) {
        match self.connect(CONNECT_TIMEOUT).await {
            Ok(()) => self.backoff = BACKOFF.0,
            Err(error) => self.note(&error),
        }
    }

    /// Says once why there is no connection, however often it is tried.
    fn note(&self, error: &Error) {
        if self.state.set(Err(error.to_string())) {
            warn!(%error, lane = self.id, "no database connection; trying again");
        }
    }

    async fn touch(&mut self) {
        if let Some(session) = &mut self.session
            && let Err(error) = within(QUERY_TIMEOUT, session.touch()).await
        {
            warn!(%error, lane = self.id, "idle connection lost; reconnecting");
            self.disconnect(&error);
        }
    }

    fn disconnect(&mut self, error: &Error) {
        self.state.set(Err(error.to_string()));
        if let Some(session) = self.session.take() {
            self.previous = Some(E::identity(&session));
        }
    }

    /// Goes on under a fresh id: the old fence row says nothing about this lane any more.
    fn forget_lane(&mut self) {
        (self.id, self.registered, self.seq) = (fresh_id(), false, 1);
        self.session = None;
        self.previous = None;
    }

    fn next_backoff(&mut self) -> Duration {
        let now = self.backoff;
        self.backoff = (now * 2).min(BACKOFF.1);
        now
    }

    /// Waits before the next attempt, but not past the first deadline of the batch.
    async fn pause(&mut self, batch: &Batch) {
        sleep(self.next_backoff().min(batch.until_deadline())).await;
    }

    /// Answers and takes out the writes whose deadline has passed.
    fn refuse_late(&self, batch: &mut Batch) {
        let lead = if batch.attempts == 0 { self.lead } else { Duration::ZERO };
        let late = Instant::now() + lead;
        let waiting = match self.state.get() {
            Ok(()) => Refusal::Overloaded,
            Err(_) => Refusal::Unavailable,
        };
        for pending in batch.pending.extract_if(.., |pending| pending.deadline <= late) {
            let refusal = if pending.carried { Refusal::OutcomeUnknown } else { waiting };
            batch.refused += 1;
            pending.answer(Err(refusal));
        }
    }
}

/// Why a transaction did not get as far as COMMIT.
enum Failed {
    Error(Error),
    Lost,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Batch {
    fn is_late(&self) -> bool {
        let now = Instant::now();
        self.pending.iter().any(|pending| pending.deadline <= now)
    }

    /// How long one statement may take: as long as a query may, not much past the first deadline.
    fn time_left(&self) -> Duration {
        QUERY_TIMEOUT.min(self.until_deadline().max(GRACE))
    }

    /// How long the write with the first deadline still has.
    fn until_deadline(&self) -> Duration {
        let first = self.pending.iter().map(|pending| pending.deadline).min();
        first.map(|at| at.saturating_duration_since(Instant::now())).unwrap_or_default()
    }
}

/// The statements between fence and COMMIT; the outcome of every write, complete in memory.
async fn write<S: Session>(session: &mut S, plan: &mut Plan<'_>, rev: Rev) -> Result<Vec<Outcome>, Error> {
    if !plan.needs_held() {
        plan.place(rev, &[]);
        let stored = session.upsert(plan.rows()).await?;
        return Ok(plan.outcomes(&stored));
    }
    let held = session.held(plan.rows()).await?;
    plan.place(rev, &held);
    let is_absent = |at: &usize| held[*at] == Held::Absent;
    let (absent, present): (Vec<usize>, Vec<usize>) = (0..held.len()).partition(is_absent);
    let rows_at = |at: &[usize]| at.iter().map(|&at| plan.rows()[at]).collect::<Vec<_>>();
    session.insert(&rows_at(&absent)).await?;
    let updated = session.upsert(&rows_at(&present)).await?;

    let inserted = |row: &crate::plan::Row<'_>| Stored { rev: row.rev, created: true };
    let mut stored: Vec<Stored> = plan.rows().iter().map(inserted).collect();
    for (at, updated) in present.into_iter().zip(updated) {
        stored[at] = updated;
    }
    Ok(plan.outcomes(&stored))
}

fn acknowledge(batch: &mut Batch) {
    for pending in batch.pending.drain(..) {
        let answer = pending.outcome.ok_or(Refusal::OutcomeUnknown);
        pending.answer(answer);
    }
}

/// 63 bits that no other lane has, so that it fits the signed column of `SQLite` too.
fn fresh_id() -> u64 {
    rand::random::<u64>() >> 1
}
