//! The backlog: bounds the bytes of replies that are not written to their clients yet.
//!
//! Small replies are only counted, as long as there is room for them. A large reply must reserve its bytes, and so must a small one
//! that finds no room among the small ones. If there is no room, the values of the reply are dropped, and read again when there is
//! room. Replies get room in the order of their queue. So a client that reads slowly delays only large replies. Clients that keep others
//! waiting for too long are reset.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chassis::peer::Peer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// A reply of more bytes is a large one. The kernel takes a small one at once.
pub(crate) const SMALL_BYTES_MAX: usize = 16 * 1024;

/// How long a client must have read nothing before it may be reset. A client that reads 64 kB/s makes progress sooner.
const STALLED_MIN: Duration = Duration::from_secs(1);

/// How long a large reply may be unread before its client may be reset. The default time limit of a request that waits for room is
/// longer: 10 s.
const UNREAD_MIN: Duration = Duration::from_secs(5);

/// How often slow clients are looked for while a reply waits for room.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// The bytes of unwritten replies, and their limit.
#[derive(Debug)]
pub(crate) struct Backlog {
    bytes_max: usize,
    /// Bytes of small replies.
    small: AtomicUsize,
    /// Bytes that large replies can still reserve.
    large: Arc<Semaphore>,
    /// Locked by the reply that waits for bytes and resets slow clients.
    front: tokio::sync::Mutex<()>,
    /// Bytes of the largest recent value; decays with each smaller one.
    bytes_per_key: AtomicUsize,
    /// The replies with reserved bytes, by number.
    unread: Mutex<BTreeMap<u64, UnreadReply>>,
}

/// A reply with reserved bytes that its client has not read to the end.
#[derive(Debug)]
struct UnreadReply {
    bytes: usize,
    since: Instant,
    peer: Arc<Peer>,
}

/// The refusal of a reply for which the backlog has no room. The values can be read again after `bytes` bytes are reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom {
    pub(crate) bytes: usize,
}

/// The share of one reply in the backlog. Dropping it gives the bytes back.
#[derive(Debug)]
pub(crate) struct Charge {
    backlog: Arc<Backlog>,
    bytes: usize,
    /// The bytes of a large reply, or of a small one without room among the small ones. Else they are counted in `small`.
    reserved: Option<OwnedSemaphorePermit>,
    /// The number of a reply with reserved bytes once it has a body.
    unread: Option<u64>,
}

impl Backlog {
    /// A backlog of at most `bytes_max` bytes of small replies, and as many of large ones. A reply that is larger than that is
    /// let in alone.
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        let bytes_max = bytes_max.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Arc::new(Self {
            bytes_max,
            small: AtomicUsize::new(0),
            large: Arc::new(Semaphore::new(bytes_max)),
            front: tokio::sync::Mutex::default(),
            bytes_per_key: AtomicUsize::new(0),
            unread: Mutex::default(),
        })
    }

    /// The charge of a reply that has no bytes yet.
    pub(crate) fn charge(self: &Arc<Self>) -> Charge {
        Charge { backlog: Arc::clone(self), bytes: 0, reserved: None, unread: None }
    }

    /// Waits until a reply of `bytes` has room, and resets the clients that take it up for too long. Dropping the future gives
    /// back its bytes and its place in the queue.
    pub(crate) async fn reserve(self: &Arc<Self>, bytes: usize) -> Charge {
        let permits = self.permits(bytes);
        let _front = self.front.lock().await;
        let mut room = std::pin::pin!(Arc::clone(&self.large).acquire_many_owned(permits));
        let reserved = loop {
            self.reset_the_slowest(bytes, Instant::now());
            // Not enough was given back. By now another client may be slow enough to be reset.
            if let Ok(reserved) = timeout(CHECK_INTERVAL, &mut room).await {
                break reserved.expect("the semaphore is never closed");
            }
        };
        let mut charge = self.charge();
        charge.reserved = Some(reserved);
        charge
    }

    /// The bytes that a large reply of `bytes` reserves. A reply larger than the whole backlog reserves the whole backlog.
    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.bytes_max)).expect("bytes_max fits u32")
    }

    /// The most keys that a SELECT should have, at least one: if its values are as large as recent ones, it brings at most a
    /// quarter of the limit.
    pub(crate) fn keys_advised(&self) -> usize {
        (self.bytes_max / 4 / self.bytes_per_key.load(Ordering::Relaxed).max(1)).max(1)
    }

    /// Notes a value of `bytes`.
    pub(crate) fn weigh(&self, bytes: usize) {
        let lately = self.bytes_per_key.load(Ordering::Relaxed);
        // Of two stores at the same time one is lost. That does no harm: the number is only advice.
        self.bytes_per_key.store(bytes.max(lately - lately.div_ceil(16)), Ordering::Relaxed);
    }

    /// Bytes of all replies that are not written yet.
    pub(crate) fn bytes(&self) -> usize {
        self.small.load(Ordering::SeqCst) + self.bytes_max - self.large.available_permits()
    }

    /// Resets as many clients as it takes to make room for `bytes`, in this order: those that read nothing for [`STALLED_MIN`],
    /// then those whose reply is unread for [`UNREAD_MIN`], the longest first.
    fn reset_the_slowest(&self, bytes: usize, now: Instant) {
        let unread = self.unread();
        // Computed from the unread replies, because the waiting reply has already taken its part of the free bytes.
        let all: usize = unread.values().map(|reply| reply.bytes).sum();
        let mut lacking = (all + bytes.min(self.bytes_max)).saturating_sub(self.bytes_max);
        let mut slow: Vec<_> =
            unread.values().filter_map(|reply| Some((reply.slowness(now)?, reply))).collect();
        if slow.iter().map(|(_, reply)| reply.bytes).sum::<usize>() < lacking {
            // Resetting them would not make enough room.
            return;
        }
        slow.sort_unstable_by_key(|(slowness, _)| Reverse(*slowness));
        for ((stalled, age), UnreadReply { bytes, peer, .. }) in slow {
            if lacking == 0 {
                return;
            }
            if !peer.is_reset() {
                tracing::debug!(?stalled, ?age, bytes, "a slow client is reset to make room for others");
                peer.reset();
            }
            lacking = lacking.saturating_sub(*bytes);
        }
    }

    fn add(&self, reply: UnreadReply) -> u64 {
        let mut unread = self.unread();
        let number = unread.last_key_value().map_or(0, |(last, _)| last + 1);
        unread.insert(number, reply);
        number
    }

    fn unread(&self) -> MutexGuard<'_, BTreeMap<u64, UnreadReply>> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts `bytes` of a small reply. False if there is no room for them.
    fn count(&self, bytes: usize) -> bool {
        let before = self.small.fetch_add(bytes, Ordering::SeqCst);
        let fits = before + bytes <= self.bytes_max;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.small.fetch_sub(bytes, Ordering::SeqCst);
    }
}

impl UnreadReply {
    /// How long the client has read nothing, if that is too long, and how old the reply is. `None` if the client is not slow.
    fn slowness(&self, now: Instant) -> Option<(Option<Duration>, Duration)> {
        let stalled = self.peer.stalled().filter(|stalled| *stalled >= STALLED_MIN);
        let age = now.saturating_duration_since(self.since);
        (stalled.is_some() || age >= UNREAD_MIN).then_some((stalled, age))
    }
}

impl Charge {
    /// Adds `bytes` to the reply. False if there is no room for them: then the reply must not be kept.
    #[must_use]
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let before = self.bytes;
        self.bytes += bytes;
        if self.reserved.is_none() && self.bytes <= SMALL_BYTES_MAX && self.backlog.count(bytes) {
            return true;
        }
        let reserved = self.reserved.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let reserved = u32::try_from(reserved).expect("there are no more permits than that");
        // A reply that was cleared may have reserved more than it needs.
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

    /// Whether its bytes are reserved: those of a large reply, or of a reply that had no room before.
    pub(crate) fn is_reserved(&self) -> bool {
        self.reserved.is_some()
    }

    /// Sets the bytes of the reply to zero. Reserved bytes stay reserved.
    pub(crate) fn clear(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if self.reserved.is_none() {
            self.backlog.give_back(bytes);
        }
    }

    /// Ties this charge to `body`, which is sent to `peer`. The bytes are given back when the last part of `body` is dropped.
    pub(crate) fn attach(mut self, body: Vec<u8>, peer: Option<&Arc<Peer>>) -> Bytes {
        if let (Some(reserved), Some(peer)) = (&self.reserved, peer) {
            let (bytes, since, peer) = (reserved.num_permits(), Instant::now(), Arc::clone(peer));
            self.unread = Some(self.backlog.add(UnreadReply { bytes, since, peer }));
        }
        Bytes::from_owner(Charged { body, _charge: self })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(number) = self.unread {
            self.backlog.unread().remove(&number);
        }
        self.clear();
    }
}

/// A body and its charge, which live equally long.
struct Charged {
    body: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// The charge of a reply of `bytes`, for which there is room.
#[cfg(test)]
pub(crate) fn charged(backlog: &Arc<Backlog>, bytes: usize) -> Charge {
    let mut charge = backlog.charge();
    assert!(charge.grow(bytes), "there is room");
    charge
}

#[cfg(test)]
mod tests;
