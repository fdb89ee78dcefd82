//! Room for the connections of a port. If it is full, connections without a request make room for new ones.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::server::progress::Progress;
use crate::telemetry::LogLimit;

/// A silent connection is closed only if it is at least this old. This gives an honest client the time to send its request, even if others
/// open connections very fast. A new connection may wait this long for its place, so a longer time would delay a health check during a flood.
const GRACE: Duration = Duration::from_millis(50);

/// The places of the connections of one port.
#[derive(Debug)]
pub(crate) struct Room {
    connections_max: usize,
    /// One permit for each open connection.
    permits: Arc<Semaphore>,
    /// The connections that were silent when they came in, the oldest first. Those that have sent a request or ended since are removed
    /// only when a place is needed, or when the list is long.
    silent: VecDeque<Newcomer>,
    log: LogLimit,
}

/// A connection that was silent when it came in.
#[derive(Debug)]
struct Newcomer {
    since: Instant,
    progress: Weak<Progress>,
}

impl Room {
    pub(crate) fn new(connections_max: usize) -> Self {
        Self {
            connections_max,
            permits: Arc::new(Semaphore::new(connections_max)),
            silent: VecDeque::new(),
            log: LogLimit::default(),
        }
    }

    /// A place for a new connection. If there is none, the oldest silent connection is closed, and its place is taken. `None`: no
    /// connection is silent.
    ///
    /// Takes [`GRACE`] at most.
    pub(crate) async fn place(&mut self) -> Option<OwnedSemaphorePermit> {
        let permits = Arc::clone(&self.permits);
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            return Some(permit);
        }
        let permit = async { permits.acquire_owned().await.expect("it is never closed") };
        let mut permit = std::pin::pin!(permit);
        loop {
            if let Ok(permit) = timeout_at(self.oldest()? + GRACE, &mut permit).await {
                return Some(permit);
            }
            if self.evict_oldest() {
                // The evicted connection waits for nothing but its client, and has been woken: it ends at once. Its descriptor is
                // closed before its permit comes back, so that there are never more descriptors than permits.
                return Some(permit.await);
            }
        }
    }

    /// Notes a connection that has taken its place and has not sent a request.
    pub(crate) fn add(&mut self, progress: &Arc<Progress>) {
        // At most `connections_max` of them stay, so this happens at most once for each `connections_max` new connections.
        if self.silent.len() >= self.connections_max.saturating_mul(2) {
            self.silent.retain(Newcomer::is_silent);
        }
        self.silent.push_back(Newcomer { since: Instant::now(), progress: Arc::downgrade(progress) });
    }

    /// When the oldest silent connection came in. `None` if no connection is silent.
    fn oldest(&mut self) -> Option<Instant> {
        while self.silent.pop_front_if(|newcomer| !newcomer.is_silent()).is_some() {}
        self.silent.front().map(|newcomer| newcomer.since)
    }

    /// False if the oldest connection is no longer silent.
    fn evict_oldest(&mut self) -> bool {
        let evicted = self.silent.pop_front().and_then(|newcomer| newcomer.progress.upgrade());
        let evicted = evicted.is_some_and(|progress| progress.evict());
        if evicted && let Some(left_out) = self.log.admit() {
            let connections_max = self.connections_max;
            tracing::warn!(
                connections_max,
                left_out,
                "closing connections without a request: too many are open"
            );
        }
        evicted
    }
}

impl Newcomer {
    fn is_silent(&self) -> bool {
        self.progress.upgrade().is_some_and(|progress| progress.is_silent())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio_util::sync::CancellationToken;

    use super::*;

    /// A silent connection in `room`.
    fn connect(room: &mut Room) -> (Arc<Progress>, OwnedSemaphorePermit) {
        let permit = room.place().now_or_never().flatten().expect("there is room");
        let progress = Arc::new(Progress::new(CancellationToken::new()));
        room.add(&progress);
        (progress, permit)
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_takes_the_place_of_the_oldest_silent_one() {
        let mut room = Room::new(3);
        let ((asked, _asked), (older, place), (younger, _younger)) =
            (connect(&mut room), connect(&mut room), connect(&mut room));
        asked.ask().expect("it was not evicted");
        let begun = Instant::now();
        let leaves = async {
            older.evicted().await;
            assert_eq!(begun.elapsed().as_millis(), GRACE.as_millis(), "it had time to send its request");
            drop(place);
        };
        assert!(tokio::join!(room.place(), leaves).0.is_some());
        assert!(younger.is_silent() && !asked.is_evicted());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_becomes_free_is_taken_first() {
        let mut room = Room::new(2);
        let ((silent, _silent), (_, place)) = (connect(&mut room), connect(&mut room));
        let leaves = async { drop(place) };
        assert!(tokio::join!(room.place(), leaves).0.is_some());
        assert!(silent.is_silent());
    }

    #[test]
    fn without_a_silent_connection_there_is_no_place() {
        let mut room = Room::new(1);
        let (asked, _place) = connect(&mut room);
        asked.ask().expect("it was not evicted");
        assert!(room.place().now_or_never().expect("nothing to wait for").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_have_asked_or_ended_take_no_memory_for_ever() {
        let mut room = Room::new(2);
        let (silent, _place) = connect(&mut room);
        for _ in 0..100 {
            let (asked, _place) = connect(&mut room);
            asked.ask().expect("it was not evicted");
            assert!(room.silent.len() <= 4);
        }
        assert!(room.evict_oldest() && silent.is_evicted(), "the one that is still silent was kept");
    }
}
