//! Which connection holds which lock, and which waits for which.

use std::collections::BTreeMap;

use crate::entry::Key;

/// What can be locked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lock {
    /// The whole store, as in an engine with one writer at a time.
    Store,
    /// The row of a lane.
    Fence(u64),
    /// The row of a key, or the gap where it would be.
    Row(Key),
}

/// The number of a connection.
pub(crate) type ConnectionId = u64;

/// All locks that are held or waited for.
#[derive(Debug, Default)]
pub(super) struct Locks {
    holders: BTreeMap<Lock, ConnectionId>,
    waits: BTreeMap<ConnectionId, Lock>,
}

/// The result of an attempt to take a lock.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LockResult {
    Taken,
    /// Another connection holds it, and does not wait for this one.
    Wait,
    /// The connection that holds it waits for this one.
    Deadlock,
}

impl Locks {
    pub(super) fn take(&mut self, connection: ConnectionId, lock: &Lock) -> LockResult {
        match self.holders.get(lock) {
            None => {
                self.holders.insert(lock.clone(), connection);
            }
            Some(holder) if *holder == connection => {}
            Some(holder) if self.waits_for(*holder, connection) => return LockResult::Deadlock,
            Some(_) => {
                self.waits.insert(connection, lock.clone());
                return LockResult::Wait;
            }
        }
        self.waits.remove(&connection);
        LockResult::Taken
    }

    /// Takes a lock if nobody else has it. Returns whether it did.
    pub(super) fn take_at_once(&mut self, connection: ConnectionId, lock: &Lock) -> bool {
        *self.holders.entry(lock.clone()).or_insert(connection) == connection
    }

    /// Whether `waiting` waits for `holder`, directly or through other connections.
    fn waits_for(&self, mut waiting: ConnectionId, holder: ConnectionId) -> bool {
        while let Some(next) = self.waits.get(&waiting).and_then(|lock| self.holders.get(lock)) {
            if *next == holder {
                return true;
            }
            waiting = *next;
        }
        false
    }

    pub(super) fn is_held(&self, lock: &Lock) -> bool {
        self.holders.contains_key(lock)
    }

    pub(super) fn give_up(&mut self, connection: ConnectionId) {
        self.waits.remove(&connection);
    }

    pub(super) fn release(&mut self, connection: ConnectionId, lock: &Lock) {
        if self.holders.get(lock) == Some(&connection) {
            self.holders.remove(lock);
        }
    }

    pub(super) fn release_all(&mut self, connection: ConnectionId) {
        self.waits.remove(&connection);
        self.holders.retain(|_, holder| *holder != connection);
    }
}
