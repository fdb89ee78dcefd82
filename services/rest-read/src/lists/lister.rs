//! A connection for lists: opened for a page, kept while more pages follow, closed when it is idle.

use std::sync::Arc;
use std::time::Duration;

use db::{DamagedRow, Error, Range, RowError, Scanner, Snapshot, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::cursor;
use crate::damage::DamageLog;
use crate::error::ReadError;
use crate::health::{Failures, Health};
use crate::lists::PageQuery;
use crate::lists::page::PageBuilder;
use crate::lists::turns::Turn;
use crate::metrics::Metrics;
use crate::pace::Pace;

/// How long an idle connection is kept for the next page.
const IDLE: Duration = Duration::from_secs(5);

/// The most rows of a statement that reads no values. With the longest keys the rows have half a megabyte.
const KEYS_PER_STATEMENT_MAX: usize = 1024;

/// A request for a page that waits in the queue.
#[derive(Debug)]
pub(crate) struct PageRequest {
    pub(crate) query: PageQuery,
    pub(crate) deadline: Instant,
    pub(crate) reply: oneshot::Sender<Result<Vec<u8>, ReadError>>,
    /// Kept until the page is read.
    pub(crate) turn: Turn,
}

/// The receiving end of the queue, shared by the listers.
pub(crate) type PageQueue = Arc<tokio::sync::Mutex<mpsc::Receiver<PageRequest>>>;

/// A task that reads pages until their queue is closed.
#[derive(Debug)]
pub(crate) struct ListerTask {
    store: Store,
    queue: PageQueue,
    health: Arc<Health>,
    metrics: Metrics,
    /// The idle connection. A page takes it out, and puts it back only if nothing went wrong.
    scanner: Option<Scanner>,
    pace: Pace,
    /// Damaged rows that lists met.
    damage: Arc<DamageLog>,
}

/// The result of one statement.
struct ReadRows {
    /// Whether the range ends with these rows.
    is_last: bool,
    /// The damaged row at which reading stopped.
    damaged: Option<DamagedRow>,
}

/// A page, or the damaged row that it would begin with.
enum FilledPage {
    Page(PageBuilder),
    Damaged(DamagedRow),
}

impl ListerTask {
    pub(crate) fn new(
        store: Store,
        queue: PageQueue,
        health: Arc<Health>,
        metrics: Metrics,
        damage: Arc<DamageLog>,
    ) -> Self {
        Self { store, queue, health, metrics, scanner: None, pace: Pace::new(), damage }
    }

    pub(crate) async fn run(mut self) {
        let idle = IDLE.min(self.store.idle_max());
        loop {
            let next = async { self.queue.lock().await.recv().await };
            match timeout(idle, next).await {
                Ok(Some(request)) => self.answer(request).await,
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

    async fn answer(&mut self, request: PageRequest) {
        let PageRequest { query, deadline, mut reply, turn: _turn } = request;
        let page = tokio::select! {
            biased;
            // The client has left. A statement under way is dropped with its connection.
            () = reply.closed() => return,
            page = timeout_at(deadline, self.page(&query)) => page,
        };
        if let Ok(page) = page {
            // A client that has left needs no reply.
            let _ = reply.send(page);
        }
    }

    /// Tries until there is a page, or a failure that no other attempt can repair. The first attempt may fail because the
    /// connection broke while it was idle.
    async fn page(&mut self, query: &PageQuery) -> Result<Vec<u8>, ReadError> {
        let mut failures = Failures::default();
        loop {
            failures.pause().await;
            match self.read(query.clone()).await {
                Ok(page) => {
                    self.store.read_outages().succeeded();
                    return page;
                }
                Err(error) => {
                    failures.add();
                    self.store.read_outages().failed("cannot list; trying again", &error);
                    self.health.lists.failed();
                    if matches!(error, Error::Internal(_)) {
                        return Err(ReadError::Internal);
                    }
                }
            }
        }
    }

    /// Reads a page from a snapshot of its own, on the idle connection or a new one.
    async fn read(&mut self, query: PageQuery) -> Result<Result<Vec<u8>, ReadError>, Error> {
        let mut scanner = match self.scanner.take() {
            Some(scanner) => scanner,
            None => self.store.scanner().await?,
        };
        let displaced = scanner.displaced();
        let mut snapshot = scanner.snapshot().await?;
        let prefix = query.range.prefix().to_owned();
        let filled = tokio::select! {
            biased;
            error = displaced => return Err(error),
            filled = self.fill(&mut snapshot, query) => filled?,
        };
        snapshot.end().await?;
        self.scanner = Some(scanner);
        let cursor = |key: &[u8]| cursor::encode(&prefix, key);
        Ok(match filled {
            FilledPage::Page(page) => {
                let next = page.is_full().then(|| cursor(page.last().as_bytes()));
                Ok(page.finish(next.as_deref()))
            }
            FilledPage::Damaged(row) => {
                let after = cursor(row.key());
                Err(ReadError::DamagedInList { row, after })
            }
        })
    }

    /// Sends one statement after another until the page is full or the range ends. A page ends before a damaged row.
    async fn fill(&mut self, snapshot: &mut Snapshot<'_>, mut query: PageQuery) -> Result<FilledPage, Error> {
        let mut page = PageBuilder::new(query.items_max);
        loop {
            let sent = Instant::now();
            let read = if query.with_values {
                self.read_records(snapshot, &query.range, &mut page).await
            } else {
                read_keys(snapshot, &query.range, &mut page).await
            };
            self.metrics.scan(self.store.system(), sent.elapsed(), read.is_ok());
            let ReadRows { is_last, damaged } = read?;
            self.health.lists.selected();
            if let Some(row) = damaged.filter(|_| page.is_empty()) {
                self.damage.add(&row);
                return Ok(FilledPage::Damaged(row));
            }
            if page.is_full() || is_last {
                return Ok(FilledPage::Page(page));
            }
            if !page.is_empty() {
                query.range.advance(page.last());
            }
        }
    }

    /// Sends one statement that reads rows with their values.
    async fn read_records(
        &mut self,
        snapshot: &mut Snapshot<'_>,
        range: &Range,
        page: &mut PageBuilder,
    ) -> Result<ReadRows, Error> {
        let bytes_left = page.value_bytes_left();
        let rows_max = self.pace.rows(bytes_left).min(page.rows_wanted());
        let (mut is_cut, mut damaged) = (false, None);
        let read = snapshot.records(range, rows_max, Pace::value_bytes_max(rows_max, bytes_left), |row| {
            let record = match row {
                Ok(record) => record,
                Err(RowError::LeftOut { bytes, .. }) => {
                    is_cut = true;
                    self.pace.weigh(bytes);
                    return page.postpone(bytes);
                }
                Err(RowError::Damaged(row)) => {
                    damaged = Some(row);
                    return page.end();
                }
            };
            self.pace.weigh(record.value.map_or(0, str::len));
            page.take(&record)
        });
        let rows = read.await?;
        self.pace.grow();
        Ok(ReadRows { is_last: rows < rows_max && !is_cut, damaged })
    }
}

/// Sends one statement that reads rows without their values. Such rows are small, so the statement asks for as many as the page wants.
async fn read_keys(
    snapshot: &mut Snapshot<'_>,
    range: &Range,
    page: &mut PageBuilder,
) -> Result<ReadRows, Error> {
    let rows_max = page.rows_wanted().min(KEYS_PER_STATEMENT_MAX);
    let mut damaged = None;
    let read = snapshot.keys(range, rows_max, |row| match row {
        Ok(record) => page.take_key(&record),
        Err(RowError::Damaged(row)) => {
            damaged = Some(row);
            page.end()
        }
        Err(RowError::LeftOut { .. }) => panic!("the statement reads no values, so it leaves none out"),
    });
    let rows = read.await?;
    Ok(ReadRows { is_last: rows < rows_max, damaged })
}
