//! The sweeper where changes are logged: logs each expiry within a second, removes dead entries, and removes old rows of the log of changes.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::log::{Kept, LogSweep, Step};
use super::{Round, SweepConfig, SweepReport};
use crate::engine::sweep::{ExpirySession, LogSession};
use crate::error::Error;
use crate::fence::fresh_id;
use crate::sweeper::expiry::{DueHints, Expiries};
use crate::sweeper::hint::{HINTS_PER_SWEEP_MAX, Hint, TICK};
use crate::timeouts::{CONNECT_TIMEOUT, QUERY_TIMEOUT, within};

/// How often a process that does not sweep asks for the lock of the sweeper. With this and [`TICK`], an expiry is logged within a second also
/// when the process with the lock stops.
const LOCK_INTERVAL: Duration = Duration::from_millis(250);

/// How long after each multiple of [`TICK`] the sweeper looks for due hints: its clock may be a little behind that of the database.
const TICK_DELAY: Duration = Duration::from_millis(3);

/// The most hints that one look leaves alone because somebody else has them or their entries locked. With more, the look ends early.
const HELD_MAX: usize = 4096;

/// How often a transaction is tried that meets conflicts. After that its hints wait for the next look.
const TRIES_MAX: usize = 10;

/// The longest wait after a conflict. The wait is random.
const CONFLICT_WAIT_MAX: Duration = Duration::from_millis(10);

/// The sweeper of a process that has the lock of the sweeper.
struct LoggingSweeper<'c, S, O> {
    session: S,
    config: &'c SweepConfig,
    observe: &'c O,
    /// The lane that logs expiries. `None`: it is not registered yet, or its row is gone.
    lane: Option<u64>,
    /// The seq of its next batch.
    seq: u64,
    log: LogSweep,
    /// When the next round begins, in which old rows of the log and of `writers` are removed.
    round_at: Instant,
    /// Entries that were removed since the last round.
    removed: u64,
    /// For how long changes are kept, in microseconds.
    retention: u64,
}

/// How a transaction of the sweeper ended.
enum Pass {
    /// It was committed, or had nothing to do. These hints were left alone, because they are locked or gone.
    Done(Vec<Hint>),
    /// The fence row of the lane is gone.
    Unfenced,
}

/// Waits for the lock of the sweeper, and then sweeps until an error.
pub(super) async fn sweep<S: ExpirySession + LogSession>(
    open: impl Future<Output = Result<S, Error>>,
    config: &SweepConfig,
    observe: &(impl Fn(SweepReport) + Sync),
) -> Result<Infallible, Error> {
    let mut session = within(CONNECT_TIMEOUT, open).await?;
    let mut reported = Instant::now();
    while !within(QUERY_TIMEOUT, session.lock()).await? {
        within(QUERY_TIMEOUT, session.rest()).await?;
        if reported.elapsed() >= config.every {
            reported = Instant::now();
            observe(SweepReport::Round(Round::Elsewhere));
        }
        sleep(LOCK_INTERVAL.min(config.every)).await;
    }
    within(QUERY_TIMEOUT, session.release_lock_if_hung()).await?;
    let sweeper = LoggingSweeper {
        session,
        config,
        observe,
        lane: None,
        seq: 1,
        log: LogSweep::new(Some(config.changes_bytes_max)),
        round_at: Instant::now() + config.every,
        removed: 0,
        retention: 0,
    };
    sweeper.run().await
}

impl<S: ExpirySession + LogSession, O: Fn(SweepReport) + Sync> LoggingSweeper<'_, S, O> {
    /// Looks for due hints at each multiple of [`TICK`], and works on the log in between.
    async fn run(mut self) -> Result<Infallible, Error> {
        let mut cuts_log = false;
        loop {
            let has_others = self.log_due().await?;
            // Not before the log is cut: a round begins by counting, and with short intervals would never come to an end.
            if !cuts_log && self.round_at <= Instant::now() {
                self.begin_round().await?;
                cuts_log = true;
            }
            if cuts_log {
                cuts_log = self.cut_log().await?;
            }
            if !has_others && !cuts_log {
                let now = self.read_clock().await?;
                within(QUERY_TIMEOUT, self.session.rest()).await?;
                sleep(Duration::from_micros(TICK - now % TICK) + TICK_DELAY).await;
            }
        }
    }

    async fn read_clock(&mut self) -> Result<u64, Error> {
        within(QUERY_TIMEOUT, self.session.clock()).await
    }

    /// Looks at all due hints of expiries, and at some of the other due hints. Returns whether more of the others may be due.
    async fn log_due(&mut self) -> Result<bool, Error> {
        let mut held = BTreeSet::new();
        while self.look(true, &mut held).await? {}
        self.look(false, &mut held).await
    }

    /// Looks at due hints in one transaction, but not at those of `held`. Adds the hints that were left alone to `held`. Returns whether more
    /// hints may be due.
    async fn look(&mut self, is_urgent: bool, held: &mut BTreeSet<Hint>) -> Result<bool, Error> {
        let limit = HINTS_PER_SWEEP_MAX + held.len();
        let due = DueHints::at(self.read_clock().await?);
        let mut hints = within(QUERY_TIMEOUT, self.session.read_due(due, is_urgent, limit)).await?;
        hints.retain(|hint| !held.contains(hint));
        hints.truncate(HINTS_PER_SWEEP_MAX);
        if hints.is_empty() {
            return Ok(false);
        }
        let is_full = hints.len() == HINTS_PER_SWEEP_MAX;
        held.extend(self.consume(hints).await?);
        Ok(is_full && held.len() < HELD_MAX)
    }

    /// Consumes `hints`, with as many tries as conflicts need. Returns those that were left alone.
    async fn consume(&mut self, hints: Vec<Hint>) -> Result<Vec<Hint>, Error> {
        for _ in 0..TRIES_MAX {
            match within(QUERY_TIMEOUT, self.transaction(&hints)).await {
                Ok(Pass::Done(left)) => return Ok(left),
                Ok(Pass::Unfenced) => {
                    within(QUERY_TIMEOUT, self.session.rest()).await?;
                    self.lane = None;
                }
                Err(Error::Conflict(reason)) => {
                    debug!(%reason, "the sweeper and a writer were in conflict; trying again");
                    within(QUERY_TIMEOUT, self.session.rest()).await?;
                    let wait = CONFLICT_WAIT_MAX.mul_f64(rand::rng().random());
                    sleep(wait).await;
                }
                Err(
                    error @ (Error::Refused(_)
                    | Error::Unavailable(_)
                    | Error::NotReady(_)
                    | Error::Internal(_)),
                ) => return Err(error),
            }
        }
        Ok(hints)
    }

    /// One transaction. Reports what it has done. If its COMMIT gets no answer, nobody has to find out what became of it: either the
    /// hints are consumed and their expiries are logged, or the next look finds the hints again.
    async fn transaction(&mut self, hints: &[Hint]) -> Result<Pass, Error> {
        let lane = if let Some(lane) = self.lane {
            lane
        } else {
            let lane = fresh_id(&mut rand::rng());
            self.session.register(lane).await?;
            (self.lane, self.seq) = (Some(lane), 1);
            lane
        };
        let Some(now) = self.session.begin(lane, self.seq).await? else { return Ok(Pass::Unfenced) };
        let taken = self.session.take(hints).await?;
        if taken.hints.is_empty() {
            self.session.rest().await?;
            return Ok(Pass::Done(hints.to_vec()));
        }
        let Expiries { expired, sweep } = Expiries::of(&taken.hints, taken.entries, now);
        if !expired.is_empty() {
            self.session.log_expired(lane, self.seq, &expired).await?;
        }
        self.session.apply(&sweep, &taken.hints).await?;
        self.seq += 1;
        self.removed += sweep.dead.len() as u64;
        (self.observe)(SweepReport::Expired(expired.len() as u64));
        let taken: BTreeSet<Hint> = taken.hints.into_iter().collect();
        Ok(Pass::Done(hints.iter().filter(|hint| !taken.contains(hint)).cloned().collect()))
    }

    /// Ends a round and begins the next one.
    async fn begin_round(&mut self) -> Result<(), Error> {
        self.round_at = Instant::now() + self.config.every;
        (self.observe)(SweepReport::Round(Round::Swept(std::mem::take(&mut self.removed))));
        let stored = within(QUERY_TIMEOUT, self.session.retention()).await?;
        let retention = stored.unwrap_or(self.config.retention);
        self.retention = super::micros(retention);
        let ages = super::fence_ages(retention);
        match within(QUERY_TIMEOUT, self.session.delete_old_fences(ages)).await {
            Ok(()) => {}
            Err(error) => self.bear_conflict(error).await?,
        }
        self.log.begin();
        Ok(())
    }

    /// One step of removing old rows of the log. Returns whether there are more.
    async fn cut_log(&mut self) -> Result<bool, Error> {
        let kept = Kept::at(self.read_clock().await?, self.retention);
        match within(QUERY_TIMEOUT, self.log.step(&mut self.session, kept)).await {
            Ok(Step::Removed(rows)) => {
                (self.observe)(SweepReport::LogCut(rows));
                Ok(true)
            }
            Ok(Step::Done) => {
                (self.observe)(SweepReport::LogBytes(self.log.bytes()));
                Ok(false)
            }
            Err(error) => self.bear_conflict(error).await.map(|()| false),
        }
    }

    /// Bears a conflict: it ends only this work of this round. Other errors are returned.
    async fn bear_conflict(&mut self, error: Error) -> Result<(), Error> {
        match error {
            Error::Conflict(reason) => {
                debug!(%reason, "the sweeper and a writer were in conflict; trying again in the next round");
                within(QUERY_TIMEOUT, self.session.rest()).await
            }
            Error::Refused(_) | Error::Unavailable(_) | Error::NotReady(_) | Error::Internal(_) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
