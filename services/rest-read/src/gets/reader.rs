//! A connection for gets: takes the waiting gets, sends one SELECT, and answers each row as it comes.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use db::{Error, Key, Reader, RowError, Store};
use tokio::sync::MutexGuard;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::gets::queue::{GetQueue, GetReturner, SharedGetQueue, Taken};
use crate::gets::select::{Get, Select};
use crate::health::{Failures, GetKind, Health};
use crate::metrics::Metrics;

/// How long a connection may be idle before a SELECT checks it: readiness must not be a guess, and servers and firewalls
/// close silent connections.
const IDLE: Duration = Duration::from_secs(5);
/// How long a reader keeps the queue locked during its SELECT, so that the gets that arrive meanwhile share the next one. A
/// SELECT takes longer only where pages come from a disk, values are large or the database does not answer.
const LOCKED_MAX: Duration = Duration::from_millis(2);
/// A SELECT of keys in memory takes less than this and [`QUICK_PER_KEY`] for each key, on two busy cores.
const QUICK: Duration = Duration::from_micros(200);
const QUICK_PER_KEY: Duration = Duration::from_micros(40);

/// A task that reads until the queue of gets is closed. It owns its connection, so no SELECT is dropped half-way.
#[derive(Debug)]
pub(crate) struct ReaderTask {
    pub(crate) store: Store,
    pub(crate) queue: SharedGetQueue,
    /// Gives the gets of a failed SELECT to the readers that have a connection.
    pub(crate) returner: GetReturner,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Metrics,
    /// Cancelled when no more gets can come.
    pub(crate) closed: CancellationToken,
}

/// The lock of the queue. A reader keeps it after a SELECT and takes the next gets itself: to wake
/// another reader takes time.
#[derive(Default)]
struct QueueLock<'a> {
    guard: Option<MutexGuard<'a, GetQueue>>,
    /// The last SELECT was slow, so pages come from a disk: the next one is sent beside those of other readers.
    is_shared: bool,
}

/// Why a reader stops using a connection.
enum ConnectionEnd {
    /// The queue of gets is closed.
    Closed,
    /// The connection failed.
    Failed,
}

impl ReaderTask {
    pub(crate) async fn run(self) {
        let mut failures = Failures::default();
        let closed = self.closed.clone();
        // Connecting is the bulk of this future: boxed, it takes no memory afterwards.
        while let Some(reader) = closed.run_until_cancelled(Box::pin(self.connect(&mut failures))).await {
            let connected = self.health.connection();
            match self.read(reader, &mut failures).await {
                ConnectionEnd::Closed => return,
                ConnectionEnd::Failed => {}
            }
            drop(connected);
        }
    }

    /// Tries until there is a connection.
    async fn connect(&self, failures: &mut Failures) -> Reader {
        loop {
            failures.pause().await;
            match self.store.reader().await {
                Ok(reader) => {
                    self.store.read_outages().connected();
                    return reader;
                }
                Err(error) => self.failed(failures, &error),
            }
        }
    }

    /// Reads on one connection until it fails or the queue is closed.
    async fn read(&self, mut reader: Reader, failures: &mut Failures) -> ConnectionEnd {
        let mut lock = QueueLock::default();
        let idle = IDLE.min(self.store.idle_max());
        loop {
            let (gets, permit) = match timeout(idle, self.take(&mut lock)).await {
                Ok(Some(taken)) if taken.gets.is_empty() => continue,
                Ok(Some(taken)) => (taken.gets, taken.permit),
                Ok(None) => return ConnectionEnd::Closed,
                Err(_) => (Vec::new(), None),
            };
            let selected = self.select(&mut reader, gets, &mut lock, failures).await;
            // First the permit: the next reader may need it for these very gets.
            drop(permit);
            if let Err(unanswered) = selected {
                self.returner.give_back(unanswered);
                return ConnectionEnd::Failed;
            }
        }
    }

    /// Locks the queue, unless this reader has locked it already, and takes the gets of the next SELECT. `None` once the queue
    /// is closed.
    async fn take<'a>(&'a self, lock: &mut QueueLock<'a>) -> Option<Taken> {
        let queue = match &mut lock.guard {
            Some(guard) => guard,
            none => none.insert(self.queue.lock().await),
        };
        queue.take().await
    }

    /// Sends one SELECT for `gets` and answers them; without gets it only checks the connection. Unlocks the queue if the SELECT
    /// takes long. The error is the gets that still wait for a reply when the connection has failed.
    async fn select(
        &self,
        reader: &mut Reader,
        gets: Vec<Get>,
        lock: &mut QueueLock<'_>,
        failures: &mut Failures,
    ) -> Result<(), Vec<Get>> {
        let sent = Instant::now();
        let count = gets.len();
        let kind = gets.first().map_or(GetKind::Single, Get::kind);
        let (mut keys, mut select) = Select::new(gets, Arc::clone(&self.health.of(kind).backlog));
        let value_bytes_max = select.value_bytes_max(&keys);
        if keys.is_empty() {
            keys.push(probe());
        }
        if lock.is_shared {
            lock.guard = None;
        }
        let result = {
            let on_row = |row| {
                if let Err(RowError::Damaged(row)) = &row {
                    self.health.damage.add(row);
                }
                select.row(&keys, row)
            };
            let mut read = pin!(reader.get(&keys, value_bytes_max, on_row));
            if let Ok(result) = timeout(LOCKED_MAX, &mut read).await {
                result
            } else {
                lock.guard = None;
                read.await
            }
        };
        let took = sent.elapsed();
        let key_count = u32::try_from(keys.len()).expect("a SELECT has 128 keys at most");
        lock.is_shared = took > QUICK + QUICK_PER_KEY.saturating_mul(key_count);
        self.metrics.select(self.store.system(), count, took, result.is_ok());
        let Err(error) = result else {
            // A check of an idle connection says nothing about the SELECTs that gets wait for.
            if count > 0 {
                self.health.selected();
            }
            failures.clear();
            self.store.read_outages().succeeded();
            select.finish();
            return Ok(());
        };
        self.failed(failures, &error);
        match error {
            Error::Unavailable(_) | Error::Refused(_) | Error::NotReady(_) | Error::Conflict(_) => {
                Err(select.retry())
            }
            Error::Internal(_) => {
                select.fail();
                Err(Vec::new())
            }
        }
    }

    fn failed(&self, failures: &mut Failures, error: &Error) {
        self.health.record_error(error.to_string());
        failures.add();
        self.store.read_outages().failed("cannot read; trying again", error);
    }
}

/// The key that checks a connection. It makes no difference whether the key exists.
fn probe() -> Key {
    Key::new("probe".to_owned(), usize::MAX).expect("the key is short and not empty")
}
