//! A catch-up reads for one stream what the rounds do not bring: everything that it watches, or what has changed since its position.

mod pass;
mod reading;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chassis::running;
use db::{Error, Store};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::turns::Turns;
use crate::client_speed::ClientSpeed;
use crate::damage::DamageLog;
use crate::watch::position::{Position, ResetReason};
use crate::watch::target::Target;
use crate::watch::watcher::Watcher;

/// How long a client may take nothing while a database snapshot is kept open for it.
pub(crate) const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of a part. A catch-up has about three parts in memory: the stream sends one, the channel holds the next one, and the task
/// collects the one after that. If a single event is longer than a part, the task has the whole event.
const PART_BYTES: usize = 64 * 1024;

/// The most changed keys that are sent to a stream that has not had a snapshot yet. With more, it is reset. A stream that has had one gets
/// them in passes of this many keys.
const KEYS_MAX: usize = 100_000;

/// Runs the catch-ups of a process, a few at a time: each keeps a snapshot of the database open.
#[derive(Debug)]
pub(crate) struct CatchUps {
    store: Store,
    tasks: TaskTracker,
    /// The turns of catch-ups that may read any number of keys.
    turns: Arc<Turns>,
    /// The turns of those that read a few keys at most, so that they need not wait for the others.
    short_turns: Arc<Turns>,
    damage: Arc<DamageLog>,
}

/// What a catch-up reads.
#[derive(Debug, Clone)]
pub(crate) enum Scope {
    /// Everything that is there.
    Snapshot,
    /// Only the position of the log.
    Now,
    /// What the keys hold that have changed since a position.
    After(Arc<Position>),
}

/// What a catch-up gives to its stream.
#[derive(Debug)]
pub(crate) enum Part {
    /// Events to send.
    Events(Bytes),
    /// What the client knows is void. Everything that it watches follows.
    Reset(ResetReason),
    /// The last part: the client has everything up to this position.
    Done(Arc<Position>),
}

/// One catch-up.
struct CatchUp {
    store: Store,
    damage: Arc<DamageLog>,
    watcher: Arc<Watcher>,
    parts: mpsc::Sender<Part>,
    turns: Arc<Turns>,
    speed: ClientSpeed,
    /// Events that are not handed over yet.
    events: Vec<u8>,
}

/// Why a catch-up ended early. Its stream ends, and the client comes back.
#[derive(Debug)]
enum CatchUpError {
    Database(Error),
    /// The client has left, or has read nothing for [`CLIENT_TIMEOUT`].
    Client,
    /// The snapshot was open for longer than a quarter of the retention.
    TooLong,
    /// The client reads slowly, and others wait.
    Slow,
    /// Changes are not logged.
    Off,
}

impl From<Error> for CatchUpError {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl CatchUps {
    pub(crate) fn new(store: &Store, snapshots_max: usize, tasks: &TaskTracker) -> Self {
        Self {
            store: store.clone(),
            tasks: tasks.clone(),
            turns: Turns::new(snapshots_max),
            short_turns: Turns::new(snapshots_max),
            damage: Arc::new(DamageLog::new("watch")),
        }
    }

    /// Starts a catch-up for `watcher`. `had_snapshot`: the stream has had a snapshot, so it is not reset for too many changed keys. If the
    /// channel ends without [`Part::Done`], the catch-up has failed. Dropping the receiver ends the catch-up.
    pub(crate) fn start(
        &self,
        watcher: &Arc<Watcher>,
        scope: Scope,
        had_snapshot: bool,
    ) -> mpsc::Receiver<Part> {
        let (parts, received) = mpsc::channel(1);
        let turns = match (&scope, &watcher.target) {
            (Scope::Now, _) | (_, Target::Keys(_)) => &self.short_turns,
            (Scope::Snapshot | Scope::After(_), Target::Prefix(_)) => &self.turns,
        };
        let work = CatchUp {
            store: self.store.clone(),
            damage: Arc::clone(&self.damage),
            watcher: Arc::clone(watcher),
            parts: parts.clone(),
            turns: Arc::clone(turns),
            speed: ClientSpeed::new(),
            events: Vec::new(),
        };
        let turns = Arc::clone(turns);
        self.tasks.spawn(async move {
            let run = async {
                let _turn = turns.next().await;
                work.run(scope, had_snapshot).await;
            };
            tokio::select! {
                biased;
                () = parts.closed() => {}
                () = run => {}
            }
        });
        received
    }
}

impl CatchUp {
    async fn run(mut self, scope: Scope, had_snapshot: bool) {
        match self.read(scope, had_snapshot).await {
            Ok(()) => self.store.read_outages().succeeded(),
            Err(CatchUpError::Database(error)) => {
                self.store.read_outages().failed("cannot read what a watch has missed", &error);
            }
            Err(
                error @ (CatchUpError::Client
                | CatchUpError::TooLong
                | CatchUpError::Slow
                | CatchUpError::Off),
            ) => {
                tracing::debug!(?error, "a stream of a watch ends while it catches up");
            }
        }
    }

    async fn read(&mut self, scope: Scope, had_snapshot: bool) -> Result<(), CatchUpError> {
        let mut follower = self.store.follower().await?;
        let displaced = follower.displaced();
        let mut snapshot = follower.snapshot().await?;
        let kept = snapshot.state().retention.filter(|kept| !kept.is_zero()).ok_or(CatchUpError::Off)?;
        let work = self.read_snapshot(&mut snapshot, scope, had_snapshot);
        let read = tokio::select! {
            biased;
            error = displaced => Err(CatchUpError::Database(error)),
            // The changes since the beginning of the snapshot must still be in the log when the stream joins the rounds.
            read = timeout(kept / 4, work) => read.unwrap_or(Err(CatchUpError::TooLong)),
        };
        if read.is_ok() {
            snapshot.end().await?;
            follower.close().await;
        }
        read
    }

    async fn flush_if_large(&mut self) -> Result<(), CatchUpError> {
        if self.events.len() < PART_BYTES { Ok(()) } else { self.flush().await }
    }

    /// Hands over the events, part by part. Fails if the client takes nothing for [`CLIENT_TIMEOUT`].
    async fn flush(&mut self) -> Result<(), CatchUpError> {
        let mut events = Bytes::from(std::mem::take(&mut self.events));
        while !events.is_empty() {
            // A copy, because the client's stream must not keep more than it is about to send.
            let part = Bytes::copy_from_slice(&events.split_to(events.len().min(PART_BYTES)));
            self.send(Part::Events(part)).await?;
        }
        Ok(())
    }

    /// Fails if the client takes nothing for [`CLIENT_TIMEOUT`], or reads slowly while others wait for their turn.
    async fn send(&mut self, part: Part) -> Result<(), CatchUpError> {
        let bytes = match &part {
            Part::Events(events) => events.len(),
            Part::Reset(_) | Part::Done(_) => 0,
        };
        let gives_way = CancellationToken::new();
        let taken = running::timeout(CLIENT_TIMEOUT, self.parts.send(part));
        let taken = self.speed.measure(bytes, taken, |is_slow| {
            if is_slow && self.turns.has_waiting() {
                gives_way.cancel();
            }
        });
        tokio::select! {
            biased;
            taken = taken => match taken {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(CatchUpError::Client),
            },
            () = gives_way.cancelled() => Err(CatchUpError::Slow),
        }
    }
}
