//! The sweeper: removes what has been dead for long, a little at a time, one sweeper at a time.

pub(crate) mod hint;

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::error::Error;
use crate::store::{AnyEngine, Store};

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
            let mut failing = false;
            loop {
                due.tick().await;
                // A round is a large future, and rare.
                let round = Box::pin(round(&store)).await;
                match &round {
                    Ok(_) => failing = false,
                    Err(Error::Conflict(reason)) => debug!(reason, "a sweep was in the way of a writer"),
                    Err(error @ (Error::Unavailable(_) | Error::NotReady(_) | Error::Internal(_))) => {
                        // Said once, not with every attempt.
                        if std::mem::replace(&mut failing, true) {
                            debug!(%error, "still cannot sweep");
                        } else {
                            warn!(%error, "cannot sweep; trying again");
                        }
                    }
                }
                observe(round.unwrap_or(Round::Failed));
            }
        })
        .await
    });
}

/// Sweeps until nothing is ripe.
async fn round(store: &Store) -> Result<Round, Error> {
    match &store.engine {
        AnyEngine::MySql(mysql) => mysql.sweep().await,
        AnyEngine::Sqlite(sqlite) => sqlite.sweep().await,
    }
}
