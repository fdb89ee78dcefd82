//! How many bytes of answers wait to be written to clients: no more are fetched meanwhile, and the connections of those who
//! keep others waiting are given up.
//!
//! Small answers are counted and wait for nobody, unless there are very many of them. A large answer has to reserve its bytes:
//! one that finds no room is read again once it has it, first come, first served. So a client that reads slowly what it
//! asked for holds up large answers at most.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chassis::peer::Peer;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// An answer of more bytes is a large one. The kernel takes one of fewer at once.
pub(crate) const SMALL_BYTES_MAX: usize = 16 * 1024;

/// How long nothing could be sent to a client before it can be given up for others. One that reads 64 kB/s moves within less.
const STALLED_MIN: Duration = Duration::from_secs(1);

/// How long a client has a large answer to itself. Whoever waits for room has 10 s, unless configured.
const KEPT_MIN: Duration = Duration::from_secs(5);

/// How often it is looked who keeps others waiting, while there is no room.
const LOOK: Duration = Duration::from_millis(50);

/// The bytes that are charged at the moment, and how many may be.
#[derive(Debug)]
pub(crate) struct Backlog {
    bytes_max: usize,
    /// Bytes of small answers.
    small: AtomicUsize,
    /// Woken when `small` falls to `bytes_max` or below.
    room: Notify,
    /// Bytes that large answers can still reserve.
    large: Arc<Semaphore>,
    /// Held by who waits for them and looks who is in the way.
    front: tokio::sync::Mutex<()>,
    /// What a key brings: of the largest lately, forgotten slowly.
    bytes_per_key: AtomicUsize,
    /// The large bodies, by number.
    held: Mutex<BTreeMap<u64, Held>>,
}

/// A large body that waits for its client.
#[derive(Debug)]
struct Held {
    bytes: usize,
    since: Instant,
    peer: Arc<Peer>,
}

/// An answer had no room: it can be read again once so many bytes are reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom {
    pub(crate) bytes: usize,
}

/// What one answer takes of a backlog, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    backlog: Arc<Backlog>,
    bytes: usize,
    /// For a large answer; a small one is counted in `small`.
    reserved: Option<OwnedSemaphorePermit>,
    /// Its number among those held.
    held: Option<u64>,
}

impl Backlog {
    /// A backlog of at most `bytes_max` bytes of small answers, and as many of large ones. A single larger one is let in alone.
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        let bytes_max = bytes_max.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Arc::new(Self {
            bytes_max,
            small: AtomicUsize::new(0),
            room: Notify::new(),
            large: Arc::new(Semaphore::new(bytes_max)),
            front: tokio::sync::Mutex::default(),
            bytes_per_key: AtomicUsize::new(0),
            held: Mutex::default(),
        })
    }

    /// The charge of an answer that has nothing yet.
    pub(crate) fn charge(self: &Arc<Self>) -> Charge {
        Charge { backlog: Arc::clone(self), bytes: 0, reserved: None, held: None }
    }

    /// Waits until an answer of `bytes` has room, and gives up the clients that are in the way. Dropped, it gives back what it
    /// has, and its place.
    pub(crate) async fn reserve(self: &Arc<Self>, bytes: usize) -> Charge {
        let permits = self.permits(bytes);
        let _front = self.front.lock().await;
        let mut room = std::pin::pin!(Arc::clone(&self.large).acquire_many_owned(permits));
        let reserved = loop {
            self.give_up_the_slowest(bytes, Instant::now());
            // Nothing was given back: somebody may have kept others waiting for long enough by now.
            if let Ok(reserved) = timeout(LOOK, &mut room).await {
                break reserved.expect("it is never closed");
            }
        };
        let mut charge = self.charge();
        charge.reserved = Some(reserved);
        charge
    }

    /// What a large answer of `bytes` reserves. What is larger than all there is takes all there is.
    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.bytes_max)).expect("limited when it was made")
    }

    /// The most keys a SELECT should have: none knows beforehand what it brings, but with keys as heavy as those
    /// lately it is to bring no more than a quarter of what may wait. At least one.
    pub(crate) fn keys_advised(&self) -> usize {
        (self.bytes_max / 4 / self.bytes_per_key.load(Ordering::Relaxed).max(1)).max(1)
    }

    /// A key has brought `bytes`.
    pub(crate) fn weigh(&self, bytes: usize) {
        let lately = self.bytes_per_key.load(Ordering::Relaxed);
        // Two at the same time may overwrite each other: it is advice.
        self.bytes_per_key.store(bytes.max(lately - lately.div_ceil(16)), Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.small.load(Ordering::SeqCst) + self.bytes_max - self.large.available_permits()
    }

    /// Whether even small answers have to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.small.load(Ordering::SeqCst) > self.bytes_max
    }

    /// Waits until there are not too many small answers. May be dropped at any time.
    pub(crate) async fn room(&self) {
        while self.is_full() {
            let mut given_back = std::pin::pin!(self.room.notified());
            given_back.as_mut().enable();
            // Looked at again, now that nothing given back can go unnoticed.
            if self.is_full() {
                given_back.await;
            }
        }
    }

    /// Gives up as many clients as it takes to have room for `bytes`: first those who have read nothing for the longest time,
    /// then those who have had their answer for the longest time.
    fn give_up_the_slowest(&self, bytes: usize, now: Instant) {
        let held = self.held();
        // What waits for a client, and not what is free: of that the one in front has taken its part already.
        let all: usize = held.values().map(|held| held.bytes).sum();
        let mut lacking = (all + bytes.min(self.bytes_max)).saturating_sub(self.bytes_max);
        let mut slow: Vec<_> = held.values().filter_map(|held| Some((held.slowness(now)?, held))).collect();
        if slow.iter().map(|(_, held)| held.bytes).sum::<usize>() < lacking {
            // It would cost them their answers and make no room.
            return;
        }
        slow.sort_unstable_by_key(|(slowness, _)| Reverse(*slowness));
        for ((stalled, kept), Held { bytes, peer, .. }) in slow {
            if lacking == 0 {
                return;
            }
            if !peer.is_reset() {
                tracing::debug!(?stalled, ?kept, bytes, "a client that reads slowly is given up for others");
                peer.reset();
            }
            lacking = lacking.saturating_sub(*bytes);
        }
    }

    fn hold(&self, held: Held) -> u64 {
        let mut all = self.held();
        let number = all.last_key_value().map_or(0, |(last, _)| last + 1);
        all.insert(number, held);
        number
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<u64, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, bytes: usize) {
        let before = self.small.fetch_sub(bytes, Ordering::SeqCst);
        if before > self.bytes_max && before - bytes <= self.bytes_max {
            self.room.notify_waiters();
        }
    }
}

impl Held {
    /// For how long its client has read nothing, and for how long it has had its answer; none if neither is too long.
    fn slowness(&self, now: Instant) -> Option<(Option<Duration>, Duration)> {
        let stalled = self.peer.stalled().filter(|stalled| *stalled >= STALLED_MIN);
        let kept = now.saturating_duration_since(self.since);
        (stalled.is_some() || kept >= KEPT_MIN).then_some((stalled, kept))
    }
}

impl Charge {
    /// Adds `bytes` to the answer; whether there is room for them. Without, the answer must not be kept.
    #[must_use]
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let before = self.bytes;
        self.bytes += bytes;
        if self.reserved.is_none() && self.bytes <= SMALL_BYTES_MAX {
            self.backlog.small.fetch_add(bytes, Ordering::SeqCst);
            return true;
        }
        let reserved = self.reserved.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let reserved = u32::try_from(reserved).expect("there are no more permits than that");
        // An answer that began anew may have more than it needs.
        let lacking = self.backlog.permits(self.bytes).saturating_sub(reserved);
        let Ok(more) = Arc::clone(&self.backlog.large).try_acquire_many_owned(lacking) else {
            self.bytes = before;
            return false;
        };
        match &mut self.reserved {
            Some(reserved) => reserved.merge(more),
            none => {
                self.backlog.give_back(before);
                *none = Some(more);
            }
        }
        true
    }

    /// The answer begins anew: what it has reserved it keeps.
    pub(crate) fn clear(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if self.reserved.is_none() {
            self.backlog.give_back(bytes);
        }
    }

    /// Makes this charge the weight of `body`, to be given back when the last part of `body` is dropped. `peer` is where it
    /// goes.
    pub(crate) fn attach(mut self, body: Vec<u8>, peer: Option<&Arc<Peer>>) -> Bytes {
        if let (Some(reserved), Some(peer)) = (&self.reserved, peer) {
            let held = Held { bytes: reserved.num_permits(), since: Instant::now(), peer: Arc::clone(peer) };
            self.held = Some(self.backlog.hold(held));
        }
        Bytes::from_owner(Charged { body, _charge: self })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(number) = self.held {
            self.backlog.held().remove(&number);
        }
        self.clear();
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

/// An answer of `bytes`, for which there is room.
#[cfg(test)]
pub(crate) fn charged(backlog: &Arc<Backlog>, bytes: usize) -> Charge {
    let mut charge = backlog.charge();
    assert!(charge.grow(bytes), "there is room");
    charge
}

#[cfg(test)]
mod tests;
