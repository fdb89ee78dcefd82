//! When the next operation may be sent.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// A sleep shorter than this is not worth its wake-up.
const NAP: Duration = Duration::from_micros(20);

/// The schedule of a run: who may send how much, and from which moment its latency counts.
#[derive(Debug)]
pub(super) struct Pace {
    begun: OnceLock<Instant>,
    span: Option<Duration>,
    /// Operations not given out yet, if their number is limited.
    left: Option<AtomicU64>,
    /// For a fixed rate.
    schedule: Option<Schedule>,
}

/// Operation `k` of client `c` falls due `(k * clients + c) / rate` seconds after the start.
#[derive(Debug)]
struct Schedule {
    rate: u64,
    /// One per client.
    due: Box<[Notify]>,
}

impl Pace {
    /// As fast as answers come.
    pub(super) fn closed(span: Option<Duration>, count: Option<std::num::NonZeroU64>) -> Self {
        let left = count.map(|count| AtomicU64::new(count.get()));
        Self { begun: OnceLock::new(), span, left, schedule: None }
    }

    /// `rate` operations fall due each second, spread evenly over `clients`.
    pub(super) fn fixed(
        rate: u64,
        clients: usize,
        span: Option<Duration>,
        count: Option<std::num::NonZeroU64>,
    ) -> Self {
        let due = (0..clients).map(|_| Notify::new()).collect();
        Self { schedule: Some(Schedule { rate, due }), ..Self::closed(span, count) }
    }

    /// Starts the clock.
    pub(super) fn begin(self: &std::sync::Arc<Self>, begun: Instant) {
        self.begun.get_or_init(|| begun);
        if self.schedule.is_some() {
            // A thread of its own, because timers of the runtime have milliseconds.
            let pace = std::sync::Arc::downgrade(self);
            std::thread::spawn(move || {
                let mut next = 0;
                while let Some(pace) = pace.upgrade() {
                    let Some(wait) = pace.wake_due(&mut next) else { return };
                    drop(pace);
                    std::thread::sleep(wait);
                }
            });
        }
    }

    /// Wakes the clients whose operation has fallen due; how long until the next does.
    fn wake_due(&self, next: &mut u64) -> Option<Duration> {
        let schedule = self.schedule.as_ref()?;
        loop {
            if self.is_over(schedule.due_at(*next)) {
                schedule.due.iter().for_each(Notify::notify_one);
                return None;
            }
            let wait = schedule.due_at(*next).saturating_sub(self.elapsed());
            if wait > NAP {
                return Some(wait);
            }
            let client = usize::try_from(*next).unwrap_or(usize::MAX) % schedule.due.len();
            schedule.due[client].notify_one();
            *next += 1;
        }
    }

    /// Whether `client` may send its operation number `nth` now, and since when it might have.
    pub(super) fn may_send(&self, client: usize, nth: u64) -> Turn {
        let elapsed = self.elapsed();
        let due = self.schedule.as_ref().map(|schedule| schedule.due_of(client, nth));
        if self.is_over(due.unwrap_or(elapsed)) || self.span.is_some_and(|span| elapsed >= span) {
            return Turn::Over;
        }
        if due.is_some_and(|due| due > elapsed) {
            return Turn::Later;
        }
        let take = |left: u64| left.checked_sub(1);
        if self
            .left
            .as_ref()
            .is_some_and(|l| l.try_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err())
        {
            return Turn::Over;
        }
        let begun = self.begun.get().copied().unwrap_or_else(Instant::now);
        Turn::Now(begun + due.unwrap_or(elapsed))
    }

    /// Waits until the next operation of `client` may have fallen due.
    pub(super) async fn due(&self, client: usize) {
        match &self.schedule {
            Some(schedule) => schedule.due[client].notified().await,
            None => std::future::pending().await,
        }
    }

    /// Operations of `client` that fell due when it had sent `sent`.
    pub(super) fn unsent(&self, client: usize, sent: u64) -> u64 {
        let (Some(schedule), Some(span)) = (&self.schedule, self.span) else { return 0 };
        schedule.due_before(span, client).saturating_sub(sent)
    }

    fn elapsed(&self) -> Duration {
        self.begun.get().map(Instant::elapsed).unwrap_or_default()
    }

    fn is_over(&self, due: Duration) -> bool {
        let all_sent = self.left.as_ref().is_some_and(|left| left.load(Ordering::Relaxed) == 0);
        all_sent || self.span.is_some_and(|span| due >= span)
    }
}

impl Schedule {
    fn due_of(&self, client: usize, nth: u64) -> Duration {
        self.due_at(nth.saturating_mul(self.due.len() as u64).saturating_add(client as u64))
    }

    /// How many operations of `client` fall due before `end`.
    fn due_before(&self, end: Duration, client: usize) -> u64 {
        let all = (end.as_nanos() * u128::from(self.rate)).div_ceil(1_000_000_000);
        let its = all.saturating_sub(client as u128).div_ceil(self.due.len() as u128);
        u64::try_from(its).unwrap_or(u64::MAX)
    }

    fn due_at(&self, number: u64) -> Duration {
        let nanos = u128::from(number) * 1_000_000_000 / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What a client may do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Send; latency counts from here.
    Now(Instant),
    /// Nothing is due yet.
    Later,
    /// No more.
    Over,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn operations_fall_due_evenly_and_latency_counts_from_then() {
        let pace = Arc::new(Pace::fixed(1000, 4, Some(Duration::from_secs(10)), None));
        let begun = Instant::now().checked_sub(Duration::from_millis(10)).expect("the machine is up");
        pace.begin(begun);
        // Client 3 is due at 3, 7, 11 ms; now it is 10 ms.
        assert_eq!(pace.may_send(3, 0), Turn::Now(begun + Duration::from_millis(3)));
        assert_eq!(pace.may_send(3, 1), Turn::Now(begun + Duration::from_millis(7)));
        assert_eq!(pace.may_send(3, 1000), Turn::Later);
        assert_eq!(pace.may_send(3, 2500), Turn::Over);
        assert_eq!(pace.unsent(3, 2), 2498);
    }

    #[test]
    fn a_limited_number_is_given_out_once() {
        let pace = Arc::new(Pace::closed(None, std::num::NonZeroU64::new(2)));
        pace.begin(Instant::now());
        assert!(matches!(pace.may_send(0, 0), Turn::Now(_)));
        assert!(matches!(pace.may_send(1, 0), Turn::Now(_)));
        assert_eq!(pace.may_send(0, 1), Turn::Over);
    }
}
