//! The rounds: one task follows the log of changes for all watches of a process. [`round`](super::round) is one round.

use std::sync::Arc;
use std::time::Duration;

use db::{Error, Follower, LogSnapshot, LogState, Store};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::damage::DamageLog;
use crate::health::Failures;
use crate::metrics::Metrics;
use crate::watch::hub::{FollowStatus, Hub, Joining};
use crate::watch::position::Position;
use crate::watch::round::{CHANGES_MAX, Round};
use crate::watch::unlogged::UnloggedLanes;

/// The time from the beginning of one poll of the database to the next.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How often the time in the position of the rounds is brought up to date while no lane moves. The age of a cursor counts from this time.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// A round reads the log for joining watchers that have missed at most this time, in microseconds. Others catch up from snapshots of their
/// own.
const MISSED_MICROS_MAX: u64 = 5 * 60 * 1_000_000;

/// A round reads at most this many changes for joining watchers, which takes less than a tenth of a second.
const MISSED_CHANGES_MAX: usize = 20_000;

/// How long the task goes on after the last watch has ended. So a client that comes back at once finds in memory what it has missed.
const LINGER: Duration = Duration::from_secs(5);

/// Follows the log while somebody watches.
pub(crate) struct Rounds {
    store: Store,
    hub: Arc<Hub>,
    metrics: Metrics,
    damage: DamageLog,
    unlogged: UnloggedLanes,
}

impl Rounds {
    pub(crate) fn new(store: &Store, hub: &Arc<Hub>, metrics: &Metrics) -> Self {
        Self {
            store: store.clone(),
            hub: Arc::clone(hub),
            metrics: metrics.clone(),
            damage: DamageLog::new("watch"),
            unlogged: UnloggedLanes::default(),
        }
    }

    /// Follows the log while somebody watches, until `stop`. Logs failures, and tries again.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            let mut failures = Failures::default();
            loop {
                self.hub.permits().in_use().await;
                // Boxed, because the future is large and idle most of the time.
                match Box::pin(self.follow(&mut failures)).await {
                    Ok(()) => {}
                    Err(error) => {
                        self.store.read_outages().failed("cannot follow the changes; trying again", &error);
                        failures.add();
                        failures.pause().await;
                    }
                }
            }
        })
        .await;
    }

    /// Follows the log on one connection until nobody has watched for [`LINGER`].
    async fn follow(&mut self, failures: &mut Failures) -> Result<(), Error> {
        let mut follower = self.store.follower().await?;
        let (mut watched, mut refreshed) = (Instant::now(), Instant::now());
        while watched.elapsed() < LINGER {
            let begun = Instant::now();
            if self.hub.permits().used() > 0 {
                watched = begun;
            }
            let state = follower.poll().await?;
            let status = self.unlogged.status(&state);
            if status == FollowStatus::Following {
                if self.is_round_due(&state) {
                    self.round(&mut follower).await?;
                    refreshed = begun;
                } else if refreshed.elapsed() >= REFRESH_INTERVAL {
                    // No lane has moved, so this is the position of the last round with a later time.
                    self.hub.advance(Arc::new(Position::of(&state)));
                    refreshed = begun;
                }
            }
            self.hub.note_poll(status);
            self.store.read_outages().succeeded();
            failures.clear();
            sleep_until(begun + POLL_INTERVAL).await;
        }
        self.hub.pause();
        follower.close().await;
        Ok(())
    }

    /// Whether a lane has moved since the last round, or a watcher joins.
    fn is_round_due(&self, state: &LogState) -> bool {
        let Some(position) = self.hub.position() else { return true };
        position.reset_reason(state).is_some()
            || position.moved(state).next().is_some()
            || self.hub.has_joining()
    }

    /// Makes one round. After an error, the joining watchers wait for the next one.
    async fn round(&mut self, follower: &mut Follower) -> Result<(), Error> {
        let joining = self.hub.take_joining();
        let done = self.read_and_deliver(follower, &joining).await;
        if done.is_err() {
            // Nobody was admitted.
            self.hub.join_again(joining);
        }
        done
    }

    /// Reads a round from one snapshot, and gives each watcher its part.
    async fn read_and_deliver(&mut self, follower: &mut Follower, joining: &[Joining]) -> Result<(), Error> {
        let hub = &self.hub;
        let begun = Instant::now();
        let mut snapshot = follower.snapshot().await?;
        let position = Arc::new(Position::of(snapshot.state()));
        if let Some(reason) = hub.position().and_then(|from| from.reset_reason(snapshot.state())) {
            hub.reset(reason);
        }
        let (mut round, mut age) = (Round::default(), None);
        match hub.position() {
            Some(from) => {
                age = from.age(snapshot.state());
                match Round::changes(&mut snapshot, &from, CHANGES_MAX).await? {
                    Some(changes) => {
                        self.metrics.changes(changes.len());
                        round.add_members(hub, &changes);
                        hub.add_recent(&position, changes);
                    }
                    None => hub.begin(&position),
                }
            }
            None => hub.begin(&position),
        }
        self.read_missed(&mut snapshot, &position, joining).await?;
        let mut ahead = Vec::new();
        for joining in joining {
            if let Some(reason) = joining.position.reset_reason(snapshot.state()) {
                joining.watcher.reset(reason);
            } else if position.covers(&joining.position) {
                round.add_joining(hub, joining);
            } else {
                // It has read a later snapshot than that of this round.
                ahead.push(joining.clone());
            }
        }
        round.read(&mut snapshot, hub, &self.damage).await?;
        snapshot.end().await?;
        self.metrics.events(round.deliver(&position));
        hub.join_again(ahead);
        hub.advance(position);
        self.metrics.round(begun.elapsed());
        if let Some(age) = age {
            self.metrics.lag(age + begun.elapsed());
        }
        Ok(())
    }

    /// Reads once, into memory, what joining watchers have missed and is not in memory. After a restart thousands of them come back at the
    /// same time, and otherwise each would read a snapshot of its own.
    async fn read_missed(
        &self,
        snapshot: &mut LogSnapshot<'_>,
        position: &Arc<Position>,
        joining: &[Joining],
    ) -> Result<(), Error> {
        let is_missing = |missed: &&Position| {
            missed.time.saturating_add(MISSED_MICROS_MAX) > position.time
                && missed.reset_reason(snapshot.state()).is_none()
                && !self.hub.has_recent_since(missed)
        };
        let missing: Vec<&Position> =
            joining.iter().map(|joining| &*joining.position).filter(is_missing).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let from = Position::earliest(&missing);
        if let Some(changes) = Round::changes(snapshot, &from, MISSED_CHANGES_MAX).await? {
            self.hub.replace_recent(from, position, changes);
        }
        Ok(())
    }
}
