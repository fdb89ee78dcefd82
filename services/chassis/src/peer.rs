//! One client's connection, as those who serve it see it: how often it may ask, how it keeps up with what it is sent.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

use crate::access::rate::Rate;
use crate::problem::Problem;

/// Lives as long as the connection, upgraded or not, or as somebody who holds something for it.
#[derive(Debug)]
pub struct Line {
    rate: Option<Rate>,
    opened: Instant,
    /// Microseconds after `opened`, and one; 0 while no write waits for the client to read.
    stalled: AtomicU64,
    given_up: AtomicBool,
    /// Of the connection, while a write waits.
    writer: AtomicWaker,
}

impl Line {
    /// A connection that may ask for so many ops in a second; 0 = as many as it can.
    #[must_use]
    pub fn new(ops_per_second: u32) -> Self {
        Self {
            rate: Rate::new(ops_per_second),
            opened: Instant::now(),
            stalled: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
            writer: AtomicWaker::new(),
        }
    }

    /// Counts `ops` against the rate of the connection.
    ///
    /// # Errors
    /// `slow_down`.
    pub fn spend(&self, ops: usize) -> Result<(), Problem> {
        self.rate.as_ref().map_or(Ok(()), |rate| rate.spend(ops, "connection"))
    }

    /// For how long nothing could be written because the client does not read; none while it does.
    #[must_use]
    pub fn stalled(&self) -> Option<Duration> {
        let since = self.stalled.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.opened.elapsed().saturating_sub(Duration::from_micros(since)))
    }

    /// Ends the connection, because what it does not read is in the way of others.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        self.writer.wake();
    }

    /// Whether that was said.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// A write begins to wait.
    pub(crate) fn stall(&self) {
        let since = u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX - 1);
        self.stalled.store(since + 1, Ordering::Relaxed);
    }

    /// A write still waits: `waker` is woken when it is to be given up.
    pub(crate) fn waits(&self, waker: &Waker) {
        self.writer.register(waker);
    }

    /// The write has gone on.
    pub(crate) fn proceed(&self) {
        self.stalled.store(0, Ordering::Relaxed);
    }
}
