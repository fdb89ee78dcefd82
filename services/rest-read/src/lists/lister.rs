//! One connection for lists: opened when a page is asked for, kept while pages are, closed when they are not.

use std::sync::Arc;
use std::time::Duration;

use db::{Error, Range, Scanner, Snapshot, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::backoff::backoff;
use crate::cursor;
use crate::error::LookupError;
use crate::gets::health::State;
use crate::lists::page::Page;
use crate::metrics::Metrics;
use crate::pace::Pace;

/// How long a connection is kept for the next page.
const IDLE: Duration = Duration::from_secs(5);

/// One page: the first items of a range.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) range: Range,
    pub(crate) items_max: usize,
    pub(crate) deadline: Instant,
    pub(crate) reply: oneshot::Sender<Result<Vec<u8>, LookupError>>,
}

/// The receiving end of the queue, shared by the listers.
pub(crate) type Inlet = Arc<tokio::sync::Mutex<mpsc::Receiver<Ask>>>;

/// A task that reads pages for as long as they can be asked for.
#[derive(Debug)]
pub(crate) struct Lister {
    store: Store,
    inlet: Inlet,
    state: Arc<State>,
    metrics: Metrics,
    /// Not there while it is used: it comes back only if nothing went wrong.
    scanner: Option<Scanner>,
    pace: Pace,
}

impl Lister {
    pub(crate) fn new(store: Store, inlet: Inlet, state: Arc<State>, metrics: Metrics) -> Self {
        Self { store, inlet, state, metrics, scanner: None, pace: Pace::new() }
    }

    pub(crate) async fn run(mut self) {
        loop {
            let next = async { self.inlet.lock().await.recv().await };
            match timeout(IDLE, next).await {
                Ok(Some(ask)) => self.answer(ask).await,
                Ok(None) => break,
                Err(_) => self.close().await,
            }
        }
        self.close().await;
    }

    async fn close(&mut self) {
        if let Some(scanner) = self.scanner.take() {
            scanner.close().await;
        }
    }

    async fn answer(&mut self, ask: Ask) {
        let Ask { range, items_max, deadline, mut reply } = ask;
        let answer = tokio::select! {
            biased;
            // Nobody waits any more. A statement under way takes its connection along.
            () = reply.closed() => return,
            answer = timeout_at(deadline, self.page(&range, items_max)) => answer,
        };
        if let Ok(answer) = answer {
            // Who left meanwhile needs no answer.
            let _ = reply.send(answer);
        }
    }

    /// Tries until there is a page or a reason why there can be none. The first failure may be that of a connection which
    /// broke while nobody used it.
    async fn page(&mut self, range: &Range, items_max: usize) -> Result<Vec<u8>, LookupError> {
        let mut failures = 0;
        loop {
            sleep(backoff(failures)).await;
            let error = match self.read(range.clone(), items_max).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            failures += 1;
            match error {
                Error::Internal(_) => {
                    tracing::error!(%error, "cannot list");
                    return Err(LookupError::Internal);
                }
                // Said once, not with every attempt.
                _ if failures == 1 => tracing::warn!(%error, "cannot list, trying again"),
                _ => tracing::debug!(%error, failures, "still cannot list"),
            }
        }
    }

    /// Reads a page from a snapshot of its own, on the connection there is or a new one.
    async fn read(&mut self, range: Range, items_max: usize) -> Result<Vec<u8>, Error> {
        let mut scanner = match self.scanner.take() {
            Some(scanner) => scanner,
            None => self.store.scanner().await?,
        };
        let mut snapshot = scanner.snapshot().await?;
        let page = self.fill(&mut snapshot, range.clone(), items_max).await?;
        snapshot.end().await?;
        self.scanner = Some(scanner);
        let next = page.is_full().then(|| cursor::encode(range.prefix(), page.last()));
        Ok(page.finish(next.as_deref()))
    }

    /// Reads by statement after statement until the page is full or the range ends.
    async fn fill(
        &mut self,
        snapshot: &mut Snapshot<'_>,
        mut range: Range,
        items_max: usize,
    ) -> Result<Page, Error> {
        let mut page = Page::new(items_max);
        loop {
            let most = self.pace.rows(page.value_bytes_left()).min(page.rows_wanted());
            let sent = Instant::now();
            let read = snapshot.records(&range, most, |record| {
                self.pace.weigh(record.value.map_or(0, str::len));
                page.take(&record)
            });
            let read = read.await;
            self.metrics.scan(self.store.system(), sent.elapsed(), read.is_ok());
            let count = read?;
            self.state.selected();
            self.pace.grow();
            if page.is_full() || count < most {
                return Ok(page);
            }
            range.advance(page.last());
        }
    }
}
