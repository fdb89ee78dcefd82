//! One connection for reads: connect, take what waits, send one SELECT, answer each row as it comes.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use db::{Error, Key, Reader, Store};
use tokio::sync::MutexGuard;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::backoff::backoff;
use crate::gets::health::State;
use crate::gets::queue::{Inlet, SharedInlet};
use crate::gets::select::{Ask, Batch};
use crate::metrics::Metrics;

/// How long a connection may be idle before it is asked whether it still works: readiness must not be a guess,
/// and servers and firewalls close what is silent.
const IDLE: Duration = Duration::from_secs(5);
/// How long a SELECT keeps the other readers from taking what comes meanwhile, so that it goes out together in the next. It
/// takes longer only where pages come from a disk, values are large or the database has fallen silent.
const HOLD_BACK: Duration = Duration::from_millis(2);
/// A SELECT of keys in memory takes less than this and [`QUICK_PER_KEY`] for each key, on two busy cores.
const QUICK: Duration = Duration::from_micros(200);
const QUICK_PER_KEY: Duration = Duration::from_micros(40);

/// A task that reads for as long as its lookup exists. It owns its connection, so no SELECT is dropped half-way.
#[derive(Debug)]
pub(crate) struct ReadLoop {
    pub(crate) store: Store,
    pub(crate) inlet: SharedInlet,
    pub(crate) state: Arc<State>,
    pub(crate) metrics: Metrics,
    /// Cancelled when nobody can ask any more.
    pub(crate) gone: CancellationToken,
}

/// The right to take gets: kept from SELECT to SELECT, because a reader that goes on wakes nobody.
#[derive(Default)]
struct Turn<'a> {
    inlet: Option<MutexGuard<'a, Inlet>>,
    /// The last SELECT was not quick, so the next is sent beside those of others: pages come from a disk.
    shared: bool,
}

/// How a connection ended.
enum End {
    /// The lookup is gone.
    Done,
    /// It failed; these gets still wait for an answer.
    Lost(Vec<Ask>),
}

impl ReadLoop {
    pub(crate) async fn run(self) {
        let mut asks = Vec::new();
        let mut failures = 0;
        let gone = self.gone.clone();
        // Connecting is the bulk of this future: boxed, it takes no memory in between.
        while let Some(reader) = gone.run_until_cancelled(Box::pin(self.connect(&mut failures))).await {
            let connected = self.state.connection();
            match self.read(reader, asks, &mut failures).await {
                End::Done => return,
                End::Lost(lost) => asks = lost,
            }
            drop(connected);
        }
    }

    /// Tries until there is a connection, the first time at once and then ever more slowly.
    async fn connect(&self, failures: &mut u32) -> Reader {
        loop {
            sleep(backoff(*failures)).await;
            match self.store.reader().await {
                Ok(reader) => {
                    tracing::info!("database connected");
                    return reader;
                }
                Err(error) => self.failed(failures, &error),
            }
        }
    }

    /// Reads on one connection until it fails or the lookup is gone; `asks` first.
    async fn read(&self, mut reader: Reader, mut asks: Vec<Ask>, failures: &mut u32) -> End {
        let mut turn = Turn::default();
        loop {
            asks.retain(|ask| !ask.is_abandoned());
            if asks.is_empty() {
                match timeout(IDLE, self.take(&mut turn)).await {
                    Ok(Some(taken)) if taken.is_empty() => continue,
                    Ok(Some(taken)) => asks = taken,
                    Ok(None) => return End::Done,
                    Err(_) => {}
                }
            }
            let asked = std::mem::take(&mut asks);
            if let Err(lost) = self.select(&mut reader, asked, &mut turn, failures).await {
                return End::Lost(lost);
            }
        }
    }

    /// Waits for its turn, unless it has it, and takes the gets of the next SELECT; none once the lookup is gone.
    async fn take<'a>(&'a self, turn: &mut Turn<'a>) -> Option<Vec<Ask>> {
        let inlet = match &mut turn.inlet {
            Some(inlet) => inlet,
            none => none.insert(self.inlet.lock().await),
        };
        inlet.take().await
    }

    /// Sends one SELECT for `asks` (for nobody, if there are none) and answers them. The turn passes to another reader when it
    /// takes long. `Err` is who still waits for an answer when the connection failed.
    async fn select(
        &self,
        reader: &mut Reader,
        asks: Vec<Ask>,
        turn: &mut Turn<'_>,
        failures: &mut u32,
    ) -> Result<(), Vec<Ask>> {
        let sent = Instant::now();
        let count = asks.len();
        let (mut keys, mut batch) = Batch::new(asks, Arc::clone(&self.state.backlog));
        if keys.is_empty() {
            keys.push(probe());
        }
        if turn.shared {
            turn.inlet = None;
        }
        let result = {
            let mut read = pin!(reader.get(&keys, |entry| batch.row(&keys, entry)));
            if let Ok(result) = timeout(HOLD_BACK, &mut read).await {
                result
            } else {
                turn.inlet = None;
                read.await
            }
        };
        let took = sent.elapsed();
        let key_count = u32::try_from(keys.len()).expect("a SELECT has 128 keys at most");
        turn.shared = took > QUICK + QUICK_PER_KEY.saturating_mul(key_count);
        self.metrics.select(self.store.system(), count, took, result.is_ok());
        let Err(error) = result else {
            self.state.selected();
            *failures = 0;
            batch.finish();
            return Ok(());
        };
        self.failed(failures, &error);
        match error {
            Error::Unavailable(_) | Error::NotReady(_) | Error::Conflict(_) => Err(batch.retry()),
            Error::Internal(_) => {
                batch.fail();
                Err(Vec::new())
            }
        }
    }

    fn failed(&self, failures: &mut u32, error: &Error) {
        *failures = failures.saturating_add(1);
        self.state.troubled(error.to_string());
        match error {
            Error::Internal(_) => tracing::error!(%error, "cannot read"),
            // Said once, not with every attempt.
            _ if *failures == 1 => tracing::warn!(%error, "cannot read, trying again"),
            _ => tracing::debug!(%error, failures, "still cannot read"),
        }
    }
}

/// A key to ask for when only the connection is in question. Whether it exists makes no difference.
fn probe() -> Key {
    Key::new("probe".to_owned(), usize::MAX).expect("short, and not empty")
}
