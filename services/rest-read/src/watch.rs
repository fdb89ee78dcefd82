//! Watches: streams of what changes, and gets that wait for a change.
//!
//! One task ([`rounds`]) follows the log of changes (see `db`) for the whole process. When something has changed, the task makes a [`round`].
//! It takes a snapshot of the database, reads from it which keys have changed, and reads what the watched keys among them hold. Then it
//! gives each [`watcher`] the events of the keys that it watches.
//!
//! A [`stream`] that begins, resumes or is far behind reads what it lacks from a snapshot of its own ([`catch_up`]). Then it joins the rounds
//! at the position of that snapshot.
//!
//! The words: a **watch** is a stream or a long poll. A **watcher** is a stream as the rounds see it. It is a **member** while it gets every
//! round, and **joining** while it waits for its first one. A **position** says how far the log is known, lane by lane. A **cursor** is a
//! position as clients see it: the `id` of an event.

mod catch_up;
mod cursor;
mod event;
mod event_memory;
mod hub;
mod index;
mod key_states;
mod log;
mod long_poll;
mod position;
mod recent;
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

pub(crate) use self::long_poll::WaitPreference;
pub(crate) use self::position::ResetReason;
pub(crate) use self::stream::WatchStream;
pub(crate) use self::target::Target;

use self::catch_up::CatchUps;
use self::hub::{FollowStatus, Hub, Permit, Subscriber};
use self::rounds::Rounds;
use self::stream::{Opening, Shared};
use self::watcher::Watcher;
use crate::config::ReadLimits;
use crate::metrics::Metrics;

/// What a client asks for by `GET /watch`.
#[derive(Debug)]
pub(crate) struct WatchQuery {
    pub(crate) target: Target,
    /// Whether events have values.
    pub(crate) with_values: bool,
    /// Whether the stream begins with a snapshot: what the keys hold now. Without effect if there is a cursor.
    pub(crate) with_snapshot: bool,
    /// The cursor to resume from, as the client sent it. Empty: none.
    pub(crate) cursor: String,
}

/// The watches of a process. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Watches {
    shared: Arc<Shared>,
    op_timeout: Duration,
    /// Cancelled: the task of the rounds ends.
    closing: CancellationToken,
}

impl Watches {
    /// Watches without a task that follows the log, so their streams are refused. `stop`: the drain begins.
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

    /// Watches with a task that follows the log while somebody watches. It runs on `tasks` until [`Watches::close`].
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

    /// Ends the task that follows the log. Streams that are still open get nothing more.
    pub(crate) fn close(&self) {
        self.closing.cancel();
    }

    /// A function that tells how many streams and long polls there are.
    pub(crate) fn count(&self) -> impl Fn() -> usize + Send + Sync + use<> {
        let hub = Arc::clone(&self.shared.hub);
        move || hub.permits().used()
    }

    /// A function that tells the bytes of events that are not written to their clients yet.
    pub(crate) fn unread(&self) -> impl Fn() -> usize + Send + Sync + use<> {
        let hub = Arc::clone(&self.shared.hub);
        move || hub.event_memory.bytes()
    }

    /// Takes the permit of one more stream or long poll.
    ///
    /// # Errors
    /// `overloaded`.
    fn permit(&self) -> Result<Permit, Problem> {
        let permits = self.shared.hub.permits();
        let too_many = || {
            let max = permits.max();
            let message = format!("too many watches are open: at most {max} are allowed (WATCHES_MAX)");
            Problem::new(Code::Overloaded, message)
        };
        permits.take().ok_or_else(too_many)
    }

    /// Begins a stream for the client `peer`. Waits for a poll of the database, at most for the time limit of an op. Cancel-safe.
    ///
    /// # Errors
    /// `overloaded`: there are too many watches. `watch_off`: the retention is 0. `unavailable`: the database cannot be reached, or a writer
    /// without a log of changes is active.
    pub(crate) async fn stream(
        &self,
        query: WatchQuery,
        peer: Option<&Arc<Peer>>,
    ) -> Result<WatchStream, Problem> {
        let hub = &self.shared.hub;
        let permit = self.permit()?;
        let deadline = Instant::now() + self.op_timeout;
        match hub.status(deadline).await {
            Some(FollowStatus::Following) => {}
            Some(FollowStatus::Off) => {
                let message = "changes are not logged, so they cannot be watched: CHANGES_RETENTION_S is 0";
                return Err(Problem::new(Code::WatchOff, message));
            }
            Some(FollowStatus::Unlogged) => {
                let message = "no writer that logs changes has started yet, or within the last minute a writer has \
                               logged none (CHANGES_RETENTION_S=0, or an older version)";
                return Err(Problem::new(Code::Unavailable, message));
            }
            Some(FollowStatus::Unknown) | None => {
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
        let subscription = hub.subscribe(target, &subscriber, permit);
        Ok(WatchStream::new(Arc::clone(&self.shared), watcher, subscription, opening))
    }
}
