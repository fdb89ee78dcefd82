//! The state of one client's connection that the requests on it share: its rate limit, and whether the client reads.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

use crate::access::rate::Rate;
use crate::problem::Problem;

/// One client's connection, upgraded or not.
#[derive(Debug)]
pub struct Peer {
    address: IpAddr,
    rate: Option<Rate>,
    opened: Instant,
    /// When the write that waits began to wait, in microseconds after `opened`, plus one. 0 while no write waits.
    stalled: AtomicU64,
    reset: AtomicBool,
    /// How long a write may wait, in microseconds. 0 while the limit of the port holds.
    write_timeout: AtomicU64,
    /// The task that drives the connection, while a write waits.
    writer: AtomicWaker,
}

impl Peer {
    /// A connection from `address` that may ask for `ops_per_second` operations; 0 = without limit.
    #[must_use]
    pub fn new(address: IpAddr, ops_per_second: u32) -> Self {
        Self {
            address,
            rate: Rate::new(ops_per_second),
            opened: Instant::now(),
            stalled: AtomicU64::new(0),
            reset: AtomicBool::new(false),
            write_timeout: AtomicU64::new(0),
            writer: AtomicWaker::new(),
        }
    }

    /// The address of the other end of the connection: the client's, or that of a gateway before this process.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Charges `ops` operations to the rate limit of the connection.
    ///
    /// # Errors
    /// `slow_down`.
    pub fn spend(&self, ops: usize) -> Result<(), Problem> {
        self.rate.as_ref().map_or(Ok(()), |rate| rate.spend(ops, "connection"))
    }

    /// How long a write has waited for the client to read; `None` if no write waits.
    #[must_use]
    pub fn stalled(&self) -> Option<Duration> {
        let since = self.stalled.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.opened.elapsed().saturating_sub(Duration::from_micros(since)))
    }

    /// Resets the connection at its next write. The client sees an error, never a response that looks complete.
    pub fn reset(&self) {
        self.reset.store(true, Ordering::Release);
        self.writer.wake();
    }

    /// Whether [`Peer::reset`] was called.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.reset.load(Ordering::Acquire)
    }

    /// From now on a write may wait this long for the client to read. A write that waits already keeps its limit. The limit of the port
    /// comes back with the next request on the connection.
    pub fn set_write_timeout(&self, limit: Duration) {
        // 0 would mean the limit of the port.
        let limit = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX).max(1);
        self.write_timeout.store(limit, Ordering::Relaxed);
    }

    /// The limit that was set for the request under way; `None` if the limit of the port holds.
    pub(crate) fn write_timeout(&self) -> Option<Duration> {
        let limit = self.write_timeout.load(Ordering::Relaxed);
        (limit > 0).then(|| Duration::from_micros(limit))
    }

    /// A request begins: the limit of the port holds again.
    pub(crate) fn begin_request(&self) {
        self.write_timeout.store(0, Ordering::Relaxed);
    }

    /// A write begins to wait for the client.
    pub(crate) fn stall(&self) {
        let since = u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX - 1);
        self.stalled.store(since + 1, Ordering::Relaxed);
    }

    /// A write still waits: [`Peer::reset`] wakes `waker`.
    pub(crate) fn waits(&self, waker: &Waker) {
        self.writer.register(waker);
    }

    /// The write that waited is done.
    pub(crate) fn proceed(&self) {
        self.stalled.store(0, Ordering::Relaxed);
    }
}
