//! How many bytes of found values wait to be written to clients: no more are fetched meanwhile, and the connections of
//! those who do not read are given up.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chassis::line::Line;
use tokio::sync::Notify;
use tokio::time::timeout;

/// A body of fewer bytes is not worth giving a connection up, nor the lock that it takes to note it.
const HELD_BYTES_MIN: usize = 16 * 1024;

/// How long nothing could be sent to a client before it can be given up for others. One that reads 64 kB/s moves within less.
const STALLED_MIN: Duration = Duration::from_secs(1);

/// How often it is looked who reads nothing, while there is no room.
const LOOK: Duration = Duration::from_millis(50);

/// The bytes that are charged at the moment, and how many may be before readers hold back.
#[derive(Debug)]
pub(crate) struct Backlog {
    charged: AtomicUsize,
    bytes_max: usize,
    /// Woken when `charged` falls to `bytes_max` or below.
    room: Notify,
    /// What a key brings: of the largest lately, forgotten slowly.
    bytes_per_key: AtomicUsize,
    /// The large bodies, by number.
    held: Mutex<BTreeMap<u64, Held>>,
}

/// A body that waits for its client.
#[derive(Debug)]
struct Held {
    bytes: usize,
    line: Arc<Line>,
}

/// A share of the backlog, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    backlog: Arc<Backlog>,
    bytes: usize,
    keys: usize,
    /// Its number among those held.
    held: Option<u64>,
}

impl Backlog {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        let (charged, bytes_per_key) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { charged, bytes_max, room: Notify::new(), bytes_per_key, held: Mutex::default() })
    }

    /// Charges the `bytes` of one key's value, however many there are already: they are in memory.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        self.charged.fetch_add(bytes, Ordering::SeqCst);
        self.weigh(bytes);
        Charge { backlog: Arc::clone(self), bytes, keys: 1, held: None }
    }

    /// The most keys a SELECT should have: none knows beforehand what it brings, but with keys as heavy as those
    /// lately it is to bring no more than a quarter of what may wait. At least one.
    pub(crate) fn keys_advised(&self) -> usize {
        (self.bytes_max / 4 / self.bytes_per_key.load(Ordering::Relaxed).max(1)).max(1)
    }

    fn weigh(&self, bytes: usize) {
        let lately = self.bytes_per_key.load(Ordering::Relaxed);
        // Two at the same time may overwrite each other: it is advice.
        self.bytes_per_key.store(bytes.max(lately - lately.div_ceil(16)), Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.charged.load(Ordering::SeqCst)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes() > self.bytes_max
    }

    /// Waits until the backlog is not over its limit, and gives up the clients that keep it there. May be dropped at any time.
    pub(crate) async fn room(&self) {
        while self.is_full() {
            let mut given_back = std::pin::pin!(self.room.notified());
            given_back.as_mut().enable();
            // Looked at again, now that nothing given back can go unnoticed.
            if self.is_full() {
                self.give_up_the_slowest();
                // Nothing was given back: somebody may have read nothing for long enough by now.
                let _ = timeout(LOOK, given_back).await;
            }
        }
    }

    /// Gives up as many clients as it takes to have room, first those who have read nothing for the longest time.
    fn give_up_the_slowest(&self) {
        let held = self.held();
        let mut over = self.bytes().saturating_sub(self.bytes_max);
        let mut stalled: Vec<_> =
            held.values().filter_map(|held| Some((held.line.stalled()?, held))).collect();
        stalled.retain(|(stalled, _)| *stalled >= STALLED_MIN);
        if stalled.iter().map(|(_, held)| held.bytes).sum::<usize>() < over {
            // It would cost them their answers and make no room.
            return;
        }
        stalled.sort_unstable_by_key(|(stalled, _)| Reverse(*stalled));
        for (stalled, Held { bytes, line }) in stalled {
            if over == 0 {
                return;
            }
            if !line.is_given_up() {
                tracing::debug!(?stalled, bytes, "a client that does not read is given up for others");
                line.give_up();
            }
            over = over.saturating_sub(*bytes);
        }
    }

    fn hold(&self, held: Held) -> u64 {
        let mut all = self.held();
        let number = all.last_key_value().map_or(0, |(last, _)| last + 1);
        all.insert(number, held);
        number
    }

    fn held(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Charge {
    /// One charge for both.
    pub(crate) fn join(mut self, mut other: Self) -> Self {
        self.bytes += std::mem::take(&mut other.bytes);
        self.keys += other.keys;
        self
    }

    /// Makes this charge the weight of `body`, to be given back when the last part of `body` is dropped. `line` is where it
    /// goes.
    pub(crate) fn attach(mut self, body: Vec<u8>, line: Option<&Arc<Line>>) -> Bytes {
        let more = body.len().saturating_sub(self.bytes);
        self.backlog.charged.fetch_add(more, Ordering::SeqCst);
        self.bytes += more;
        // Escaped, a value can be six times as long.
        self.backlog.weigh(body.len() / self.keys);
        if let Some(line) = line.filter(|_| self.bytes >= HELD_BYTES_MIN) {
            self.held = Some(self.backlog.hold(Held { bytes: self.bytes, line: Arc::clone(line) }));
        }
        Bytes::from_owner(Charged { body, _charge: self })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(number) = self.held {
            self.backlog.held().remove(&number);
        }
        let before = self.backlog.charged.fetch_sub(self.bytes, Ordering::SeqCst);
        let limit = self.backlog.bytes_max;
        if before > limit && before - self.bytes <= limit {
            self.backlog.room.notify_waiters();
        }
    }
}

/// A body and the charge that lasts as long as it.
struct Charged {
    body: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
#[path = "backlog_tests.rs"]
mod tests;
