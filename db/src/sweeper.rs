//! The sweeper: removes what has been dead for long, a little at a time, one sweeper at a time.

pub(crate) mod hint;

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::error::Error;
use crate::store::Store;

/// How a round of the sweeper ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// Nothing is ripe any more; so many entries were removed.
    Swept(u64),
    /// Another process sweeps.
    Elsewhere,
    /// The database could not be reached, or somebody held a row for too long.
    Failed,
}

/// Sweeps `store` every `every` in a task of `tracker`, until `stop`; `observe` is told of each round.
///
/// However many processes sweep a store, one does at a time: a round that finds another under way does nothing.
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
            // The first tick comes at once: a store just opened has other things to do.
            due.tick().await;
            let mut is_failing = false;
            loop {
                due.tick().await;
                // A round is a large future, and rare.
                observe(match Box::pin(store.engine.sweep()).await {
                    Ok(removed) => {
                        is_failing = false;
                        removed.map_or(Round::Elsewhere, Round::Swept)
                    }
                    Err(Error::Conflict(reason)) => {
                        debug!(%reason, "a sweep was in the way of a writer");
                        Round::Failed
                    }
                    Err(error @ (Error::Unavailable(_) | Error::NotReady(_) | Error::Internal(_))) => {
                        // A warning for the first failure only.
                        if std::mem::replace(&mut is_failing, true) {
                            debug!(%error, "still cannot sweep");
                        } else {
                            warn!(%error, "cannot sweep; trying again");
                        }
                        Round::Failed
                    }
                });
            }
        })
        .await
    });
}
