//! The engine as lanes see it: each statement is a task on the server, and dropping its future does not end it.

use super::locks::ConnectionId;
use super::script::Ending;
use super::server::Server;
use super::statement::{Answer, Statement};
use super::tables::Written;
use crate::engine::{WriteEngine, WriteSession};
use crate::entry::{Key, Rev};
use crate::error::Error;
use crate::plan::run::{Held, Row, Stored};
use crate::sweeper::hint::Hint;

/// A scripted server; `ROUND_TRIPS` as in [`WriteEngine`].
#[derive(Debug, Clone)]
pub(crate) struct Scripted<const ROUND_TRIPS: bool>(pub(crate) Server);

/// A connection of a lane.
#[derive(Debug)]
pub(crate) struct ScriptedSession {
    server: Server,
    id: ConnectionId,
    generation: u64,
    /// The lane and seq of its transaction.
    fence: Option<(u64, u64)>,
    /// Why it must not be used any more, or that a statement is under way.
    spoiled: Option<String>,
}

impl<const ROUND_TRIPS: bool> WriteEngine for Scripted<ROUND_TRIPS> {
    type Session = ScriptedSession;
    /// The connection, and the start of the server it is of.
    type Identity = (ConnectionId, u64);
    const ROUND_TRIPS: bool = ROUND_TRIPS;

    async fn connect(&self) -> Result<ScriptedSession, Error> {
        let fate = self.0.state().script.connecting();
        tokio::time::sleep(fate.before + fate.after).await;
        match fate.ending {
            Ending::Answered => {}
            Ending::Broken | Ending::Refused | Ending::Conflict { .. } => {
                return Err(Error::NotReady("scripted: not now".into()));
            }
        }
        let (id, generation) = self.0.connect()?;
        Ok(ScriptedSession { server: self.0.clone(), id, generation, fence: None, spoiled: None })
    }

    fn identity(session: &ScriptedSession) -> (ConnectionId, u64) {
        (session.id, session.generation)
    }

    async fn end(session: &mut ScriptedSession, previous: &(ConnectionId, u64)) -> Result<(), Error> {
        let (id, generation) = *previous;
        if id == session.id || generation != session.generation {
            return Ok(());
        }
        session.send(Statement::Kill(id)).await.map(drop)
    }
}

impl ScriptedSession {
    /// Sends a statement and waits for its answer.
    async fn send(&mut self, statement: Statement) -> Result<Answer, Error> {
        if let Some(why) = &self.spoiled {
            let violation = format!("{statement:?} on a connection that {why}");
            self.server.state().tables.violations.push(violation);
        }
        self.spoiled = Some(format!("waits for {statement:?}"));
        let answer = tokio::spawn(self.server.clone().carry_out(self.id, statement)).await;
        let answer = answer.expect("the server does not panic");
        self.spoiled = match &answer {
            Ok(_) | Err(Error::Conflict(_)) => None,
            Err(error) => Some(format!("said {error}")),
        };
        answer
    }

    async fn done(&mut self, statement: Statement) -> Result<(), Error> {
        match self.send(statement).await? {
            Answer::Done => Ok(()),
            other => panic!("not the answer to this statement: {other:?}"),
        }
    }
}

impl WriteSession for ScriptedSession {
    async fn register(&mut self, lane: u64) -> Result<(), Error> {
        self.done(Statement::Register { lane }).await
    }

    async fn fence(&mut self, lane: u64, seq: u64, revs: u64) -> Result<Option<Rev>, Error> {
        self.fence = Some((lane, seq));
        match self.send(Statement::Fence { lane, seq, revs }).await? {
            Answer::Fenced(last) => Ok(last),
            other => panic!("not the answer to a fence: {other:?}"),
        }
    }

    async fn read_seq(&mut self, lane: u64) -> Result<Option<u64>, Error> {
        match self.send(Statement::Seq { lane }).await? {
            Answer::Seq(seq) => Ok(seq),
            other => panic!("not the answer to a seq: {other:?}"),
        }
    }

    async fn read_for_update(&mut self, keys: &[&Key]) -> Result<Vec<Held>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        match self.send(Statement::Held(keys.iter().copied().cloned().collect())).await? {
            Answer::Held(held) => Ok(held),
            other => panic!("not the answer to what is held: {other:?}"),
        }
    }

    async fn insert(&mut self, rows: &[Row<'_>]) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        self.done(Statement::Insert(Written::all(rows))).await
    }

    async fn overwrite(&mut self, rows: &[Row<'_>]) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        self.done(Statement::Overwrite(Written::all(rows))).await
    }

    async fn upsert(&mut self, rows: &[Row<'_>]) -> Result<Vec<Stored>, Error> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        match self.send(Statement::Upsert(Written::all(rows))).await? {
            Answer::Stored(stored) => Ok(stored),
            other => panic!("not the answer to an upsert: {other:?}"),
        }
    }

    async fn add_hints(&mut self, hints: &[Hint]) -> Result<(), Error> {
        if hints.is_empty() {
            return Ok(());
        }
        self.done(Statement::Remember(hints.to_vec())).await
    }

    async fn commit(&mut self) -> Result<(), Error> {
        let fence = self.fence.take();
        self.done(Statement::Commit).await?;
        if let Some((lane, seq)) = fence {
            self.server.state().told.insert(lane, seq);
        }
        Ok(())
    }

    async fn rollback(&mut self) -> Result<(), Error> {
        self.done(Statement::Rollback).await
    }

    async fn touch(&mut self) -> Result<(), Error> {
        self.done(Statement::Touch).await
    }
}

impl Drop for ScriptedSession {
    fn drop(&mut self) {
        drop(tokio::spawn(self.server.clone().hang_up(self.id)));
    }
}
