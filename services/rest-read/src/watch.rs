//! Watches: streams of what changes, and gets that wait for a change.
//!
//! One task ([`rounds`]) follows the log of changes for the whole process. In each round it reads, from one snapshot of the database, which
//! keys have changed and what those that somebody watches hold now, and gives each [`watcher`] its part. A [`stream`] that begins, resumes or
//! falls behind reads what it lacks by itself ([`catch_up`]), and then joins the rounds where it has come to.

mod catch_up;
mod cursor;
mod event;
mod hub;
mod index;
mod log;
mod long_poll;
mod news;
mod position;
mod recent;
mod room;
mod round;
mod rounds;
mod stream;
mod target;
mod unlogged;
mod watcher;

use std::sync::Arc;
use std::time::Duration;

use chassis::peer::Peer;
use chassis::problem::{Code, Problem};
use db::Store;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::long_poll::Preference;
pub(crate) use self::position::ResetReason;
pub(crate) use self::stream::WatchStream;
pub(crate) use self::target::Target;

use self::catch_up::CatchUps;
use self::hub::{Hub, Place, Status, Subscriber};
use self::rounds::Rounds;
use self::stream::{Opening, Shared};
use self::watcher::Watcher;
use crate::config::ReadLimits;
use crate::metrics::Metrics;

/// What a client asks of a stream.
#[derive(Debug)]
pub(crate) struct WatchQuery {
    pub(crate) target: Target,
    pub(crate) with_values: bool,
    /// Whether the stream begins with what is there, if there is no cursor.
    pub(crate) with_snapshot: bool,
    /// The cursor to resume from. Empty: none.
    pub(crate) cursor: String,
}

/// The watches of a process. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Watches {
    shared: Arc<Shared>,
    op_timeout: Duration,
    /// Ends the rounds.
    closing: CancellationToken,
}

impl Watches {
    /// Watches without a task that follows the changes. `stop` begins the drain.
    pub(crate) fn new(
        store: &Store,
        limits: &ReadLimits,
        tasks: &TaskTracker,
        metrics: &Metrics,
        stop: CancellationToken,
    ) -> Self {
        let shared = Shared {
            hub: Hub::new(limits.watches_max),
            catch_ups: CatchUps::new(store, limits.watch_snapshots, tasks),
            metrics: metrics.clone(),
            stop,
            end_within: limits.watch_end_within,
        };
        Self { shared: Arc::new(shared), op_timeout: limits.op_timeout, closing: CancellationToken::new() }
    }

    /// Watches whose task runs on `tasks`.
    pub(crate) fn start(
        store: &Store,
        limits: &ReadLimits,
        tasks: &TaskTracker,
        metrics: &Metrics,
        stop: CancellationToken,
    ) -> Self {
        let watches = Self::new(store, limits, tasks, metrics, stop);
        let rounds = Rounds::new(store, &watches.shared.hub, metrics);
        tasks.spawn(rounds.run(watches.closing.clone()));
        watches
    }

    /// Ends the task that follows the changes.
    pub(crate) fn close(&self) {
        self.closing.cancel();
    }

    /// A function that tells how many streams and long polls there are.
    pub(crate) fn count(&self) -> impl Fn() -> usize + Send + Sync + use<> {
        let hub = Arc::clone(&self.shared.hub);
        move || hub.places().used()
    }

    /// A function that tells the bytes of events that are not written to their clients yet.
    pub(crate) fn unread(&self) -> impl Fn() -> usize + Send + Sync + use<> {
        let hub = Arc::clone(&self.shared.hub);
        move || hub.room.bytes()
    }

    /// A place for one more stream or long poll.
    ///
    /// # Errors
    /// `overloaded`.
    fn place(&self) -> Result<Place, Problem> {
        let places = self.shared.hub.places();
        let too_many = || {
            let max = places.max();
            let message = format!("{max} watches are open, and no more may be open at the same time");
            Problem::new(Code::Overloaded, message)
        };
        places.take().ok_or_else(too_many)
    }

    /// Begins a stream for the client `peer`.
    ///
    /// # Errors
    /// `overloaded`: there are too many watches. `watch_off`, `unavailable`: changes cannot be followed.
    pub(crate) async fn stream(
        &self,
        query: WatchQuery,
        peer: Option<&Arc<Peer>>,
    ) -> Result<WatchStream, Problem> {
        let hub = &self.shared.hub;
        let place = self.place()?;
        let deadline = Instant::now() + self.op_timeout;
        match hub.status(deadline).await {
            Some(Status::Following) => {}
            Some(Status::Off) => {
                let message = "changes are not logged, so they cannot be watched: the retention is 0";
                return Err(Problem::new(Code::WatchOff, message));
            }
            Some(Status::Unlogged) => {
                let message = "a writer that logs no changes is running, or was until a minute ago";
                return Err(Problem::new(Code::Unavailable, message));
            }
            Some(Status::Unknown) | None => {
                return Err(Problem::new(Code::Unavailable, "the database cannot be reached"));
            }
        }
        let WatchQuery { target, with_values, with_snapshot, cursor } = query;
        let opening = match (cursor.is_empty(), with_snapshot) {
            (true, true) => Opening::Snapshot,
            (true, false) => Opening::Now,
            (false, _) => match cursor::decode(&cursor, target.fingerprint()) {
                Ok(position) => Opening::After(Arc::new(position)),
                Err(reason) => Opening::Reset(reason),
            },
        };
        let watcher = Arc::new(Watcher::new(target.clone(), with_values, peer.cloned()));
        let subscriber = Arc::new(Subscriber::Stream(Arc::clone(&watcher)));
        let subscription = hub.subscribe(target, &subscriber, place);
        Ok(WatchStream::new(Arc::clone(&self.shared), watcher, subscription, opening))
    }
}
