//! Reads for one stream what the rounds do not bring: all that it watches, or all that has changed since its position.

mod pass;
mod reading;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chassis::running;
use db::{Error, Store};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::damage::DamageLog;
use crate::watch::position::{Position, ResetReason};
use crate::watch::watcher::Watcher;

/// How long a client may take nothing while a database snapshot is kept open for it.
pub(crate) const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// About how many bytes a part of a snapshot has. The client's stream and the task have one each.
const PART_BYTES: usize = 64 * 1024;

/// The most keys that are sent one by one to a stream that has not had a snapshot yet. More keys are a reset.
const KEYS_MAX: usize = 100_000;

/// Starts and resumes streams, a few at a time: each keeps a snapshot of the database open.
#[derive(Debug)]
pub(crate) struct CatchUps {
    store: Store,
    tasks: TaskTracker,
    permits: Arc<Semaphore>,
    damage: Arc<DamageLog>,
}

/// What to read.
#[derive(Debug, Clone)]
pub(crate) enum Begin {
    /// Everything that is there.
    Snapshot,
    /// Nothing but where the log is now.
    Now,
    /// What has changed since a position.
    After(Arc<Position>),
}

/// What the stream gets.
#[derive(Debug)]
pub(crate) enum Part {
    /// Events to send.
    Events(Bytes),
    /// What the client knows is void. A snapshot follows.
    Reset(ResetReason),
    /// All is sent, up to this position. The last part.
    Done(Arc<Position>),
}

/// The work for one stream.
struct CatchUp {
    store: Store,
    damage: Arc<DamageLog>,
    watcher: Arc<Watcher>,
    parts: mpsc::Sender<Part>,
    events: Vec<u8>,
}

/// Why the work ended early. The stream ends, and its client comes back.
#[derive(Debug)]
enum CatchUpError {
    Database(Error),
    /// The client has left, or takes nothing.
    Client,
    /// The snapshot took too long.
    TooLong,
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
            permits: Arc::new(Semaphore::new(snapshots_max)),
            damage: Arc::new(DamageLog::new("watch")),
        }
    }

    /// Begins to read for `watcher`. `had_snapshot`: the stream has had a snapshot, and is not reset for too many keys again. Without a
    /// last [`Part::Done`] the work has failed. Dropping the receiver ends the work.
    pub(crate) fn start(
        &self,
        watcher: &Arc<Watcher>,
        begin: Begin,
        had_snapshot: bool,
    ) -> mpsc::Receiver<Part> {
        let (parts, received) = mpsc::channel(1);
        let work = CatchUp {
            store: self.store.clone(),
            damage: Arc::clone(&self.damage),
            watcher: Arc::clone(watcher),
            parts: parts.clone(),
            events: Vec::new(),
        };
        let permits = Arc::clone(&self.permits);
        self.tasks.spawn(async move {
            let run = async {
                let _permit = permits.acquire_owned().await.expect("the semaphore is never closed");
                work.run(begin, had_snapshot).await;
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
    async fn run(mut self, begin: Begin, had_snapshot: bool) {
        match self.read(begin, had_snapshot).await {
            Ok(()) => self.store.read_outages().succeeded(),
            Err(CatchUpError::Database(error)) => {
                self.store.read_outages().failed("cannot read for a watch", &error);
            }
            Err(error @ (CatchUpError::Client | CatchUpError::TooLong | CatchUpError::Off)) => {
                tracing::debug!(?error, "a watch ends");
            }
        }
    }

    async fn read(&mut self, begin: Begin, had_snapshot: bool) -> Result<(), CatchUpError> {
        let mut follower = self.store.follower().await?;
        let displaced = follower.displaced();
        let mut snapshot = follower.snapshot().await?;
        let kept = snapshot.state().retention.filter(|kept| !kept.is_zero()).ok_or(CatchUpError::Off)?;
        let work = self.read_snapshot(&mut snapshot, begin, had_snapshot);
        let read = tokio::select! {
            biased;
            error = displaced => Err(CatchUpError::Database(error)),
            // A snapshot that takes longer could not be followed by what has changed meanwhile.
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

    /// Hands over the events, part by part. A client that takes nothing for [`CLIENT_TIMEOUT`] is given up.
    async fn flush(&mut self) -> Result<(), CatchUpError> {
        let mut events = Bytes::from(std::mem::take(&mut self.events));
        while !events.is_empty() {
            // A copy, because the client's stream must not keep more than it is about to send.
            let part = Bytes::copy_from_slice(&events.split_to(events.len().min(PART_BYTES)));
            self.send(Part::Events(part)).await?;
        }
        Ok(())
    }

    async fn send(&self, part: Part) -> Result<(), CatchUpError> {
        match running::timeout(CLIENT_TIMEOUT, self.parts.send(part)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(CatchUpError::Client),
        }
    }
}
