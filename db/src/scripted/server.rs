//! The database server: connections with one transaction each. Statements of a connection run one after another, even if the
//! client no longer waits for their results.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use super::locks::{ConnectionId, Lock, LockResult};
use super::process::Process;
use super::script::{Ending, RowFault, Sabotage, Script};
use super::state::{ServerState, closed};
use super::statement::{LaneStatement, StatementResult};
use crate::engine::clock::StoreClock;
use crate::entry::Key;
use crate::error::{Cause, Error};

/// `innodb_lock_wait_timeout` of a writer's session.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(2);

/// The first instant of the server's clock, in microseconds since 1970.
const EPOCH: u64 = 1_800_000_000_000_000;

/// A server that all writers of a run share.
#[derive(Debug, Clone)]
pub(crate) struct ScriptedServer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<ServerState>,
    /// A lock was released.
    released: Notify,
    begun: Instant,
}

impl ScriptedServer {
    pub(crate) fn new(script: Script, is_one_writer: bool, sabotage: Sabotage) -> Self {
        let state = Mutex::new(ServerState::new(script, is_one_writer, sabotage));
        Self(Arc::new(Shared { state, released: Notify::new(), begun: Instant::now() }))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, ServerState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server's clock, in microseconds since 1970.
    pub(super) fn now(&self, state: &ServerState) -> u64 {
        let elapsed = u64::try_from(self.0.begun.elapsed().as_micros()).expect("a run is short");
        (EPOCH + elapsed).checked_add_signed(state.clock_steps).expect("steps are small")
    }

    pub(super) fn sabotage(&self) -> Sabotage {
        self.state().sabotage
    }

    /// Looks at the server's clock and at the stored time, as a process does that knows `clock`.
    pub(super) fn sample(&self, clock: &StoreClock) {
        let state = self.state();
        clock.sampled(Instant::now(), self.now(&state), state.tables.stored_time());
    }

    /// The value and the revision of each of `keys`; `None` if it is absent. `process` reads.
    pub(super) fn read(&self, process: &Process, keys: &[Key]) -> Vec<Option<(String, u64)>> {
        if process.clock.fresh_floor().is_none() {
            self.sample(&process.clock);
            process.knows(process.clock.floor());
        }
        let mut state = self.state();
        let floor = if state.sabotage == Sabotage::ClockTrusted { 0 } else { process.clock.floor() };
        let now = self.now(&state).max(floor);
        if process.goes_back_to(now) {
            state.tables.violations.push("what was seen to expire may be back".into());
        }
        let live = |key| state.tables.entries.get(key).filter(|record| record.is_live(now));
        keys.iter().map(|key| live(key).map(|record| (record.value.clone(), record.rev))).collect()
    }

    /// Sets the clock of the server forward or back, then removes what the sweeper would remove.
    pub(super) fn step_clock(&self, micros: i64) {
        let mut state = self.state();
        state.clock_steps += micros;
        state.sweep();
    }

    /// Opens a connection. Returns its number and the number of the server's start.
    ///
    /// # Errors
    /// The server is down, or refuses to write.
    pub(crate) fn connect(&self) -> Result<(ConnectionId, u64), Error> {
        let mut state = self.state();
        state.statements.push("connect");
        if state.down_until > Instant::now() {
            return Err(Error::Unavailable("scripted: connection refused".into()));
        }
        if state.refuses_writers {
            return Err(Error::Refused("scripted: no writes".into()));
        }
        Ok((state.connect(), state.generation))
    }

    /// Runs a statement and returns its result, with the faults of the script. Spawn it as a task, so that it goes on when the
    /// client no longer waits.
    pub(super) async fn run(
        self,
        id: ConnectionId,
        statement: LaneStatement,
        floor: u64,
    ) -> Result<StatementResult, Error> {
        let turn = self.state().turn(id).ok_or_else(closed)?;
        let _turn = turn.lock_owned().await;
        self.state().statements.push(statement.name());
        let is_commit = matches!(statement, LaneStatement::Commit);
        if is_commit {
            self.state().commit_arrives(id);
        }
        let fate = {
            let script = &mut self.state().script;
            if is_commit { script.commit() } else { script.statement() }
        };
        sleep(fate.before).await;
        let stalled_until = self.state().stalled_until;
        sleep_until(stalled_until).await;
        let lane = self.state().lane(id);
        // Only a replay prints it.
        let text = tracing::enabled!(tracing::Level::DEBUG).then(|| format!("{statement:?}"));
        let result = if fate.takes_effect {
            self.execute(id, statement, floor).await
        } else {
            Ok(StatementResult::Done)
        };
        debug!(id, fate.takes_effect, ?result, after = ?fate.after, ending = ?fate.ending, "{}", text.unwrap_or_default());
        sleep(fate.after).await;
        if let (true, Some(lane)) = (is_commit && fate.ending != Ending::Result, lane) {
            let fault = self.state().script.row_fault();
            if let Some(fault) = fault {
                tokio::spawn(self.clone().change_row(lane, fault));
            }
        }
        match fate.ending {
            Ending::Result => result,
            Ending::Broken => Err(Error::Unavailable("scripted: connection lost".into())),
            Ending::Refused => Err(Error::Unavailable("scripted: refused".into())),
            Ending::Conflict { is_rolled_back } => {
                if is_rolled_back {
                    self.roll_back(id);
                }
                Err(Error::Conflict("scripted".into()))
            }
        }
    }

    async fn execute(
        &self,
        id: ConnectionId,
        statement: LaneStatement,
        floor: u64,
    ) -> Result<StatementResult, Error> {
        let locks = statement.locks(self.state().is_one_writer);
        for lock in locks {
            self.lock(id, &lock, LOCK_WAIT_MAX).await?;
        }
        let result = self.apply(id, statement, floor);
        self.0.released.notify_waiters();
        result
    }

    /// Waits for a lock, at most for `limit`.
    pub(crate) async fn lock(&self, id: ConnectionId, lock: &Lock, limit: Duration) -> Result<(), Error> {
        let until = Instant::now() + limit;
        loop {
            let released = self.0.released.notified();
            let taken = {
                let mut state = self.state();
                if state.turn(id).is_none() {
                    return Err(closed());
                }
                state.locks.take(id, lock)
            };
            match taken {
                LockResult::Taken => return Ok(()),
                LockResult::Deadlock => {
                    self.roll_back(id);
                    return Err(Error::Conflict("1213: deadlock".into()));
                }
                LockResult::Wait => {}
            }
            if tokio::time::timeout_at(until, released).await.is_err() {
                self.state().locks.give_up(id);
                return Err(Error::Conflict(Cause::LockWait("1205: lock wait".into())));
            }
        }
    }

    fn apply(
        &self,
        id: ConnectionId,
        statement: LaneStatement,
        floor: u64,
    ) -> Result<StatementResult, Error> {
        let mut state = self.state();
        let clock = self.now(&state);
        state.apply(id, statement, clock, floor)
    }

    fn roll_back(&self, id: ConnectionId) {
        self.state().roll_back(id);
        self.0.released.notify_waiters();
    }

    /// The client is gone. The server notices it after a while, and not before the running statement has ended.
    pub(crate) async fn hang_up(self, id: ConnectionId) {
        let (turn, noticed_after) = {
            let mut state = self.state();
            let Some(turn) = state.turn(id) else { return };
            (turn, state.script.noticed_after())
        };
        sleep(noticed_after).await;
        let _turn = turn.lock_owned().await;
        self.state().close(id);
        self.0.released.notify_waiters();
    }

    /// Changes the fence row of a lane by a session of somebody else, once no transaction locks the row.
    pub(super) async fn change_row(self, lane: u64, fault: RowFault) {
        let Ok((id, _)) = self.connect() else { return };
        let lock = if self.state().is_one_writer { Lock::Store } else { Lock::Fence(lane) };
        if self.lock(id, &lock, 20 * LOCK_WAIT_MAX).await.is_ok() {
            self.state().change_row(lane, fault);
        }
        self.state().close(id);
        self.0.released.notify_waiters();
    }

    /// Breaks all connections, rolls all open transactions back, and refuses new connections for `down`.
    pub(super) fn restart(&self, down: Duration) {
        let mut state = self.state();
        state.close_all();
        state.generation += 1;
        state.down_until = Instant::now() + down;
        self.0.released.notify_waiters();
    }
}
