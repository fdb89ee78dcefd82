//! The sweeper: removes entries that expired or were deleted more than ten minutes ago, in small transactions, by one process at a time. Where
//! changes are logged, it also logs expiries, and removes old rows of the log.

pub(crate) mod expiry;
pub(crate) mod hint;
mod log;
mod logging;
mod round;

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::changes::TRANSACTION_MICROS_MAX;
use crate::engine::Engine;
use crate::engine::any::dispatch;
use crate::engine::sweep::FenceAges;
use crate::error::Error;
use crate::outage::OutageLog;
use crate::store::Store;
use crate::sweeper::round::{round, set_retention};

/// The wait after a failure where changes are logged, and after the retention could not be stored.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// How long the fence row of a lane that has committed is kept at least: a day, in microseconds.
const FENCE_KEPT_MIN: u64 = 24 * 60 * 60 * 1_000_000;

/// How long the fence row of a lane that never committed is kept: an hour, in microseconds.
const UNUSED_FENCE_KEPT: u64 = 60 * 60 * 1_000_000;

/// The settings of the sweeper of a process.
#[derive(Debug, Clone, Copy)]
pub struct SweepConfig {
    /// The time between two rounds. With a log of changes, a round removes old rows of the log and of `writers`, while expiries are logged and dead
    /// entries are removed all the time.
    pub every: Duration,
    /// How long changes are kept, in whole seconds, at most a week. Zero: changes are not logged. The sweeper writes this number into the
    /// store when it starts, so that all readers know it. The sweeper removes rows by the number in the store. The process that started
    /// last has written that number.
    pub retention: Duration,
    /// The most bytes of the log of changes, by an estimate. The oldest rows of a larger log are removed early.
    pub changes_bytes_max: u64,
}

/// What the sweeper reports, see [`sweep`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepReport {
    /// A round has ended.
    Round(Round),
    /// The number of expiries that a transaction has logged. May be 0.
    Expired(u64),
    /// The number of rows that a step has removed from the log of changes. May be 0.
    LogCut(u64),
    /// The estimated bytes of the log of changes, at the end of a round.
    LogBytes(u64),
}

/// The result of a round of the sweeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// The round is complete. The number of entries that were removed since the last round.
    Swept(u64),
    /// Another process is sweeping.
    Elsewhere,
    /// The database could not be reached, or a row was locked for too long.
    Failed,
}

/// Starts a task of `tracker` that sweeps `store` until `stop`, and calls `observe` with what it has done.
///
/// Several processes may sweep one store: a round does nothing while another process is sweeping.
pub fn sweep(
    store: &Store,
    config: SweepConfig,
    tracker: &TaskTracker,
    stop: CancellationToken,
    observe: impl Fn(SweepReport) + Send + Sync + 'static,
) {
    let store = store.clone();
    tracker.spawn(async move {
        // Boxed, because the futures of both ways to sweep are large.
        let work = Box::pin(async {
            dispatch!(&store.engine, engine => {
                set_retention_until_done(engine, config.retention, &store.write_outages).await;
                if config.retention.is_zero() {
                    sweep_in_rounds(engine, &config, &store.write_outages, &observe).await;
                } else {
                    sweep_and_log(engine, &config, &store.write_outages, &observe).await;
                }
            });
        });
        stop.run_until_cancelled(work).await
    });
}

/// Stores for how long this process keeps changes, as soon as the database can be reached.
async fn set_retention_until_done<E: Engine>(engine: &E, retention: Duration, outages: &OutageLog) {
    while let Err(error) = Box::pin(set_retention(engine.open_sweeper(), retention)).await {
        outages.failed("cannot store how long changes are kept; trying again", &error);
        sleep(RETRY_AFTER).await;
    }
}

/// Sweeps without a log of changes.
async fn sweep_in_rounds<E: Engine>(
    engine: &E,
    config: &SweepConfig,
    outages: &OutageLog,
    observe: &(impl Fn(SweepReport) + Sync),
) {
    let mut due = interval(config.every);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once, when a process that just started has other work.
    due.tick().await;
    loop {
        due.tick().await;
        // Boxed, because the future of a round is large and rare.
        let swept = Box::pin(round(engine.open_sweeper(), observe)).await;
        observe(SweepReport::Round(match swept {
            Ok(removed) => removed.map_or(Round::Elsewhere, Round::Swept),
            Err(error) => failed(outages, &error),
        }));
    }
}

/// Sweeps with a log of changes, and begins again after each failure.
async fn sweep_and_log<E: Engine>(
    engine: &E,
    config: &SweepConfig,
    outages: &OutageLog,
    observe: &(impl Fn(SweepReport) + Sync),
) {
    loop {
        let Err(error) = Box::pin(logging::sweep(engine.open_sweeper(), config, observe)).await;
        observe(SweepReport::Round(failed(outages, &error)));
        sleep(RETRY_AFTER).await;
    }
}

/// Logs why the sweeper failed.
fn failed(outages: &OutageLog, error: &Error) -> Round {
    match error {
        Error::Conflict(reason) => {
            debug!(%reason, "the sweeper and a writer were in conflict; trying again");
        }
        Error::Refused(_) | Error::Unavailable(_) | Error::NotReady(_) | Error::Internal(_) => {
            outages.failed("cannot sweep; trying again", error);
        }
    }
    Round::Failed
}

/// `time` in microseconds.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).expect("a retention is at most a week")
}

/// How long fence rows are kept if changes are kept for `retention`: while a cursor can be used, the store has the row of each lane that has
/// committed since the cursor was made.
fn fence_ages(retention: Duration) -> FenceAges {
    let used = FENCE_KEPT_MIN.max(2 * (micros(retention) + TRANSACTION_MICROS_MAX));
    FenceAges { used, unused: UNUSED_FENCE_KEPT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_row_outlives_every_cursor() {
        let days = |days: u64| days * FENCE_KEPT_MIN;
        for (retention, used) in
            [(0, days(1)), (3600, days(1)), (604_800, days(14) + 2 * TRANSACTION_MICROS_MAX)]
        {
            let ages = fence_ages(Duration::from_secs(retention));
            assert_eq!(ages, FenceAges { used, unused: 3_600_000_000 });
        }
    }
}
