//! The sweeper: removes entries that have been dead for long, in small transactions, by one process at a time.

pub(crate) mod hint;
mod round;

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::engine::Engine as _;
use crate::engine::any::dispatch;
use crate::error::Error;
use crate::store::Store;
use crate::sweeper::round::round;

/// The result of a round of the sweeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// Nothing is ripe any more. The number of removed entries.
    Swept(u64),
    /// Another process is sweeping.
    Elsewhere,
    /// The database could not be reached, or a row was locked for too long.
    Failed,
}

/// Starts a task of `tracker` that sweeps `store` at the interval `every` until `stop`, and calls `observe` after each round.
///
/// Several processes may sweep one store: a round does nothing while another process is sweeping.
pub fn sweep(
    store: &Store,
    every: Duration,
    tracker: &TaskTracker,
    stop: CancellationToken,
    observe: impl Fn(Round) + Send + Sync + 'static,
) {
    let store = store.clone();
    tracker.spawn(async move {
        stop.run_until_cancelled(async {
            let mut due = interval(every);
            due.set_missed_tick_behavior(MissedTickBehavior::Delay);
            // The first tick comes at once, when a process that just started has other work.
            due.tick().await;
            loop {
                due.tick().await;
                // Boxed, because the future of a round is large and rare.
                let swept = dispatch!(&store.engine, engine => Box::pin(round(engine.open_sweeper())).await);
                observe(match swept {
                    Ok(removed) => removed.map_or(Round::Elsewhere, Round::Swept),
                    Err(Error::Conflict(reason)) => {
                        debug!(%reason, "the sweeper and a writer were in conflict; trying again");
                        Round::Failed
                    }
                    Err(
                        error @ (Error::Refused(_)
                        | Error::Unavailable(_)
                        | Error::NotReady(_)
                        | Error::Internal(_)),
                    ) => {
                        store.write_outages.failed("cannot sweep; trying again", &error);
                        Round::Failed
                    }
                });
            }
        })
        .await
    });
}
