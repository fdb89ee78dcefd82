//! Everything a server knows, and what each statement makes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::RngExt as _;
use tokio::time::Instant;

use super::locks::{ConnectionId, Lock, Locks};
use super::script::{RowFault, Script};
use super::server::{Sabotage, closed};
use super::statement::{Answer, Statement};
use super::tables::{Fence, Tables, Transaction};
use crate::entry::Rev;
use crate::error::Error;
use crate::plan::run::Held;

/// Everything a server knows.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) tables: Tables,
    pub(super) script: Script,
    pub(super) locks: Locks,
    pub(super) is_one_writer: bool,
    sabotage: Sabotage,
    connections: BTreeMap<ConnectionId, Connection>,
    next: ConnectionId,
    /// Grows with each start.
    pub(super) generation: u64,
    /// Nobody can connect before.
    pub(crate) down_until: Instant,
    /// Nothing is carried out before.
    pub(super) stalled_until: Instant,
    /// Microseconds by which the clock was stepped.
    pub(super) clock_steps: i64,
    /// The last seq that each lane was told is committed.
    pub(super) told: BTreeMap<u64, u64>,
    /// What reached the server: connections, and statements by their names.
    pub(crate) statements: Vec<&'static str>,
    /// The last seq that each lane tried to pass.
    tried: BTreeMap<u64, u64>,
}

#[derive(Debug, Default)]
struct Connection {
    transaction: Transaction,
    /// Its COMMIT was sent.
    is_committing: bool,
    /// Held while a statement is carried out.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl State {
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
            stalled_until: now,
            clock_steps: 0,
            told: BTreeMap::new(),
            statements: Vec::new(),
            tried: BTreeMap::new(),
        }
    }

    /// A new connection.
    pub(super) fn connect(&mut self) -> ConnectionId {
        let id = self.next;
        self.next += 1;
        self.connections.insert(id, Connection::default());
        id
    }

    /// What orders the statements of a connection, if it is open.
    pub(super) fn turn(&self, id: ConnectionId) -> Option<Arc<tokio::sync::Mutex<()>>> {
        Some(Arc::clone(&self.connections.get(&id)?.turn))
    }

    /// The lane whose fence was passed on a connection.
    pub(super) fn lane(&self, id: ConnectionId) -> Option<u64> {
        Some(self.connections.get(&id)?.transaction.fence?.0)
    }

    /// A COMMIT arrives on a connection.
    pub(super) fn commit_arrives(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.is_committing = true;
        }
    }

    pub(super) fn roll_back(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.transaction = Transaction::default();
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

    /// Whether a lane was told that its last transaction is committed, and has begun no other.
    pub(super) fn is_idle(&self, lane: u64) -> bool {
        let told = self.told.get(&lane);
        let row = self.tables.writers.get(&lane).map(|row| row.seq);
        row.is_some() && told == row.as_ref() && told == self.tried.get(&lane)
    }

    /// Carries out a statement whose locks are held. `now` is the server's clock.
    pub(super) fn apply(
        &mut self,
        id: ConnectionId,
        statement: Statement,
        now: u64,
    ) -> Result<Answer, Error> {
        let connection = self.connections.get_mut(&id).ok_or_else(closed)?;
        let (tables, transaction) = (&mut self.tables, &mut connection.transaction);
        Ok(match statement {
            Statement::Register { lane } => {
                tables.writers.entry(lane).or_insert(Fence { seq: 0, rev: now });
                self.locks.release_all(id);
                Answer::Done
            }
            Statement::Fence { lane, seq, revs } => {
                self.tried.insert(lane, seq);
                let row = tables.writers.get(&lane);
                let no_fence = self.sabotage == Sabotage::NoFence;
                let matches = |row: &&Fence| no_fence || row.seq < seq;
                let fence = row.filter(matches).map(|row| Fence { seq, rev: now.max(row.rev + revs) });
                if fence.is_none() && !self.is_one_writer {
                    self.locks.release(id, &Lock::Fence(lane));
                }
                transaction.fence = fence.map(|fence| (lane, fence));
                Answer::Fenced(fence.map(|fence| Rev(fence.rev)))
            }
            Statement::Seq { lane } => Answer::Seq(match self.sabotage {
                Sabotage::HopedForSeq => self.tried.get(&lane).copied(),
                Sabotage::None
                | Sabotage::NoFence
                | Sabotage::ShortAnswer
                | Sabotage::UnknownTakenForRefused => tables.writers.get(&lane).map(|row| row.seq),
            }),
            Statement::Held(keys) => {
                let held = tables.held(transaction, &keys, now);
                // Nothing locks a row that is not there.
                for (key, _) in keys.iter().zip(&held).filter(|(_, held)| **held == Held::Absent) {
                    self.locks.release(id, &Lock::Row(key.clone()));
                }
                Answer::Held(held)
            }
            Statement::Insert(rows) => {
                if !tables.insert(transaction, rows, now) {
                    return Err(Error::Conflict("1062: duplicate entry".into()));
                }
                Answer::Done
            }
            Statement::Overwrite(rows) => {
                tables.overwrite(transaction, rows, now);
                Answer::Done
            }
            Statement::Upsert(rows) => {
                let mut stored = tables.upsert(transaction, rows, now);
                if self.sabotage == Sabotage::ShortAnswer {
                    stored.pop();
                }
                Answer::Stored(stored)
            }
            Statement::Remember(hints) => {
                tables.remember(transaction, hints);
                Answer::Done
            }
            // As on MySQL, where this statement is followed by a COMMIT.
            Statement::Commit | Statement::Touch => {
                connection.is_committing = false;
                tables.commit(std::mem::take(transaction));
                self.locks.release_all(id);
                Answer::Done
            }
            Statement::Rollback => {
                *transaction = Transaction::default();
                self.locks.release_all(id);
                Answer::Done
            }
            Statement::Kill(other) => {
                if self.connections.get(&other).is_some_and(|other| other.is_committing) {
                    self.tables.violations.push(format!("connection {other} is killed while it commits"));
                }
                self.close(other);
                Answer::Done
            }
        })
    }
}
