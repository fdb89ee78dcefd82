//! How many bytes of found values wait to be written to clients, so that no more are fetched meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

/// The bytes that are charged at the moment, and how many may be before readers hold back.
#[derive(Debug)]
pub(crate) struct Backlog {
    charged: AtomicUsize,
    bytes_max: usize,
    /// Woken when `charged` falls to `bytes_max` or below.
    room: Notify,
    /// What a key brings: of the largest lately, forgotten slowly.
    bytes_per_key: AtomicUsize,
}

/// A share of the backlog, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    backlog: Arc<Backlog>,
    bytes: usize,
    keys: usize,
}

impl Backlog {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        let (charged, bytes_per_key) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { charged, bytes_max, room: Notify::new(), bytes_per_key })
    }

    /// Charges the `bytes` of one key's value, however many there are already: they are in memory.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        self.charged.fetch_add(bytes, Ordering::SeqCst);
        self.weigh(bytes);
        Charge { backlog: Arc::clone(self), bytes, keys: 1 }
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

    /// Waits until the backlog is not over its limit. May be dropped at any time.
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
}

impl Charge {
    /// One charge for both.
    pub(crate) fn join(mut self, mut other: Self) -> Self {
        self.bytes += std::mem::take(&mut other.bytes);
        self.keys += other.keys;
        self
    }

    /// Makes this charge the weight of `body`, to be given back when the last part of `body` is dropped.
    pub(crate) fn attach(mut self, body: Vec<u8>) -> Bytes {
        let more = body.len().saturating_sub(self.bytes);
        self.backlog.charged.fetch_add(more, Ordering::SeqCst);
        self.bytes += more;
        // Escaped, a value can be six times as long.
        self.backlog.weigh(body.len() / self.keys);
        Bytes::from_owner(Charged { body, _charge: self })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
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
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_full_backlog_has_room_again_once_the_bodies_are_gone() {
        let backlog = Backlog::new(100);
        backlog.room().await;
        let first = backlog.charge(60).attach(vec![b'x'; 80]);
        assert_eq!((&first[..], backlog.bytes()), (&[b'x'; 80][..], 80));
        let second = backlog.charge(40);
        assert!(backlog.is_full());

        let mut room = std::pin::pin!(backlog.room());
        assert!(timeout(Duration::from_millis(1), &mut room).await.is_err(), "there is no room yet");
        drop(first.slice(..10));
        assert_eq!(backlog.bytes(), 120, "a part of a body gives nothing back");
        drop(first);
        timeout(Duration::from_secs(5), room).await.expect("who waits is woken");
        drop(second);
        assert_eq!(backlog.bytes(), 0);
    }

    #[test]
    fn heavy_values_make_selects_small_for_a_while() {
        let backlog = Backlog::new(64 << 20);
        assert!(backlog.keys_advised() > 128);
        drop(backlog.charge(1 << 20));
        assert_eq!(backlog.keys_advised(), 16);
        let both = backlog.charge(1 << 20).join(backlog.charge(1 << 20));
        drop(both.attach(vec![0; 12 << 20]));
        assert_eq!(backlog.keys_advised(), 2, "what counts is what is written");
        let light = (1..).take_while(|_| {
            drop(backlog.charge(100));
            backlog.keys_advised() < 128
        });
        assert!((20..100).contains(&light.count()));
    }
}
