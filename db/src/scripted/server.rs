//! The database server: connections, each with one transaction, whose statements are carried out one after another even
//! if nobody waits for their answers any more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use super::locks::{ConnectionId, Lock, Taken};
use super::script::{Ending, RowFault, Script};
use super::state::State;
use super::statement::{Answer, Statement};
use crate::entry::Key;
use crate::error::Error;

/// `innodb_lock_wait_timeout` of a writer's session.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(2);

/// What the server's clock shows at first, in microseconds since 1970.
const EPOCH: u64 = 1_800_000_000_000_000;

/// A bug put in on purpose, to test the judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// A fence matches whatever seq is there: a retry is carried out once more.
    NoFence,
    /// The seq query returns the seq that the lane tried, so that a lost COMMIT looks committed.
    HopedForSeq,
    /// An upsert reports one row too few.
    ShortAnswer,
    /// Clients take an unknown outcome for a refusal. The server does nothing wrong.
    UnknownTakenForRefused,
}

/// A server that all writers of a run share.
#[derive(Debug, Clone)]
pub(crate) struct Server(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// A lock was released.
    released: Notify,
    begun: Instant,
    is_one_writer: bool,
    sabotage: Sabotage,
}

impl Server {
    pub(crate) fn new(script: Script, is_one_writer: bool, sabotage: Sabotage) -> Self {
        let state = Mutex::new(State::new(script, is_one_writer, sabotage));
        Self(Arc::new(Shared {
            state,
            released: Notify::new(),
            begun: Instant::now(),
            is_one_writer,
            sabotage,
        }))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server's clock, in microseconds since 1970.
    pub(super) fn now(&self, state: &State) -> u64 {
        let elapsed = u64::try_from(self.0.begun.elapsed().as_micros()).expect("a run is short");
        (EPOCH + elapsed).checked_add_signed(state.clock_steps).expect("steps are small")
    }

    pub(super) fn sabotage(&self) -> Sabotage {
        self.0.sabotage
    }

    /// What stands in `keys` now: value and revision of those that live.
    pub(super) fn read(&self, keys: &[Key]) -> Vec<Option<(String, u64)>> {
        let state = self.state();
        let now = self.now(&state);
        let live = |key| state.tables.entries.get(key).filter(|record| record.is_live(now));
        keys.iter().map(|key| live(key).map(|record| (record.value.clone(), record.rev))).collect()
    }

    /// A new connection and the start of the server it is of, unless that is down.
    pub(super) fn connect(&self) -> Result<(ConnectionId, u64), Error> {
        let mut state = self.state();
        state.statements.push("connect");
        if state.down_until > Instant::now() {
            return Err(Error::Unavailable("scripted: connection refused".into()));
        }
        Ok((state.connect(), state.generation))
    }

    /// Carries out a statement and answers it, as the script wants it. To be run in a task of its own: it goes on when nobody
    /// waits for its answer.
    pub(super) async fn carry_out(self, id: ConnectionId, statement: Statement) -> Result<Answer, Error> {
        let turn = self.state().turn(id).ok_or_else(closed)?;
        let _turn = turn.lock_owned().await;
        self.state().statements.push(statement.name());
        let is_commit = matches!(statement, Statement::Commit);
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
        let told = tracing::enabled!(tracing::Level::DEBUG).then(|| format!("{statement:?}"));
        let answer = if fate.is_carried_out { self.execute(id, statement).await } else { Ok(Answer::Done) };
        debug!(id, fate.is_carried_out, ?answer, after = ?fate.after, ending = ?fate.ending, "{}", told.unwrap_or_default());
        sleep(fate.after).await;
        if let (true, Some(lane)) = (is_commit && fate.ending != Ending::Answered, lane) {
            let fault = self.state().script.row_fault();
            if let Some(fault) = fault {
                tokio::spawn(self.clone().change_row(lane, fault));
            }
        }
        match fate.ending {
            Ending::Answered => answer,
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

    async fn execute(&self, id: ConnectionId, statement: Statement) -> Result<Answer, Error> {
        for lock in statement.locks(self.0.is_one_writer) {
            self.lock(id, &lock, LOCK_WAIT_MAX).await?;
        }
        let answer = self.apply(id, statement);
        self.0.released.notify_waiters();
        answer
    }

    /// Waits for a lock as a transaction does.
    pub(super) async fn lock(&self, id: ConnectionId, lock: &Lock, limit: Duration) -> Result<(), Error> {
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
                Taken::Yes => return Ok(()),
                Taken::Deadlock => {
                    self.roll_back(id);
                    return Err(Error::Conflict("1213: deadlock".into()));
                }
                Taken::Wait => {}
            }
            if tokio::time::timeout_at(until, released).await.is_err() {
                self.state().locks.give_up(id);
                return Err(Error::Conflict("1205: lock wait".into()));
            }
        }
    }

    fn apply(&self, id: ConnectionId, statement: Statement) -> Result<Answer, Error> {
        let mut state = self.state();
        let now = self.now(&state);
        state.apply(id, statement, now)
    }

    fn roll_back(&self, id: ConnectionId) {
        self.state().roll_back(id);
        self.0.released.notify_waiters();
    }

    /// The client is gone. The server notices it after a while, and not before the statement under way has ended.
    pub(super) async fn hang_up(self, id: ConnectionId) {
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

    /// A session that is none of ours changes the fence row of a lane, as soon as no transaction holds it.
    pub(super) async fn change_row(self, lane: u64, fault: RowFault) {
        let Ok((id, _)) = self.connect() else { return };
        let lock = if self.0.is_one_writer { Lock::Store } else { Lock::Fence(lane) };
        if self.lock(id, &lock, 20 * LOCK_WAIT_MAX).await.is_ok() {
            self.state().change_row(lane, fault);
        }
        self.state().close(id);
        self.0.released.notify_waiters();
    }

    /// All connections break and all open transactions are rolled back. Nobody can connect for a while.
    pub(super) fn restart(&self, down: Duration) {
        let mut state = self.state();
        state.close_all();
        state.generation += 1;
        state.down_until = Instant::now() + down;
        self.0.released.notify_waiters();
    }
}

pub(super) fn closed() -> Error {
    Error::Unavailable("scripted: the connection is closed".into())
}
