//! The schedule of a run: when each client may send its next operation, and from which moment its latency counts.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// A shorter sleep costs more than waking the clients early.
const SLEEP_MIN: Duration = Duration::from_micros(20);

/// The schedule of a run.
#[derive(Debug)]
pub(super) struct Schedule {
    begun: OnceLock<Instant>,
    /// The duration of the run, if it is limited.
    span: Option<Duration>,
    /// Operations that no client has taken yet, if their number is limited.
    left: Option<AtomicU64>,
    /// `None` in a closed loop.
    fixed_rate: Option<FixedRate>,
    /// Whether the run was ended early.
    is_stopped: AtomicBool,
}

/// Operation `k` of client `c` falls due `(k * clients + c) / rate` seconds after the start.
#[derive(Debug)]
struct FixedRate {
    /// Operations per second, of all clients together.
    rate: u64,
    /// For each client: wakes it when an operation falls due.
    due: Box<[Notify]>,
}

impl Schedule {
    /// Each client sends its next operation when a reply has come.
    pub(super) fn closed_loop(span: Option<Duration>, count: Option<std::num::NonZeroU64>) -> Self {
        let left = count.map(|count| AtomicU64::new(count.get()));
        Self { begun: OnceLock::new(), span, left, fixed_rate: None, is_stopped: AtomicBool::new(false) }
    }

    /// `rate` operations fall due each second, spread evenly over `clients`.
    pub(super) fn fixed_rate(
        rate: u64,
        clients: usize,
        span: Option<Duration>,
        count: Option<std::num::NonZeroU64>,
    ) -> Self {
        let due = (0..clients).map(|_| Notify::new()).collect();
        Self { fixed_rate: Some(FixedRate { rate, due }), ..Self::closed_loop(span, count) }
    }

    /// Starts the clock.
    pub(super) fn begin(self: &std::sync::Arc<Self>, begun: Instant) {
        self.begun.get_or_init(|| begun);
        if self.fixed_rate.is_some() {
            // A thread of its own, because the timers of the runtime have a resolution of a millisecond.
            let schedule = std::sync::Arc::downgrade(self);
            std::thread::spawn(move || {
                let mut next = 0;
                while let Some(strong) = schedule.upgrade() {
                    let Some(wait) = strong.wake_due(&mut next) else { return };
                    drop(strong);
                    std::thread::sleep(wait);
                }
            });
        }
    }

    /// Ends the run early: no client may send another operation.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        if let Some(fixed_rate) = &self.fixed_rate {
            fixed_rate.due.iter().for_each(Notify::notify_one);
        }
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// Wakes the clients whose operation has fallen due. Returns the time until the next one, or `None` if the run is over.
    fn wake_due(&self, next: &mut u64) -> Option<Duration> {
        let fixed_rate = self.fixed_rate.as_ref()?;
        loop {
            if self.is_over(fixed_rate.due_at(*next)) {
                fixed_rate.due.iter().for_each(Notify::notify_one);
                return None;
            }
            let wait = fixed_rate.due_at(*next).saturating_sub(self.elapsed());
            if wait > SLEEP_MIN {
                return Some(wait);
            }
            let client = usize::try_from(*next).unwrap_or(usize::MAX) % fixed_rate.due.len();
            fixed_rate.due[client].notify_one();
            *next += 1;
        }
    }

    /// Whether `client` may send its operation number `nth` now, and since when it was due.
    pub(super) fn may_send(&self, client: usize, nth: u64) -> NextSend {
        let elapsed = self.elapsed();
        let due = self.fixed_rate.as_ref().map(|fixed_rate| fixed_rate.due_of(client, nth));
        if self.is_over(due.unwrap_or(elapsed)) || self.span.is_some_and(|span| elapsed >= span) {
            return NextSend::Never;
        }
        if due.is_some_and(|due| due > elapsed) {
            return NextSend::Later;
        }
        let take = |left: u64| left.checked_sub(1);
        if self
            .left
            .as_ref()
            .is_some_and(|l| l.try_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err())
        {
            return NextSend::Never;
        }
        NextSend::Now(self.begun() + due.unwrap_or(elapsed))
    }

    /// Waits until an operation of `client` falls due; for ever in a closed loop. May return early.
    pub(super) async fn due(&self, client: usize) {
        match &self.fixed_rate {
            Some(fixed_rate) => fixed_rate.due[client].notified().await,
            None => std::future::pending().await,
        }
    }

    /// Operations of `client` that fell due and were not sent, given that it sent `sent`. 0 if the run was stopped early.
    pub(super) fn unsent(&self, client: usize, sent: u64) -> u64 {
        let (Some(fixed_rate), Some(span), false) = (&self.fixed_rate, self.span, self.is_stopped()) else {
            return 0;
        };
        fixed_rate.due_before(span, client).saturating_sub(sent)
    }

    fn begun(&self) -> Instant {
        *self.begun.get().expect("clients send, and the clock wakes them, only after the run has begun")
    }

    fn elapsed(&self) -> Duration {
        self.begun().elapsed()
    }

    fn is_over(&self, due: Duration) -> bool {
        let all_sent = self.left.as_ref().is_some_and(|left| left.load(Ordering::Relaxed) == 0);
        all_sent || self.is_stopped() || self.span.is_some_and(|span| due >= span)
    }
}

impl FixedRate {
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

/// When a client may send its next operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextSend {
    /// Now; its latency counts from this moment.
    Now(Instant),
    /// Not yet.
    Later,
    /// Never: the run is over.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn operations_fall_due_evenly_and_latency_counts_from_then() {
        let schedule = Arc::new(Schedule::fixed_rate(1000, 4, Some(Duration::from_secs(10)), None));
        let begun = Instant::now().checked_sub(Duration::from_millis(10)).expect("the machine is up");
        schedule.begin(begun);
        // Client 3 is due at 3, 7, 11 ms; now it is 10 ms.
        assert_eq!(schedule.may_send(3, 0), NextSend::Now(begun + Duration::from_millis(3)));
        assert_eq!(schedule.may_send(3, 1), NextSend::Now(begun + Duration::from_millis(7)));
        assert_eq!(schedule.may_send(3, 1000), NextSend::Later);
        assert_eq!(schedule.may_send(3, 2500), NextSend::Never);
        assert_eq!(schedule.unsent(3, 2), 2498);
    }

    #[test]
    fn after_a_stop_nobody_sends() {
        let second = Some(Duration::from_secs(1));
        for schedule in [Schedule::closed_loop(second, None), Schedule::fixed_rate(1000, 1, second, None)] {
            let schedule = Arc::new(schedule);
            schedule.begin(Instant::now());
            schedule.stop();
            assert_eq!((schedule.may_send(0, 0), schedule.unsent(0, 0)), (NextSend::Never, 0));
        }
    }

    #[test]
    fn a_limited_number_is_given_out_once() {
        let schedule = Arc::new(Schedule::closed_loop(None, std::num::NonZeroU64::new(2)));
        schedule.begin(Instant::now());
        assert!(matches!(schedule.may_send(0, 0), NextSend::Now(_)));
        assert!(matches!(schedule.may_send(1, 0), NextSend::Now(_)));
        assert_eq!(schedule.may_send(0, 1), NextSend::Never);
    }
}
