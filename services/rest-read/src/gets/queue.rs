//! The queue of gets: chooses the gets of the next SELECT.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::gets::select::Get;
use crate::health::{ByKind, GetKind, Health};

/// The sending end of the queue.
#[derive(Debug, Clone)]
pub(crate) struct GetSender(ByKind<mpsc::UnboundedSender<Get>>);

/// Gives gets back to the queue.
#[derive(Debug, Clone)]
pub(crate) struct GetReturner {
    senders: ByKind<mpsc::UnboundedSender<Get>>,
    health: Arc<Health>,
}

/// The receiving end of the queue. A SELECT has gets of one kind. While gets of both kinds wait, the kinds take turns.
#[derive(Debug)]
pub(crate) struct GetQueue {
    waiting: ByKind<Waiting>,
    /// The kind of the last SELECT.
    last: GetKind,
    /// One permit for each SELECT of multi-gets that may be under way: one fewer than there are readers, so that a reader is left
    /// for single gets, however long the SELECTs of multi-gets take. A lone reader takes both kinds.
    multi_permits: Arc<Semaphore>,
    returner: GetReturner,
    health: Arc<Health>,
    lookup_keys_max: usize,
}

/// The gets of one kind that wait, in the order in which they came.
#[derive(Debug)]
struct Waiting {
    /// Given back by a reader whose SELECT failed. They came before all others.
    returned: mpsc::UnboundedReceiver<Get>,
    /// Received, and still waiting.
    first: VecDeque<Get>,
    rest: mpsc::UnboundedReceiver<Get>,
}

/// The gets of one SELECT, all of one kind.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) gets: Vec<Get>,
    /// To be kept until the SELECT has ended, if the gets are multi-gets.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// The receiving end as the readers share it: the reader that has locked it waits for the next get.
pub(crate) type SharedGetQueue = Arc<tokio::sync::Mutex<GetQueue>>;

/// Both ends of a queue of gets that are counted in `health`. A SELECT has at most `lookup_keys_max` keys.
pub(crate) fn queue(lookup_keys_max: usize, readers: usize, health: &Arc<Health>) -> (GetSender, GetQueue) {
    let (single, single_returner, singles) = Waiting::new();
    let (multi, multi_returner, multis) = Waiting::new();
    let health = Arc::clone(health);
    let queue = GetQueue {
        waiting: ByKind { single: singles, multi: multis },
        last: GetKind::Multi,
        multi_permits: Arc::new(Semaphore::new(readers.saturating_sub(1).max(1))),
        returner: GetReturner {
            senders: ByKind { single: single_returner, multi: multi_returner },
            health: Arc::clone(&health),
        },
        health,
        lookup_keys_max,
    };
    (GetSender(ByKind { single, multi }), queue)
}

impl GetSender {
    /// Queues `get`, which was counted before. False if all readers have ended.
    pub(crate) fn send(&self, get: Get) -> bool {
        let Self(senders) = self;
        senders.of(get.kind()).send(get).is_ok()
    }
}

impl GetReturner {
    /// Puts `gets`, which were in the queue before, in front of it. Any reader may take them.
    pub(crate) fn give_back(&self, gets: Vec<Get>) {
        for get in gets {
            let kind = get.kind();
            self.health.of(kind).requeue(get.len());
            // Without a queue there is nobody left who waits for a reply.
            let _ = self.senders.of(kind).send(get);
        }
    }
}

impl GetQueue {
    /// The end that gives gets back.
    pub(crate) fn returner(&self) -> GetReturner {
        self.returner.clone()
    }

    /// Waits for a get that may be sent, and takes with it as many waiting gets of its kind as fit one SELECT. `None` once all senders
    /// are dropped.
    ///
    /// Abandoned gets are left out, so there may be no get at all. Dropping the future loses no get.
    pub(crate) async fn take(&mut self) -> Option<Taken> {
        let multi = async {
            if !self.waiting.multi.wait().await {
                return None;
            }
            Some(Arc::clone(&self.multi_permits).acquire_owned().await.expect("it is never closed"))
        };
        let permit = tokio::select! {
            biased;
            true = self.waiting.single.wait() => None,
            Some(permit) = multi => Some(permit),
            else => return None,
        };
        // The first get wakes its reader before the runtime has polled the other connections that are ready. They go first, so
        // that their gets join this SELECT. A lone get loses nothing by it.
        tokio::task::yield_now().await;
        let permit = self.turn(permit);
        self.last = if permit.is_some() { GetKind::Multi } else { GetKind::Single };
        Some(Taken { gets: self.fill(self.last), permit })
    }

    /// A permit if it is the turn of the multi-gets, and `None` if it is the turn of the single gets. At least one get waits. `permit`
    /// was given to a multi-get that waits.
    fn turn(&mut self, permit: Option<OwnedSemaphorePermit>) -> Option<OwnedSemaphorePermit> {
        match self.last {
            GetKind::Single if self.waiting.multi.is_any() => {
                permit.or_else(|| Arc::clone(&self.multi_permits).try_acquire_owned().ok())
            }
            GetKind::Multi if self.waiting.single.is_any() => None,
            GetKind::Single | GetKind::Multi => permit,
        }
    }

    fn fill(&mut self, kind: GetKind) -> Vec<Get> {
        let (waiting, health) = (self.waiting.of_mut(kind), self.health.of(kind));
        let keys_max = self.lookup_keys_max.min(health.backlog.keys_advised());
        let (mut gets, mut keys) = (Vec::new(), 0);
        while let Some(get) = waiting.pop() {
            let is_alone = get.is_alone();
            if keys > 0 && (is_alone || keys + get.len() > keys_max) {
                waiting.first.push_front(get);
                break;
            }
            health.dequeue(get.len());
            if get.is_abandoned() {
                continue;
            }
            keys += get.len();
            gets.push(get);
            if is_alone || keys >= keys_max {
                break;
            }
        }
        gets
    }
}

impl Waiting {
    /// The senders of new gets and of gets that are given back, and the gets that wait.
    fn new() -> (mpsc::UnboundedSender<Get>, mpsc::UnboundedSender<Get>, Self) {
        let ((sender, rest), (give_back, returned)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        (sender, give_back, Self { returned, first: VecDeque::new(), rest })
    }

    /// Waits for a get. False once all senders are dropped and no get is left. Dropping the future loses no get.
    async fn wait(&mut self) -> bool {
        if self.first.is_empty() {
            let get = tokio::select! {
                biased;
                Some(get) = self.returned.recv() => Some(get),
                get = self.rest.recv() => get,
            };
            self.first.extend(get);
        }
        !self.first.is_empty()
    }

    /// Whether a get waits.
    fn is_any(&self) -> bool {
        !(self.returned.is_empty() && self.first.is_empty() && self.rest.is_empty())
    }

    fn pop(&mut self) -> Option<Get> {
        let returned = self.returned.try_recv().ok();
        returned.or_else(|| self.first.pop_front()).or_else(|| self.rest.try_recv().ok())
    }
}
