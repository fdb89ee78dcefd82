//! Exports: all entries with a prefix as lines of JSON, read from one snapshot in constant memory, as fast as the client reads.

mod error;
mod permits;

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chassis::peer::Peer;
use chassis::running;
use chassis::telemetry::LogLimit;
use db::{Error, Range, RowError, Snapshot, Store};
use futures_util::stream;
use poem::Body;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use self::error::ExportError;
use self::permits::{Permit, Permits};
use crate::body;
use crate::client_speed::ClientSpeed;
use crate::config::ReadLimits;
use crate::damage::DamageLog;
use crate::error::ReadError;
use crate::metrics::Metrics;
use crate::owner::Owner;
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
    permits: Permits,
    permits_max: usize,
    /// Time for an export to begin.
    op_timeout: Duration,
    tasks: TaskTracker,
    metrics: Metrics,
    /// Limits the log lines about exports that end early.
    log: Arc<LogLimit>,
    /// Damaged rows that exports met.
    damage: Arc<DamageLog>,
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

/// The task of one export. It owns its database connection.
struct ExportTask {
    store: Store,
    metrics: Metrics,
    log: Arc<LogLimit>,
    damage: Arc<DamageLog>,
    parts: mpsc::Sender<ExportPart>,
    permits_max: usize,
}

impl Exports {
    pub(crate) fn new(store: &Store, limits: &ReadLimits, tasks: &TaskTracker, metrics: &Metrics) -> Self {
        Self {
            store: store.clone(),
            permits: Permits::new(limits.exports_max),
            permits_max: limits.exports_max,
            op_timeout: limits.op_timeout,
            tasks: tasks.clone(),
            metrics: metrics.clone(),
            log: Arc::default(),
            damage: Arc::new(DamageLog::new("export")),
        }
    }

    /// A function that tells how many exports are running.
    pub(crate) fn count(&self) -> impl Fn() -> usize + Send + Sync + use<> {
        let permits = self.permits.clone();
        move || permits.used()
    }

    /// Begins an export of all keys with `prefix` for `owner`, and returns once its first statement has been answered.
    /// `reset_on_failure` is the client's connection if only a reset can tell the client that the body is incomplete.
    pub(crate) async fn start(
        &self,
        prefix: String,
        owner: Owner,
        reset_on_failure: Option<Arc<Peer>>,
    ) -> Result<ExportStream, ReadError> {
        let permit = timeout(self.op_timeout, self.permits.acquire(owner)).await.unwrap_or(None);
        let permit = permit.ok_or(ReadError::TooManyExports(self.permits_max))?;
        let (parts, mut rest) = mpsc::channel(1);
        let task = ExportTask {
            store: self.store.clone(),
            metrics: self.metrics.clone(),
            log: Arc::clone(&self.log),
            damage: Arc::clone(&self.damage),
            parts,
            permits_max: self.permits_max,
        };
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

impl ExportTask {
    async fn run(self, range: Range, permit: Permit) {
        let outcome = tokio::select! {
            biased;
            // The client has left. A statement under way is dropped with its connection.
            () = self.parts.closed() => Err(ExportError::Left),
            () = permit.displaced() => Err(ExportError::Displaced),
            outcome = self.export(range, &permit) => outcome,
        };
        // The permit is free before the client can know that this export has ended.
        drop(permit);
        let last = match outcome {
            Ok(()) => ExportPart::End,
            Err(error) => {
                error.log(&self.log, &self.damage);
                match error {
                    ExportError::Database(Error::Internal(_)) => ExportPart::Failed(ReadError::Internal),
                    ExportError::Database(
                        Error::Unavailable(_) | Error::Refused(_) | Error::NotReady(_) | Error::Conflict(_),
                    ) => ExportPart::Failed(ReadError::Unavailable),
                    ExportError::Displaced => ExportPart::Failed(ReadError::TooManyExports(self.permits_max)),
                    ExportError::Damaged(row) => ExportPart::Failed(ReadError::Damaged(row)),
                    // A client that reads on after all finds the body broken off.
                    ExportError::Stalled | ExportError::Left => return,
                }
            }
        };
        // A client that has left needs no end.
        let _ = running::timeout(CLIENT_TIMEOUT, self.parts.send(last)).await;
    }

    /// Hands over all lines of `range`, then ends the snapshot and closes the connection.
    async fn export(&self, range: Range, permit: &Permit) -> Result<(), ExportError> {
        let mut scanner = self.store.scanner().await?;
        let displaced = scanner.displaced();
        let mut snapshot = scanner.snapshot().await?;
        let read = tokio::select! {
            biased;
            error = displaced => Err(ExportError::Database(error)),
            read = self.read(&mut snapshot, range, permit) => read,
        };
        if matches!(read, Ok(()) | Err(ExportError::Damaged(_))) {
            snapshot.end().await?;
        }
        if !matches!(read, Err(ExportError::Database(_))) {
            scanner.close().await;
        }
        read
    }

    async fn read(
        &self,
        snapshot: &mut Snapshot<'_>,
        mut range: Range,
        permit: &Permit,
    ) -> Result<(), ExportError> {
        let (mut pace, mut last, mut is_first) = (Pace::new(), String::new(), true);
        let mut speed = ClientSpeed::new();
        loop {
            let (mut lines, mut flow, mut damaged) = (Vec::new(), ControlFlow::Continue(()), None);
            let rows_max = pace.rows(LINES_BYTES_MAX);
            let value_bytes_max = Pace::value_bytes_max(rows_max, LINES_BYTES_MAX);
            let sent = Instant::now();
            let read = snapshot.records(&range, rows_max, value_bytes_max, |row| {
                let record = match row {
                    Ok(record) => record,
                    Err(error) => {
                        match error {
                            RowError::LeftOut { bytes, .. } => pace.weigh(bytes),
                            RowError::Damaged(row) => damaged = Some(row),
                        }
                        flow = ControlFlow::Break(());
                        return flow;
                    }
                };
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
            if let Some(row) = damaged {
                return Err(ExportError::Damaged(row));
            }
            pace.grow();
            self.hand_over(lines.into(), std::mem::take(&mut is_first), &mut speed, permit).await?;
            if is_last {
                return Ok(());
            }
            if !last.is_empty() {
                range.advance(&last);
            }
        }
    }

    /// Hands over `lines`, part by part, and waits for the client before each part. Only the first part of an export may be empty.
    async fn hand_over(
        &self,
        mut lines: Bytes,
        is_first: bool,
        speed: &mut ClientSpeed,
        permit: &Permit,
    ) -> Result<(), ExportError> {
        let mut is_due = is_first || !lines.is_empty();
        while is_due {
            let part = lines.split_to(lines.len().min(PART_BYTES_MAX));
            let bytes = part.len();
            let taken = running::timeout(CLIENT_TIMEOUT, self.parts.send(ExportPart::Lines(part)));
            let taken = speed.measure(bytes, taken, |is_slow| permit.set_slow(is_slow)).await;
            taken.map_err(|_| ExportError::Stalled)?.map_err(|_| ExportError::Left)?;
            is_due = !lines.is_empty();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
