//! The rounds: one task of a process follows the log of changes for all its watches.

use std::sync::Arc;
use std::time::Duration;

use db::{Error, Follower, LogSnapshot, LogState, Store};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::damage::DamageLog;
use crate::health::Failures;
use crate::metrics::Metrics;
use crate::watch::hub::{Hub, Joining, Status};
use crate::watch::position::Position;
use crate::watch::round::{CHANGES_MAX, Round};
use crate::watch::unlogged::UnloggedLanes;

/// The time from the beginning of one look to the next.
const INTERVAL: Duration = Duration::from_millis(10);

/// How often the time of a position is brought up to date while nothing moves.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// How far back a round reads what watchers have missed that join, in microseconds. Those that have missed more read it by themselves.
const REACH_BACK_MICROS: u64 = 5 * 60 * 1_000_000;

/// The same in changes. A round with so many takes less than a tenth of a second.
const REACH_BACK_CHANGES_MAX: usize = 20_000;

/// How long the task looks on when nobody watches, so that a client that comes back at once finds its changes in memory.
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

    /// Follows until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            let mut failures = Failures::default();
            loop {
                self.hub.places().in_use().await;
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

    /// Follows on one connection until nobody has watched for [`LINGER`].
    async fn follow(&mut self, failures: &mut Failures) -> Result<(), Error> {
        let mut follower = self.store.follower().await?;
        let (mut watched, mut refreshed) = (Instant::now(), Instant::now());
        while watched.elapsed() < LINGER {
            let begun = Instant::now();
            if self.hub.places().used() > 0 {
                watched = begun;
            }
            let state = follower.poll().await?;
            let status = self.unlogged.status(&state);
            if status == Status::Following {
                if self.is_round_due(&state) {
                    self.round(&mut follower).await?;
                    refreshed = begun;
                } else if refreshed.elapsed() >= REFRESH_INTERVAL {
                    // Nothing has moved, so the position of the last round is also one of now. Cursors count from the time in it.
                    self.hub.advance(Arc::new(Position::of(&state)));
                    refreshed = begun;
                }
            }
            self.hub.looked(status);
            self.store.read_outages().succeeded();
            failures.clear();
            sleep_until(begun + INTERVAL).await;
        }
        self.hub.pause();
        follower.close().await;
        Ok(())
    }

    /// Whether something has moved since the last round, or somebody joins.
    fn is_round_due(&self, state: &LogState) -> bool {
        let Some(position) = self.hub.position() else { return true };
        position.lost(state).is_some() || position.moved(state).next().is_some() || self.hub.has_joining()
    }

    /// One round.
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
        if let Some(reason) = hub.position().and_then(|from| from.lost(snapshot.state())) {
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
                        hub.remember(&position, changes);
                    }
                    None => hub.begin(&position),
                }
            }
            None => hub.begin(&position),
        }
        self.reach_back(&mut snapshot, &position, joining).await?;
        let mut ahead = Vec::new();
        for joining in joining {
            if let Some(reason) = joining.position.lost(snapshot.state()) {
                joining.watcher.reset(reason);
            } else if position.covers(&joining.position) {
                round.add_joining(hub, joining);
            } else {
                // The watcher has read a later snapshot.
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

    /// Reads once what several watchers have missed that is not in memory. After a restart thousands of them come back at the same time, and
    /// each would otherwise read by itself.
    async fn reach_back(
        &self,
        snapshot: &mut LogSnapshot<'_>,
        position: &Arc<Position>,
        joining: &[Joining],
    ) -> Result<(), Error> {
        let is_missing = |missed: &&Position| {
            missed.time.saturating_add(REACH_BACK_MICROS) > position.time
                && missed.lost(snapshot.state()).is_none()
                && !self.hub.remembers(missed)
        };
        let missing: Vec<&Position> =
            joining.iter().map(|joining| &*joining.position).filter(is_missing).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let from = Position::earliest(&missing);
        if let Some(changes) = Round::changes(snapshot, &from, REACH_BACK_CHANGES_MAX).await? {
            self.hub.reach_back(from, position, changes);
        }
        Ok(())
    }
}
