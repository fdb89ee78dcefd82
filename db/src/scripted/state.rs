//! The state of a server, and the effect of each statement on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::RngExt as _;
use tokio::time::Instant;

use super::locks::{ConnectionId, Lock, Locks};
use super::script::{RowFault, Sabotage, Script};
use super::statement::{LaneStatement, StatementResult};
use super::tables::{FenceRow, OpenTransaction, Tables};
use crate::engine::FoundLocks;
use crate::entry::{Key, Rev};
use crate::error::Error;
use crate::plan::run::CurrentRow;
use crate::sweeper::hint::ripe;

/// The state of a server.
#[derive(Debug)]
pub(crate) struct ServerState {
    pub(crate) tables: Tables,
    pub(super) script: Script,
    pub(super) locks: Locks,
    pub(super) is_one_writer: bool,
    pub(super) sabotage: Sabotage,
    connections: BTreeMap<ConnectionId, ServerConnection>,
    next: ConnectionId,
    /// The number of this start of the server.
    pub(super) generation: u64,
    /// Until then, new connections are refused.
    pub(crate) down_until: Instant,
    /// Whether new connections are told that they cannot write.
    pub(crate) refuses_writers: bool,
    /// Until then, no statement runs.
    pub(super) stalled_until: Instant,
    /// The sum of all clock steps, in microseconds.
    pub(super) clock_steps: i64,
    /// For each lane, the last seq whose COMMIT was confirmed.
    pub(super) confirmed: BTreeMap<u64, u64>,
    /// Keys that no statement can write.
    pub(crate) unwritable: BTreeSet<Key>,
    /// What reached the server: `connect`, and the names of statements.
    pub(crate) statements: Vec<&'static str>,
    /// For each lane, the last seq that its fence tried.
    tried: BTreeMap<u64, u64>,
}

#[derive(Debug, Default)]
struct ServerConnection {
    transaction: OpenTransaction,
    /// Its COMMIT was sent.
    is_committing: bool,
    /// Locked while a statement runs.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl ServerState {
    pub(crate) fn new(script: Script, is_one_writer: bool, sabotage: Sabotage) -> Self {
        let now = Instant::now();
        Self {
            tables: Tables::default(),
            script,
            locks: Locks::default(),
            is_one_writer,
            sabotage,
            connections: BTreeMap::new(),
            next: 1,
            generation: 1,
            down_until: now,
            refuses_writers: false,
            stalled_until: now,
            clock_steps: 0,
            confirmed: BTreeMap::new(),
            unwritable: BTreeSet::new(),
            statements: Vec::new(),
            tried: BTreeMap::new(),
        }
    }

    /// Opens a connection.
    pub(super) fn connect(&mut self) -> ConnectionId {
        let id = self.next;
        self.next += 1;
        self.connections.insert(id, ServerConnection::default());
        id
    }

    /// The mutex that orders the statements of a connection. `None` if the connection is closed.
    pub(super) fn turn(&self, id: ConnectionId) -> Option<Arc<tokio::sync::Mutex<()>>> {
        Some(Arc::clone(&self.connections.get(&id)?.turn))
    }

    /// The lane whose fence matched on a connection.
    pub(super) fn lane(&self, id: ConnectionId) -> Option<u64> {
        Some(self.connections.get(&id)?.transaction.fence?.0)
    }

    /// Notes that a COMMIT has arrived on a connection.
    pub(super) fn commit_arrives(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.is_committing = true;
        }
    }

    pub(super) fn roll_back(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.transaction = OpenTransaction::default();
        }
        self.locks.release_all(id);
    }

    pub(super) fn close_all(&mut self) {
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            self.close(id);
        }
    }

    pub(super) fn close(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
        self.locks.release_all(id);
    }

    /// Changes the fence row of a lane.
    pub(super) fn change_row(&mut self, lane: u64, fault: RowFault) {
        let jump = self.script.random.random_range(1000..1_000_000);
        match fault {
            RowFault::Wiped => {
                self.tables.writers.remove(&lane);
            }
            RowFault::SeqRaised => {
                if let Some(row) = self.tables.writers.get_mut(&lane) {
                    row.seq += jump;
                }
            }
        }
    }

    /// Removes the rows that the sweeper would remove, except those that are locked.
    pub(super) fn sweep(&mut self) {
        let ripe = ripe(self.tables.stored_time());
        let (locks, is_one_writer) = (&self.locks, self.is_one_writer);
        let is_locked =
            |key: &Key| locks.is_held(&if is_one_writer { Lock::Store } else { Lock::Row(key.clone()) });
        self.tables.entries.retain(|key, entry| !entry.is_dead_at(ripe) || is_locked(key));
    }

    /// Whether the last COMMIT of a lane was confirmed and the lane has begun no other transaction.
    pub(super) fn is_idle(&self, lane: u64) -> bool {
        let confirmed = self.confirmed.get(&lane);
        let row = self.tables.writers.get(&lane).map(|row| row.seq);
        row.is_some() && confirmed == row.as_ref() && confirmed == self.tried.get(&lane)
    }

    /// Runs a statement whose locks are taken. `clock` is the server's clock, and `floor` the time before which the client sees nothing.
    pub(super) fn apply(
        &mut self,
        id: ConnectionId,
        statement: LaneStatement,
        clock: u64,
        floor: u64,
    ) -> Result<StatementResult, Error> {
        let now = clock.max(floor);
        let connection = self.connections.get_mut(&id).ok_or_else(closed)?;
        if self.unwritable.iter().any(|key| statement.writes(key)) {
            return Err(Error::Internal("scripted: 1690: out of range".into()));
        }
        let (tables, transaction) = (&mut self.tables, &mut connection.transaction);
        Ok(match statement {
            LaneStatement::Sample => StatementResult::Sampled(clock, tables.stored_time()),
            LaneStatement::Register { lane, logs } => {
                tables.writers.entry(lane).or_insert(FenceRow { seq: 0, rev: now });
                tables.log.register(lane, logs);
                self.locks.release_all(id);
                StatementResult::Done
            }
            LaneStatement::Fence { lane, seq, revs, floor } => {
                self.tried.insert(lane, seq);
                let row = tables.writers.get(&lane);
                let no_fence = self.sabotage == Sabotage::NoFence;
                let matches = |row: &&FenceRow| no_fence || row.seq < seq;
                let fence = row
                    .filter(matches)
                    .map(|row| FenceRow { seq, rev: now.max(row.rev + revs).max(floor + revs) });
                if fence.is_none() && !self.is_one_writer {
                    self.locks.release(id, &Lock::Fence(lane));
                }
                transaction.fence = fence.map(|fence| (lane, fence));
                StatementResult::Fenced(fence.map(|fence| Rev(fence.rev)))
            }
            LaneStatement::ReadSeq { lane } => StatementResult::Seq(match self.sabotage {
                Sabotage::HopedForSeq => self.tried.get(&lane).copied(),
                Sabotage::None
                | Sabotage::NoFence
                | Sabotage::ShortAnswer
                | Sabotage::LogForgotten
                | Sabotage::LogKept
                | Sabotage::ClockTrusted
                | Sabotage::UnknownTakenForRefused => tables.writers.get(&lane).map(|row| row.seq),
            }),
            LaneStatement::FindLocked(_) if self.is_one_writer => {
                StatementResult::FoundLocks(FoundLocks::default())
            }
            LaneStatement::FindLocked(keys) => {
                let is_locked = |key: &Key| !lock_at_once(&mut self.locks, tables, id, key);
                let (locked, free): (Vec<Key>, Vec<Key>) = keys.into_iter().partition(is_locked);
                let absent = free.into_iter().filter(|key| !tables.entries.contains_key(key)).collect();
                StatementResult::FoundLocks(FoundLocks { locked, absent })
            }
            LaneStatement::ReadForUpdate(keys) => {
                let current = tables.current(transaction, &keys, now);
                // An absent row cannot be locked.
                for (key, _) in keys.iter().zip(&current).filter(|(_, row)| **row == CurrentRow::Absent) {
                    self.locks.release(id, &Lock::Row(key.clone()));
                }
                StatementResult::CurrentRows(current)
            }
            LaneStatement::Insert(rows) => {
                if !tables.insert(transaction, rows, now) {
                    return Err(Error::Conflict("1062: duplicate entry".into()));
                }
                StatementResult::Done
            }
            LaneStatement::Overwrite(rows) => {
                tables.overwrite(transaction, rows, now);
                StatementResult::Done
            }
            LaneStatement::Upsert(rows) => {
                let mut results = tables.upsert(transaction, rows, now);
                if self.sabotage == Sabotage::ShortAnswer {
                    results.pop();
                }
                StatementResult::UpsertResults(results)
            }
            LaneStatement::AddHints(hints) => {
                tables.add_hints(transaction, hints);
                StatementResult::Done
            }
            LaneStatement::LogChanges { lane, seq, keys } => {
                match self.sabotage {
                    Sabotage::LogForgotten => {}
                    Sabotage::LogKept => tables.log.add(lane, seq, keys),
                    Sabotage::None
                    | Sabotage::NoFence
                    | Sabotage::HopedForSeq
                    | Sabotage::ShortAnswer
                    | Sabotage::ClockTrusted
                    | Sabotage::UnknownTakenForRefused => transaction.logged = Some((lane, seq, keys)),
                }
                StatementResult::Done
            }
            LaneStatement::StoreTime { lane } => {
                if let Some(row) = tables.writers.get_mut(&lane) {
                    row.rev = row.rev.max(now);
                }
                self.locks.release_all(id);
                StatementResult::Done
            }
            LaneStatement::Commit => {
                connection.is_committing = false;
                tables.commit(std::mem::take(transaction));
                self.locks.release_all(id);
                StatementResult::Done
            }
            LaneStatement::Rollback => {
                *transaction = OpenTransaction::default();
                self.locks.release_all(id);
                StatementResult::Done
            }
            LaneStatement::Kill(other) => {
                if self.connections.get(&other).is_some_and(|other| other.is_committing) {
                    self.tables.violations.push(format!("connection {other} is killed while it commits"));
                }
                self.close(other);
                StatementResult::Done
            }
        })
    }
}

pub(super) fn closed() -> Error {
    Error::Unavailable("scripted: the connection is closed".into())
}

/// Locks the row of `key` for `connection` without waiting, if it is there. False: somebody else holds it locked.
fn lock_at_once(locks: &mut Locks, tables: &Tables, connection: ConnectionId, key: &Key) -> bool {
    let lock = Lock::Row(key.clone());
    let is_free = locks.take_at_once(connection, &lock);
    if is_free && !tables.entries.contains_key(key) {
        locks.release(connection, &lock);
    }
    is_free
}
