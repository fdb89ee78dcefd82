//! Exports: everything with a prefix as lines of JSON, from one snapshot, in constant memory, as fast as the client reads.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chassis::peer::Peer;
use db::{Error, Range, Snapshot, Store};
use futures_util::stream;
use poem::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::body;
use crate::config::Limits;
use crate::error::LookupError;
use crate::metrics::Metrics;
use crate::pace::Pace;

/// The bytes of lines a statement may bring before the rest of its rows is left to the next one.
const LINES_BYTES_MAX: usize = 256 * 1024;
/// What a client takes at a time: small, so that a slow one is seen to move even where a single line has megabytes.
const PART_BYTES_MAX: usize = 64 * 1024;
/// How long a client may take nothing. Its snapshot makes the database keep what is overwritten.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where exports are started.
#[derive(Debug, Clone)]
pub(crate) struct Exports {
    store: Store,
    /// One per export under way.
    places: Arc<Semaphore>,
    places_max: usize,
    /// Time until an export has begun or is refused.
    op_timeout: Duration,
    tasks: TaskTracker,
    metrics: Metrics,
}

/// An export that has begun. Dropping it ends the export.
#[derive(Debug)]
pub(crate) struct Lines {
    first: Option<Bytes>,
    rest: mpsc::Receiver<Part>,
    /// The connection, if its version of HTTP has no other way to say that a body is incomplete than to break.
    only_breaks: Option<Arc<Peer>>,
}

/// What an export hands over, one after another. If it ends without [`Part::End`], it is incomplete.
#[derive(Debug)]
enum Part {
    /// Some bytes of lines; none at first if the first rows are dead.
    Lines(Bytes),
    /// All of it was read.
    End,
    /// No more can be read.
    Failed(LookupError),
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error(transparent)]
    Database(#[from] Error),
    #[error("its client took nothing for {} s", CLIENT_TIMEOUT.as_secs())]
    Stalled,
    #[error("its client left")]
    Left,
}

/// The task of an export. It owns its connection.
struct Export {
    store: Store,
    metrics: Metrics,
    parts: mpsc::Sender<Part>,
}

impl Exports {
    pub(crate) fn new(store: &Store, limits: &Limits, tasks: &TaskTracker, metrics: &Metrics) -> Self {
        Self {
            store: store.clone(),
            places: Arc::new(Semaphore::new(limits.exports_max)),
            places_max: limits.exports_max,
            op_timeout: limits.op_timeout,
            tasks: tasks.clone(),
            metrics: metrics.clone(),
        }
    }

    /// Exports under way, as a question that can be asked at any time.
    pub(crate) fn count(&self) -> impl Fn() -> usize + Send + Sync + use<> {
        let (places, places_max) = (Arc::clone(&self.places), self.places_max);
        move || places_max - places.available_permits()
    }

    /// Begins an export of all keys with `prefix`: its first statement has been answered, or it is refused.
    /// `only_breaks` is the connection, if the end of a body is nothing but its own end.
    pub(crate) async fn start(
        &self,
        prefix: String,
        only_breaks: Option<Arc<Peer>>,
    ) -> Result<Lines, LookupError> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(LookupError::ExportsMax(self.places_max));
        };
        let (parts, mut rest) = mpsc::channel(1);
        let export = Export { store: self.store.clone(), metrics: self.metrics.clone(), parts };
        self.tasks.spawn(export.run(Range::new(prefix), place));
        match timeout(self.op_timeout, rest.recv()).await {
            Ok(Some(Part::Lines(lines))) => Ok(Lines { first: Some(lines), rest, only_breaks }),
            Ok(Some(Part::Failed(error))) => Err(error),
            Ok(Some(Part::End) | None) => Err(LookupError::Internal),
            Err(_) => Err(LookupError::Unavailable),
        }
    }
}

impl Lines {
    /// The body of the response. An export that ends early is an error of the body, so that the server breaks the
    /// connection off instead of ending the body as if it were complete.
    pub(crate) fn into_body(self) -> Body {
        let parts = stream::try_unfold(Some(self), |lines| async {
            let Some(mut lines) = lines else { return Ok(None) };
            Ok(lines.next().await?.map(|part| (part, Some(lines))))
        });
        Body::from_bytes_stream::<_, Bytes, io::Error>(parts)
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        match self.rest.recv().await {
            Some(Part::Lines(lines)) => Ok(Some(lines)),
            Some(Part::End) => Ok(None),
            Some(Part::Failed(_)) | None => {
                if let Some(peer) = &self.only_breaks {
                    peer.reset();
                }
                Err(io::Error::other("the export ended early"))
            }
        }
    }
}

impl Cut {
    fn log(&self) {
        let cut = self;
        match cut {
            Self::Database(Error::Internal(_)) => tracing::error!(%cut, "an export ended early"),
            Self::Database(_) | Self::Stalled => tracing::warn!(%cut, "an export ended early"),
            Self::Left => tracing::debug!(%cut, "an export ended early"),
        }
    }
}

impl Export {
    async fn run(self, range: Range, place: OwnedSemaphorePermit) {
        let outcome = tokio::select! {
            biased;
            // A statement under way takes its connection along.
            () = self.parts.closed() => Err(Cut::Left),
            outcome = self.export(range) => outcome,
        };
        // Free before the client can know that this one is over.
        drop(place);
        let last = match outcome {
            Ok(()) => Part::End,
            Err(cut) => {
                cut.log();
                match cut {
                    Cut::Database(Error::Internal(_)) => Part::Failed(LookupError::Internal),
                    Cut::Database(_) => Part::Failed(LookupError::Unavailable),
                    // What the client takes after all it finds broken off.
                    Cut::Stalled | Cut::Left => return,
                }
            }
        };
        // Who left needs no end.
        let _ = timeout(CLIENT_TIMEOUT, self.parts.send(last)).await;
    }

    /// Hands over all lines of `range`, and gives the snapshot and the connection back.
    async fn export(&self, range: Range) -> Result<(), Cut> {
        let mut scanner = self.store.scanner().await?;
        let mut snapshot = scanner.snapshot().await?;
        let read = self.read(&mut snapshot, range).await;
        if read.is_ok() {
            snapshot.end().await?;
        }
        if !matches!(read, Err(Cut::Database(_))) {
            scanner.close().await;
        }
        read
    }

    async fn read(&self, snapshot: &mut Snapshot<'_>, mut range: Range) -> Result<(), Cut> {
        let (mut pace, mut last, mut is_first) = (Pace::new(), String::new(), true);
        loop {
            let (mut lines, mut flow) = (Vec::new(), ControlFlow::Continue(()));
            let most = pace.rows(LINES_BYTES_MAX);
            let sent = Instant::now();
            let read = snapshot.records(&range, most, |record| {
                let before = lines.len();
                if let Some(value) = record.value {
                    body::line(&mut lines, record.key, value, record.expires_at);
                }
                pace.weigh(lines.len() - before);
                last.clear();
                last.push_str(record.key);
                if lines.len() >= LINES_BYTES_MAX {
                    flow = ControlFlow::Break(());
                }
                flow
            });
            let read = read.await;
            self.metrics.scan(self.store.system(), sent.elapsed(), read.is_ok());
            let is_last = read? < most && flow.is_continue();
            pace.grow();
            self.hand_over(lines.into(), std::mem::take(&mut is_first)).await?;
            if is_last {
                return Ok(());
            }
            range.advance(&last);
        }
    }

    /// Waits until the client has taken `lines`, all but the last part. The first time there is a part in any case.
    async fn hand_over(&self, mut lines: Bytes, is_first: bool) -> Result<(), Cut> {
        let mut is_due = is_first || !lines.is_empty();
        while is_due {
            let part = lines.split_to(lines.len().min(PART_BYTES_MAX));
            let taken = timeout(CLIENT_TIMEOUT, self.parts.send(Part::Lines(part))).await;
            taken.map_err(|_| Cut::Stalled)?.map_err(|_| Cut::Left)?;
            is_due = !lines.is_empty();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
