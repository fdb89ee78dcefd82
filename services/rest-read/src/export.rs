//! Exports: all entries with a prefix as lines of JSON, read from one snapshot in constant memory, as fast as the client reads.

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
use crate::config::ReadLimits;
use crate::error::ReadError;
use crate::metrics::Metrics;
use crate::pace::Pace;

/// The bytes of lines after which a statement ends. Its remaining rows are left to the next statement.
const LINES_BYTES_MAX: usize = 256 * 1024;
/// The most bytes that are handed over at a time. Small, so that a slow client is seen to make progress within one long line.
const PART_BYTES_MAX: usize = 64 * 1024;
/// How long a client may read nothing. Its snapshot makes the database keep every overwritten row.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts exports, up to a limit at the same time.
#[derive(Debug, Clone)]
pub(crate) struct Exports {
    store: Store,
    /// One permit for each running export.
    permits: Arc<Semaphore>,
    permits_max: usize,
    /// Time for an export to begin.
    op_timeout: Duration,
    tasks: TaskTracker,
    metrics: Metrics,
}

/// The lines of an export that has begun. Dropping the stream ends the export.
#[derive(Debug)]
pub(crate) struct ExportStream {
    first: Option<Bytes>,
    rest: mpsc::Receiver<ExportPart>,
    /// The connection to reset if the export fails: HTTP/1.0 has no other sign of an incomplete body.
    reset_on_failure: Option<Arc<Peer>>,
}

/// A part of an export. Without [`ExportPart::End`] the export is incomplete.
#[derive(Debug)]
enum ExportPart {
    /// Bytes of lines. The first part is empty if the first rows are dead.
    Lines(Bytes),
    /// The export is complete.
    End,
    /// The export cannot be completed.
    Failed(ReadError),
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(transparent)]
    Database(#[from] Error),
    #[error("the client read nothing for {} s", CLIENT_TIMEOUT.as_secs())]
    Stalled,
    #[error("the client closed the connection")]
    Left,
}

/// The task of one export. It owns its database connection.
struct ExportTask {
    store: Store,
    metrics: Metrics,
    parts: mpsc::Sender<ExportPart>,
}

impl Exports {
    pub(crate) fn new(store: &Store, limits: &ReadLimits, tasks: &TaskTracker, metrics: &Metrics) -> Self {
        Self {
            store: store.clone(),
            permits: Arc::new(Semaphore::new(limits.exports_max)),
            permits_max: limits.exports_max,
            op_timeout: limits.op_timeout,
            tasks: tasks.clone(),
            metrics: metrics.clone(),
        }
    }

    /// A function that tells how many exports are running.
    pub(crate) fn count(&self) -> impl Fn() -> usize + Send + Sync + use<> {
        let (permits, permits_max) = (Arc::clone(&self.permits), self.permits_max);
        move || permits_max - permits.available_permits()
    }

    /// Begins an export of all keys with `prefix`, and returns once its first statement has been answered. `reset_on_failure` is
    /// the client's connection if only a reset can tell the client that the body is incomplete.
    pub(crate) async fn start(
        &self,
        prefix: String,
        reset_on_failure: Option<Arc<Peer>>,
    ) -> Result<ExportStream, ReadError> {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return Err(ReadError::TooManyExports(self.permits_max));
        };
        let (parts, mut rest) = mpsc::channel(1);
        let task = ExportTask { store: self.store.clone(), metrics: self.metrics.clone(), parts };
        self.tasks.spawn(task.run(Range::new(prefix), permit));
        match timeout(self.op_timeout, rest.recv()).await {
            Ok(Some(ExportPart::Lines(lines))) => {
                Ok(ExportStream { first: Some(lines), rest, reset_on_failure })
            }
            Ok(Some(ExportPart::Failed(error))) => Err(error),
            Ok(Some(ExportPart::End) | None) => Err(ReadError::Internal),
            Err(_) => Err(ReadError::Unavailable),
        }
    }
}

impl ExportStream {
    /// The body of the response. An export that ends early is an error of the body, so that the server breaks the body off and
    /// does not end it as if it were complete.
    pub(crate) fn into_body(self) -> Body {
        let parts = stream::try_unfold(Some(self), |stream| async {
            let Some(mut stream) = stream else { return Ok(None) };
            Ok(stream.next().await?.map(|part| (part, Some(stream))))
        });
        Body::from_bytes_stream::<_, Bytes, io::Error>(parts)
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        match self.rest.recv().await {
            Some(ExportPart::Lines(lines)) => Ok(Some(lines)),
            Some(ExportPart::End) => Ok(None),
            Some(ExportPart::Failed(_)) | None => {
                if let Some(peer) = &self.reset_on_failure {
                    peer.reset();
                }
                Err(io::Error::other("the export ended early"))
            }
        }
    }
}

impl ExportError {
    fn log(&self) {
        let error = self;
        match error {
            Self::Database(Error::Internal(_)) => tracing::error!(%error, "an export ended early"),
            Self::Database(
                Error::Unavailable(_) | Error::Refused(_) | Error::NotReady(_) | Error::Conflict(_),
            )
            | Self::Stalled => {
                tracing::warn!(%error, "an export ended early");
            }
            Self::Left => tracing::debug!(%error, "an export ended early"),
        }
    }
}

impl ExportTask {
    async fn run(self, range: Range, permit: OwnedSemaphorePermit) {
        let outcome = tokio::select! {
            biased;
            // The client has left. A statement under way is dropped with its connection.
            () = self.parts.closed() => Err(ExportError::Left),
            outcome = self.export(range) => outcome,
        };
        // The permit is free before the client can know that this export has ended.
        drop(permit);
        let last = match outcome {
            Ok(()) => ExportPart::End,
            Err(error) => {
                error.log();
                match error {
                    ExportError::Database(Error::Internal(_)) => ExportPart::Failed(ReadError::Internal),
                    ExportError::Database(
                        Error::Unavailable(_) | Error::Refused(_) | Error::NotReady(_) | Error::Conflict(_),
                    ) => ExportPart::Failed(ReadError::Unavailable),
                    // A client that reads on after all finds the body broken off.
                    ExportError::Stalled | ExportError::Left => return,
                }
            }
        };
        // A client that has left needs no end.
        let _ = timeout(CLIENT_TIMEOUT, self.parts.send(last)).await;
    }

    /// Hands over all lines of `range`, then ends the snapshot and closes the connection.
    async fn export(&self, range: Range) -> Result<(), ExportError> {
        let mut scanner = self.store.scanner().await?;
        let mut snapshot = scanner.snapshot().await?;
        let read = self.read(&mut snapshot, range).await;
        if read.is_ok() {
            snapshot.end().await?;
        }
        if !matches!(read, Err(ExportError::Database(_))) {
            scanner.close().await;
        }
        read
    }

    async fn read(&self, snapshot: &mut Snapshot<'_>, mut range: Range) -> Result<(), ExportError> {
        let (mut pace, mut last, mut is_first) = (Pace::new(), String::new(), true);
        loop {
            let (mut lines, mut flow) = (Vec::new(), ControlFlow::Continue(()));
            let rows_max = pace.rows(LINES_BYTES_MAX);
            let sent = Instant::now();
            let read = snapshot.records(&range, rows_max, |record| {
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
            let is_last = read? < rows_max && flow.is_continue();
            pace.grow();
            self.hand_over(lines.into(), std::mem::take(&mut is_first)).await?;
            if is_last {
                return Ok(());
            }
            range.advance(&last);
        }
    }

    /// Hands over `lines`, part by part, and waits for the client before each. The first time, also empty lines are a part.
    async fn hand_over(&self, mut lines: Bytes, is_first: bool) -> Result<(), ExportError> {
        let mut is_due = is_first || !lines.is_empty();
        while is_due {
            let part = lines.split_to(lines.len().min(PART_BYTES_MAX));
            let taken = timeout(CLIENT_TIMEOUT, self.parts.send(ExportPart::Lines(part))).await;
            taken.map_err(|_| ExportError::Stalled)?.map_err(|_| ExportError::Left)?;
            is_due = !lines.is_empty();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
