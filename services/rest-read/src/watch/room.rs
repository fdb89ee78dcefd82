//! The memory for events: counts the bytes of every event until its last copy is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// The most bytes of events in memory.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Counts the bytes of events.
#[derive(Debug, Clone, Default)]
pub(crate) struct Room(Arc<AtomicUsize>);

/// An event that counts.
struct Counted {
    event: Vec<u8>,
    room: Room,
}

impl Room {
    /// Whether there is no room for more events.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes() >= BYTES_MAX
    }

    /// The bytes of events in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts `event` until its last copy is dropped.
    pub(crate) fn count(&self, event: Vec<u8>) -> Bytes {
        self.0.fetch_add(event.len(), Ordering::Relaxed);
        Bytes::from_owner(Counted { event, room: self.clone() })
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.event
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.room.0.fetch_sub(self.event.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_counts_until_its_last_copy_is_gone() {
        let room = Room::default();
        let event = room.count(vec![1; 100]);
        let mut copy = event.clone();
        drop(event);
        drop(copy.split_to(99));
        assert_eq!((room.bytes(), room.is_full()), (100, false));
        drop(copy);
        assert_eq!(room.bytes(), 0);
        let _full = room.count(vec![1; BYTES_MAX]);
        assert!(room.is_full());
    }
}
