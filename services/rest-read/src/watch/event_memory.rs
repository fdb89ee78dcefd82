//! The memory of events: counts the bytes of every event until its last copy is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// While there are this many bytes of events in memory, a round makes no more.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Counts the bytes of the events that rounds have made. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventMemory(Arc<AtomicUsize>);

/// An event whose bytes are counted.
struct Counted {
    event: Vec<u8>,
    memory: EventMemory,
}

impl EventMemory {
    /// Whether no more events may be made.
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
        Bytes::from_owner(Counted { event, memory: self.clone() })
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.event
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.memory.0.fetch_sub(self.event.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_counts_until_its_last_copy_is_gone() {
        let memory = EventMemory::default();
        let event = memory.count(vec![1; 100]);
        let mut copy = event.clone();
        drop(event);
        drop(copy.split_to(99));
        assert_eq!((memory.bytes(), memory.is_full()), (100, false));
        drop(copy);
        assert_eq!(memory.bytes(), 0);
        let _full = memory.count(vec![1; BYTES_MAX]);
        assert!(memory.is_full());
    }
}
