//! The engine that lanes use. Each statement is a task on the server, which goes on when the future of the lane is dropped.

use std::time::Duration;
use tokio::time::Instant;

use super::locks::ConnectionId;
use super::script::{Ending, Sabotage};
use super::server::ScriptedServer;
use super::statement::{LaneStatement, StatementResult};
use super::tables::OwnedRow;
use crate::engine::clock::{QUIET_MAX, STORED_AGE_MAX_MICROS, StoreClock};
use crate::engine::{FoundLocks, WriteEngine, WriteSession};
use crate::entry::{Key, Rev};
use crate::error::Error;
use crate::plan::run::{CurrentRow, Row, UpsertResult};
use crate::sweeper::hint::Hint;

/// An engine on a scripted server; `ROUND_TRIPS` as in [`WriteEngine`].
#[derive(Debug, Clone)]
pub(crate) struct ScriptedEngine<const ROUND_TRIPS: bool> {
    server: ScriptedServer,
    /// The store clock, as the process knows it.
    clock: StoreClock,
}

impl<const ROUND_TRIPS: bool> ScriptedEngine<ROUND_TRIPS> {
    pub(crate) fn new(server: ScriptedServer, clock: StoreClock) -> Self {
        Self { server, clock }
    }
}

/// A connection of a lane.
#[derive(Debug)]
pub(crate) struct ScriptedSession {
    server: ScriptedServer,
    clock: StoreClock,
    touched_at: Instant,
    id: ConnectionId,
    generation: u64,
    /// The lane and seq of its transaction.
    fence: Option<(u64, u64)>,
    /// Why it must not be used: an error, or a statement whose result is awaited.
    spoiled: Option<String>,
}

impl<const ROUND_TRIPS: bool> WriteEngine for ScriptedEngine<ROUND_TRIPS> {
    type Session = ScriptedSession;
    /// The number of the connection and that of the server's start.
    type Identity = (ConnectionId, u64);
    const ROUND_TRIPS: bool = ROUND_TRIPS;
    const IDLE_MAX: Duration = Duration::from_secs(10);

    async fn open_session(&self) -> Result<ScriptedSession, Error> {
        let fate = self.server.state().script.connecting();
        tokio::time::sleep(fate.before + fate.after).await;
        match fate.ending {
            Ending::Result => {}
            Ending::Broken | Ending::Refused | Ending::Conflict { .. } => {
                return Err(Error::NotReady("scripted: not now".into()));
            }
        }
        let (id, generation) = self.server.connect()?;
        self.server.sample(&self.clock);
        let (server, clock) = (self.server.clone(), self.clock.clone());
        let touched_at = Instant::now();
        Ok(ScriptedSession { server, clock, touched_at, id, generation, fence: None, spoiled: None })
    }

    fn identity(session: &ScriptedSession) -> (ConnectionId, u64) {
        (session.id, session.generation)
    }

    async fn kill(session: &mut ScriptedSession, lock_holder: &(ConnectionId, u64)) -> Result<(), Error> {
        let (id, generation) = *lock_holder;
        if id == session.id || generation != session.generation {
            return Ok(());
        }
        session.send(LaneStatement::Kill(id)).await.map(drop)
    }
}

impl ScriptedSession {
    /// Sends a statement and waits for its result.
    async fn send(&mut self, statement: LaneStatement) -> Result<StatementResult, Error> {
        if let Some(why) = &self.spoiled {
            let violation = format!("{statement:?} on a connection that {why}");
            self.server.state().tables.violations.push(violation);
        }
        self.spoiled = Some(format!("waits for {statement:?}"));
        let floor = self.floor();
        let result = tokio::spawn(self.server.clone().run(self.id, statement, floor)).await;
        let result = result.expect("the server does not panic");
        self.spoiled = match &result {
            Ok(_) | Err(Error::Conflict(_) | Error::Internal(_)) => None,
            Err(error) => Some(format!("said {error}")),
        };
        result
    }

    /// The earliest time that a statement may use as the present time.
    fn floor(&self) -> u64 {
        match self.server.sabotage() {
            Sabotage::ClockTrusted => 0,
            Sabotage::None
            | Sabotage::NoFence
            | Sabotage::HopedForSeq
            | Sabotage::ShortAnswer
            | Sabotage::LogForgotten
            | Sabotage::LogKept
            | Sabotage::UnknownTakenForRefused => self.clock.floor(),
        }
    }

    /// Looks at the clock of the server and at the stored time. Returns the stored time.
    async fn sample(&mut self) -> Result<u64, Error> {
        let asked = Instant::now();
        match self.send(LaneStatement::Sample).await? {
            StatementResult::Sampled(clock, stored) => {
                self.clock.sampled(asked, clock, stored);
                Ok(stored)
            }
            other => panic!("not the result of a sample: {other:?}"),
        }
    }

    async fn done(&mut self, statement: LaneStatement) -> Result<(), Error> {
        match self.send(statement).await? {
            StatementResult::Done => Ok(()),
            other => panic!("not the result of this statement: {other:?}"),
        }
    }
}

impl WriteSession for ScriptedSession {
    async fn register(&mut self, lane: u64, logs: bool) -> Result<(), Error> {
        self.done(LaneStatement::Register { lane, logs }).await
    }

    async fn fence(&mut self, lane: u64, seq: u64, revs: u64) -> Result<Option<Rev>, Error> {
        if self.clock.fresh_floor().is_none() {
            self.sample().await?;
        }
        self.fence = Some((lane, seq));
        let floor = self.floor();
        match self.send(LaneStatement::Fence { lane, seq, revs, floor }).await? {
            StatementResult::Fenced(last) => Ok(last),
            other => panic!("not the result of a fence: {other:?}"),
        }
    }

    async fn read_seq(&mut self, lane: u64) -> Result<Option<u64>, Error> {
        match self.send(LaneStatement::ReadSeq { lane }).await? {
            StatementResult::Seq(seq) => Ok(seq),
            other => panic!("not the result of a read of the seq: {other:?}"),
        }
    }

    async fn find_locked(&mut self, keys: &[&Key]) -> Result<FoundLocks, Error> {
        match self.send(LaneStatement::FindLocked(keys.iter().copied().cloned().collect())).await? {
            StatementResult::FoundLocks(found) => Ok(found),
            other => panic!("not the result of a look for locks: {other:?}"),
        }
    }

    async fn read_for_update(&mut self, keys: &[&Key]) -> Result<Vec<CurrentRow>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        match self.send(LaneStatement::ReadForUpdate(keys.iter().copied().cloned().collect())).await? {
            StatementResult::CurrentRows(rows) => Ok(rows),
            other => panic!("not the result of a read for update: {other:?}"),
        }
    }

    async fn insert(&mut self, rows: &[Row<'_>]) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        self.done(LaneStatement::Insert(OwnedRow::all(rows))).await
    }

    async fn overwrite(&mut self, rows: &[Row<'_>]) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        self.done(LaneStatement::Overwrite(OwnedRow::all(rows))).await
    }

    async fn upsert(&mut self, rows: &[Row<'_>]) -> Result<Vec<UpsertResult>, Error> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        match self.send(LaneStatement::Upsert(OwnedRow::all(rows))).await? {
            StatementResult::UpsertResults(results) => Ok(results),
            other => panic!("not the result of an upsert: {other:?}"),
        }
    }

    async fn add_hints(&mut self, hints: &[Hint]) -> Result<(), Error> {
        if hints.is_empty() {
            return Ok(());
        }
        self.done(LaneStatement::AddHints(hints.to_vec())).await
    }

    async fn log_changes(&mut self, lane: u64, seq: u64, keys: &[Key]) -> Result<(), Error> {
        self.done(LaneStatement::LogChanges { lane, seq, keys: keys.to_vec() }).await
    }

    async fn commit(&mut self) -> Result<(), Error> {
        let fence = self.fence.take();
        self.done(LaneStatement::Commit).await?;
        if let Some((lane, seq)) = fence {
            self.server.state().confirmed.insert(lane, seq);
        }
        Ok(())
    }

    async fn rollback(&mut self) -> Result<(), Error> {
        self.done(LaneStatement::Rollback).await
    }

    async fn touch(&mut self, lane: u64) -> Result<(), Error> {
        if self.clock.fresh_floor().is_some() && self.touched_at.elapsed() < QUIET_MAX {
            return Ok(());
        }
        self.touched_at = Instant::now();
        if self.sample().await?.saturating_add(STORED_AGE_MAX_MICROS) < self.floor() {
            self.done(LaneStatement::StoreTime { lane }).await?;
        }
        Ok(())
    }
}

impl Drop for ScriptedSession {
    fn drop(&mut self) {
        drop(tokio::spawn(self.server.clone().hang_up(self.id)));
    }
}
