//! The queue of gets: what waits together is read by one SELECT.

pub(crate) mod reader;
pub(crate) mod select;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use db::{Key, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::backlog::{Backlog, Charge};
use crate::error::LookupError;
use crate::gets::reader::ReadLoop;
use crate::gets::select::{Answer, Ask, Read};
use crate::metrics::Metrics;

/// The limits of the read side.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections, each with one SELECT under way at most.
    pub readers: usize,
    /// Keys of one SELECT; at most 128.
    pub select_keys_max: usize,
    /// Keys that wait for a SELECT; a get over it is refused.
    pub queue_keys_max: usize,
    /// Time from asking to answering.
    pub op_timeout: Duration,
    /// Bytes of answers that wait to be written to clients: of small ones, of large ones, and the same for pages of lists.
    pub backlog_bytes_max: usize,
    /// Bytes of a key.
    pub key_bytes_max: usize,
    /// Connections for lists, each with one page under way at most.
    pub listers: usize,
    /// Lists that wait for a connection; one over it is refused.
    pub queue_lists_max: usize,
    /// Exports at a time; one over it is refused.
    pub exports_max: usize,
}

/// Where gets are asked. When the last clone is dropped, the readers end.
#[derive(Debug, Clone)]
pub(crate) struct Lookup {
    /// Gets of one key.
    single: mpsc::UnboundedSender<Ask>,
    /// Gets of more, which would keep those of one waiting.
    many: mpsc::UnboundedSender<Ask>,
    state: Arc<State>,
    op_timeout: Duration,
    queue_keys_max: usize,
    _gone: Arc<DropGuard>,
}

/// What a lookup and its readers know of each other. Outlives neither.
#[derive(Debug)]
pub(crate) struct State {
    /// Keys in the queue.
    waiting: AtomicUsize,
    /// Readers that have a connection.
    connected: AtomicUsize,
    /// SELECTs that succeeded, those of lists included.
    selects: AtomicU64,
    /// Found values not written yet.
    pub(crate) backlog: Arc<Backlog>,
    /// Why a reader last had no connection.
    trouble: Mutex<String>,
}

/// The receiving end of the queue, shared by the readers.
#[derive(Debug)]
pub(crate) struct Inlet {
    single: mpsc::UnboundedReceiver<Ask>,
    many: mpsc::UnboundedReceiver<Ask>,
    /// Taken from the queue, but for the next SELECT.
    next: Option<Ask>,
    state: Arc<State>,
    select_keys_max: usize,
}

impl Lookup {
    /// A lookup without readers, the end its gets come out of, and a token that is cancelled when it is gone.
    pub(crate) fn new(limits: &Limits) -> (Self, Inlet, CancellationToken) {
        let ((single, singles), (many, manies)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let state = Arc::new(State::new(limits.backlog_bytes_max));
        let select_keys_max = limits.select_keys_max;
        let inlet =
            Inlet { single: singles, many: manies, next: None, state: Arc::clone(&state), select_keys_max };
        let gone = CancellationToken::new();
        let lookup = Self {
            single,
            many,
            state,
            op_timeout: limits.op_timeout,
            queue_keys_max: limits.queue_keys_max,
            _gone: Arc::new(gone.clone().drop_guard()),
        };
        (lookup, inlet, gone)
    }

    /// A lookup with its readers on `tasks`. The database may be away: gets wait for it until their deadline.
    pub(crate) fn start(store: &Store, limits: &Limits, tasks: &TaskTracker, metrics: &Metrics) -> Self {
        let (lookup, inlet, gone) = Self::new(limits);
        let inlet = Arc::new(tokio::sync::Mutex::new(inlet));
        for _ in 0..limits.readers {
            let (store, inlet, metrics) = (store.clone(), Arc::clone(&inlet), metrics.clone());
            let state = Arc::clone(&lookup.state);
            tasks.spawn(ReadLoop { store, inlet, state, metrics, gone: gone.clone() }.run());
        }
        lookup
    }

    /// Reads `keys`, distinct and at least one, by one SELECT that is sent after this call.
    ///
    /// Answered within the timeout. Dropping the future takes the get back.
    pub(crate) async fn get(&self, mut keys: Vec<Key>) -> Result<Answer, LookupError> {
        let deadline = Instant::now() + self.op_timeout;
        let mut charge = self.state.backlog.charge();
        loop {
            let no_room = match self.read(keys, charge, deadline).await? {
                Read::Answer(answer) => return Ok(answer),
                Read::NoRoom(asked, no_room) => {
                    keys = asked;
                    no_room
                }
            };
            let room = timeout_at(deadline, self.state.backlog.reserve(no_room.bytes)).await;
            charge = room.map_err(|_| LookupError::Overloaded)?;
        }
    }

    async fn read(&self, keys: Vec<Key>, charge: Charge, deadline: Instant) -> Result<Read, LookupError> {
        let selects = self.state.selects();
        let waiting = self.state.waiting.fetch_add(keys.len(), Ordering::Relaxed);
        if waiting + keys.len() > self.queue_keys_max {
            self.state.waiting.fetch_sub(keys.len(), Ordering::Relaxed);
            return Err(self.state.full());
        }
        let (reply, answer) = oneshot::channel();
        let queue = if keys.len() == 1 { &self.single } else { &self.many };
        if queue.send(Ask::new(keys, charge, reply)).is_err() {
            return Err(LookupError::Internal);
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => Err(LookupError::Internal),
            Err(_) => Err(self.state.late(selects, &self.state.backlog)),
        }
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }
}

impl State {
    fn new(backlog_bytes_max: usize) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            connected: AtomicUsize::new(0),
            selects: AtomicU64::new(0),
            backlog: Backlog::new(backlog_bytes_max),
            trouble: Mutex::new("not tried yet".into()),
        }
    }

    /// Keys in the queue.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Readers that have a connection.
    pub(crate) fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }

    fn is_connected(&self) -> bool {
        self.connected() > 0
    }

    /// Whether gets can be answered; if not, why.
    pub(crate) fn ready(&self) -> Result<(), String> {
        if self.is_connected() {
            return Ok(());
        }
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        Err(format!("no connection to the database: {trouble}"))
    }

    /// SELECTs that succeeded so far.
    pub(crate) fn selects(&self) -> u64 {
        self.selects.load(Ordering::Relaxed)
    }

    /// Why there is no room in a queue.
    pub(crate) fn full(&self) -> LookupError {
        if self.is_connected() { LookupError::Overloaded } else { LookupError::Unavailable }
    }

    /// Why what was asked was not answered by its deadline; `selects` is the count when it was asked, `backlog` what it
    /// waited for.
    pub(crate) fn late(&self, selects: u64, backlog: &Backlog) -> LookupError {
        let works = self.selects() != selects || backlog.is_full();
        if self.is_connected() && works { LookupError::Overloaded } else { LookupError::Unavailable }
    }

    pub(crate) fn selected(&self) {
        self.selects.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn troubled(&self, why: String) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Counts a connection for as long as the guard lives.
    pub(crate) fn connection(self: &Arc<Self>) -> impl Drop + use<> {
        struct Connected(Arc<State>);
        impl Drop for Connected {
            fn drop(&mut self) {
                self.0.connected.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.connected.fetch_add(1, Ordering::Relaxed);
        Connected(Arc::clone(self))
    }
}

impl Inlet {
    /// Waits for a get and takes what waits with it, as much as fits one SELECT; none once the lookup is gone.
    ///
    /// It may be none but abandoned gets, so the list may be empty. Dropping the future loses nothing.
    pub(crate) async fn take(&mut self) -> Option<Vec<Ask>> {
        if self.next.is_none() {
            self.next = tokio::select! {
                biased;
                Some(ask) = self.single.recv() => Some(ask),
                Some(ask) = self.many.recv() => Some(ask),
                else => return None,
            };
        }
        self.state.backlog.room().await;
        // The first get wakes its reader before connections that are just as ready have been looked at: they go
        // first. A lone get loses nothing, since there is nobody to wait for.
        tokio::task::yield_now().await;
        let keys_max = self.select_keys_max.min(self.state.backlog.keys_advised());
        let (mut asks, mut keys) = (Vec::new(), 0);
        while let Some(ask) = self.next(keys < keys_max / 2) {
            if keys > 0 && keys + ask.len() > keys_max {
                self.next = Some(ask);
                break;
            }
            self.state.waiting.fetch_sub(ask.len(), Ordering::Relaxed);
            if ask.is_abandoned() {
                continue;
            }
            keys += ask.len();
            asks.push(ask);
            if keys >= keys_max {
                break;
            }
        }
        Some(asks)
    }

    /// The next get that waits: what had no room before, then single ones or larger ones.
    fn next(&mut self, single_first: bool) -> Option<Ask> {
        let Self { single, many, next, .. } = self;
        let (first, second) = if single_first { (single, many) } else { (many, single) };
        next.take().or_else(|| first.try_recv().ok()).or_else(|| second.try_recv().ok())
    }
}

/// The inlet as readers share it: whose turn it is waits for the next get.
pub(crate) type SharedInlet = Arc<tokio::sync::Mutex<Inlet>>;

#[cfg(test)]
mod tests;
