//! The health of the read side. Readiness, the reason of a refusal and the gauges are derived from it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use crate::backlog::Backlog;
use crate::damage::DamageLog;
use crate::error::ReadError;

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Counters that gets, lists and their readers share.
#[derive(Debug)]
pub(crate) struct Health {
    kinds: ByKind<KindHealth>,
    /// Readers that have a connection.
    connected: AtomicUsize,
    /// SELECTs of gets that succeeded.
    selects: AtomicU64,
    /// The connections of lists, which may be refused while those of gets work, and the other way round.
    pub(crate) lists: ListHealth,
    /// Damaged rows that gets met.
    pub(crate) damage: DamageLog,
    /// The last error of a reader.
    last_error: Mutex<String>,
}

/// Gets of different kinds share no SELECT, no queue and no room for replies. So single gets never wait for multi-gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GetKind {
    /// A get of one key.
    Single,
    /// A get of several keys.
    Multi,
}

/// One value for each kind of gets.
#[derive(Debug, Clone)]
pub(crate) struct ByKind<T> {
    pub(crate) single: T,
    pub(crate) multi: T,
}

/// The gets of one kind: those that wait, and the replies that are not written to their clients yet.
#[derive(Debug)]
pub(crate) struct KindHealth {
    /// Keys in the queue.
    waiting: AtomicUsize,
    pub(crate) backlog: Arc<Backlog>,
}

/// Whether the database answers lists.
#[derive(Debug, Default)]
pub(crate) struct ListHealth {
    /// SELECTs that succeeded.
    selects: AtomicU64,
    /// Whether the last attempt failed.
    is_failing: AtomicBool,
}

/// Failures in a row on one connection.
#[derive(Debug, Default)]
pub(crate) struct Failures(u32);

impl Health {
    pub(crate) fn new(backlog_bytes_max: usize) -> Self {
        Self {
            kinds: ByKind {
                single: KindHealth::new(backlog_bytes_max),
                multi: KindHealth::new(backlog_bytes_max),
            },
            connected: AtomicUsize::new(0),
            selects: AtomicU64::new(0),
            lists: ListHealth::default(),
            damage: DamageLog::new("get"),
            last_error: Mutex::new("not tried yet".into()),
        }
    }

    /// The gets of one kind.
    pub(crate) fn of(&self, kind: GetKind) -> &KindHealth {
        self.kinds.of(kind)
    }

    /// Keys in the queues of gets.
    pub(crate) fn waiting(&self) -> usize {
        [&self.kinds.single, &self.kinds.multi].map(|kind| kind.waiting.load(Ordering::Relaxed)).iter().sum()
    }

    /// Bytes of replies to gets that are not written to their clients yet.
    pub(crate) fn unread(&self) -> usize {
        self.kinds.single.backlog.bytes() + self.kinds.multi.backlog.bytes()
    }

    /// Counts `keys` that enter the queue of a kind of gets. An error if more than `keys_max` would be in it.
    pub(crate) fn enqueue(&self, kind: GetKind, keys: usize, keys_max: usize) -> Result<(), ReadError> {
        let gets = self.of(kind);
        let waiting = gets.waiting.fetch_add(keys, Ordering::Relaxed);
        if waiting + keys > keys_max {
            gets.dequeue(keys);
            return Err(self.full(ReadError::TooManyGets));
        }
        Ok(())
    }

    /// Readers that have a connection.
    pub(crate) fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }

    fn is_connected(&self) -> bool {
        self.connected() > 0
    }

    /// Whether gets can be answered; the error says why not.
    pub(crate) fn ready(&self) -> Result<(), String> {
        if self.is_connected() {
            return Ok(());
        }
        let last_error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        Err(format!("no connection to the database: {last_error}"))
    }

    /// SELECTs of gets that succeeded so far.
    pub(crate) fn selects(&self) -> u64 {
        self.selects.load(Ordering::Relaxed)
    }

    /// Why a queue is full: `overloaded`, or the database is unreachable.
    pub(crate) fn full(&self, overloaded: ReadError) -> ReadError {
        if self.is_connected() { overloaded } else { ReadError::Unavailable }
    }

    /// Why a get missed its deadline: `overloaded`, or the database is unreachable. `selects` is the count of SELECTs when
    /// the get arrived.
    pub(crate) fn late(&self, selects: u64, overloaded: ReadError) -> ReadError {
        let works = self.selects() != selects;
        if works { self.full(overloaded) } else { ReadError::Unavailable }
    }

    /// Why the queue of lists is full: `overloaded`, or the database is unreachable or refuses lists.
    pub(crate) fn full_of_lists(&self) -> ReadError {
        let is_failing = self.lists.is_failing.load(Ordering::Relaxed);
        if is_failing { ReadError::Unavailable } else { self.full(ReadError::TooManyLists) }
    }

    /// Why a list missed its deadline. `selects` is the count of SELECTs of lists when the list arrived.
    pub(crate) fn late_list(&self, selects: u64) -> ReadError {
        let works = self.lists.selects() != selects;
        if works { self.full_of_lists() } else { ReadError::Unavailable }
    }

    /// Counts a SELECT of gets that succeeded.
    pub(crate) fn selected(&self) {
        self.selects.fetch_add(1, Ordering::Relaxed);
    }

    /// Remembers the error of a reader.
    pub(crate) fn record_error(&self, why: String) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Counts a connection for as long as the guard lives.
    pub(crate) fn connection(self: &Arc<Self>) -> impl Drop + use<> {
        struct Connected(Arc<Health>);
        impl Drop for Connected {
            fn drop(&mut self) {
                self.0.connected.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.connected.fetch_add(1, Ordering::Relaxed);
        Connected(Arc::clone(self))
    }
}

impl GetKind {
    /// The kind of a get of `keys` keys.
    pub(crate) fn of(keys: usize) -> Self {
        if keys == 1 { Self::Single } else { Self::Multi }
    }
}

impl<T> ByKind<T> {
    pub(crate) fn of(&self, kind: GetKind) -> &T {
        match kind {
            GetKind::Single => &self.single,
            GetKind::Multi => &self.multi,
        }
    }

    pub(crate) fn of_mut(&mut self, kind: GetKind) -> &mut T {
        match kind {
            GetKind::Single => &mut self.single,
            GetKind::Multi => &mut self.multi,
        }
    }
}

impl KindHealth {
    fn new(backlog_bytes_max: usize) -> Self {
        Self { waiting: AtomicUsize::new(0), backlog: Backlog::new(backlog_bytes_max) }
    }

    /// Counts `keys` that are given back to the queue. They were let in before, so no limit applies.
    pub(crate) fn requeue(&self, keys: usize) {
        self.waiting.fetch_add(keys, Ordering::Relaxed);
    }

    /// Counts `keys` that leave the queue.
    pub(crate) fn dequeue(&self, keys: usize) {
        self.waiting.fetch_sub(keys, Ordering::Relaxed);
    }
}

impl ListHealth {
    /// SELECTs that succeeded so far.
    pub(crate) fn selects(&self) -> u64 {
        self.selects.load(Ordering::Relaxed)
    }

    /// Counts a SELECT that succeeded.
    pub(crate) fn selected(&self) {
        self.selects.fetch_add(1, Ordering::Relaxed);
        self.is_failing.store(false, Ordering::Relaxed);
    }

    /// An attempt to read a page failed.
    pub(crate) fn failed(&self) {
        self.is_failing.store(true, Ordering::Relaxed);
    }
}

impl Failures {
    /// Waits before the next attempt. A lost connection is opened again at once; after that the pause doubles.
    pub(crate) async fn pause(&self) {
        sleep(backoff(self.0)).await;
    }

    /// Counts a failure.
    pub(crate) fn add(&mut self) {
        self.0 = self.0.saturating_add(1);
    }

    /// An attempt succeeded.
    pub(crate) fn clear(&mut self) {
        self.0 = 0;
    }
}

fn backoff(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => BACKOFF_MIN.saturating_mul(1 << (more - 2).min(10)).min(BACKOFF_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_a_second() {
        let millis = [0, 1, 2, 3, 4, 7, 40, u32::MAX].map(|failures| backoff(failures).as_millis());
        assert_eq!(millis, [0, 0, 50, 100, 200, 1000, 1000, 1000]);
    }
}
