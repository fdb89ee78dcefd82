//! Time limits of clients that count only the time in which this process runs.
//!
//! A process can stand still for a while: `docker pause`, a snapshot of its virtual machine, SIGSTOP. The monotonic clock goes on
//! meanwhile. A limit by the clock alone would then end for clients that had no chance to keep it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

/// A limit is counted in steps of this length.
const STEP: Duration = Duration::from_secs(1);

/// A step that is seen to end later than this does not count: the process stood still, or nobody polled the countdown.
const LATE_MAX: Duration = Duration::from_millis(500);

pin_project! {
    /// A future that is ready when its time has run. It does not count time in which this process stands still, nor time in which
    /// nobody polls it.
    #[derive(Debug)]
    pub struct Countdown {
        #[pin]
        step: Sleep,
        // The length of the current step.
        length: Duration,
        // The time that remains after the current step.
        left: Duration,
    }
}

impl Countdown {
    /// Counts `limit` from now on.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self::from(Instant::now(), limit)
    }

    fn from(begun: Instant, limit: Duration) -> Self {
        let length = limit.min(STEP);
        Self { step: sleep_until(begun + length), length, left: limit.saturating_sub(length) }
    }

    /// Begins the current step again, so that the time since the last poll does not count.
    pub fn skip(self: Pin<&mut Self>) {
        let this = self.project();
        this.step.reset(Instant::now() + *this.length);
    }
}

impl Future for Countdown {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut this = self.as_mut().project();
            ready!(this.step.as_mut().poll(cx));
            let due = this.step.deadline();
            if due.elapsed() > LATE_MAX {
                self.as_mut().skip();
            } else if this.left.is_zero() {
                return Poll::Ready(());
            } else {
                *this.length = (*this.left).min(STEP);
                *this.left -= *this.length;
                this.step.reset(due + *this.length);
            }
        }
    }
}

/// The time limit of [`timeout`] is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time limit is over")]
pub struct Elapsed;

impl From<Elapsed> for std::io::Error {
    fn from(_: Elapsed) -> Self {
        std::io::ErrorKind::TimedOut.into()
    }
}

/// The output of `future`, if it is there before `limit` has run. Like `tokio::time::timeout`, in running time.
///
/// # Errors
/// `limit` is over. The future is dropped.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::select! {
        biased;
        output = future => Ok(output),
        () = Countdown::new(limit) => Err(Elapsed),
    }
}

/// Gives hyper its time limits, in running time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunningTimer;

impl hyper::rt::Timer for RunningTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Countdown::new(duration))
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        let now = Instant::now();
        Box::pin(Countdown::from(now, deadline.saturating_duration_since(now.into_std())))
    }
}

impl hyper::rt::Sleep for Countdown {}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(10_300);

    #[tokio::test(start_paused = true)]
    async fn a_limit_takes_exactly_its_time() {
        let begun = Instant::now();
        assert_eq!(timeout(LIMIT, std::future::pending::<()>()).await, Err(Elapsed));
        assert_eq!(begun.elapsed().as_millis(), LIMIT.as_millis());
        assert_eq!(timeout(LIMIT, sleep(Duration::from_secs(9))).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_the_process_stands_still_does_not_count() {
        let begun = Instant::now();
        let limit = tokio::spawn(timeout(LIMIT, std::future::pending::<()>()));
        sleep(Duration::from_millis(4500)).await;
        // All timers are late at once, as after a pause.
        let pause = Duration::from_mins(1);
        tokio::time::advance(pause).await;
        assert_eq!(limit.await.expect("it ends"), Err(Elapsed));
        let ran = begun.elapsed().saturating_sub(pause);
        assert!((LIMIT..LIMIT + STEP).contains(&ran), "{ran:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_is_skipped_does_not_count() {
        let mut limit = Box::pin(Countdown::new(STEP));
        for _ in 0..10 {
            assert!(timeout(STEP / 2, &mut limit).await.is_err());
            limit.as_mut().skip();
        }
        limit.await;
    }
}
