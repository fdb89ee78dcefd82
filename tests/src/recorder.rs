//! Clients that write and read the same few keys, one operation after another, and record every operation.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use history::{Did, Operation};
use rand::RngExt as _;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::event::Event;
use crate::http::{HttpConnection, Response, storage};
use crate::patience::{PAUSE, eventually};
use crate::recorded_write::RecordedWrite;
use crate::socket::Socket;
use crate::watch::{Heard, Watch};
use crate::watched::Watched;

/// The number of keys that are in use at the same time.
const KEYS: u64 = 12;

/// After this time other keys are used: it takes long to judge a history of thousands of operations.
const EPOCH: Duration = Duration::from_secs(2);

/// An event of a watch counts as a read that began this long before the last cursor came: the cursor had been sent a little earlier. A
/// little less would do, but the client may be held up on a busy machine.
const SENT_BEFORE_MAX: Duration = Duration::from_secs(1);

/// The pause between two operations of a client. It keeps histories short enough to be judged.
const REST: Duration = Duration::from_millis(2);

/// Running clients. The names of their keys differ from those of every other run.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<RecorderState>,
    tasks: Vec<JoinHandle<()>>,
}

/// The recorded operations.
#[derive(Debug)]
pub struct Recording {
    /// Operations that were answered, and those without an answer, which may have taken effect. The events of watches are reads.
    pub ops: Vec<Operation>,
    /// The number of events of watches.
    pub told: usize,
    /// The values of writes that were answered 503.
    pub refused: Vec<u64>,
    /// The number of operations without an answer, or answered 504.
    pub unknown: usize,
}

#[derive(Debug)]
struct RecorderState {
    name: String,
    begun: Instant,
    stop: AtomicBool,
    value: AtomicU64,
    ops: Mutex<Vec<Operation>>,
    /// The events of watches, as reads.
    told: Mutex<Vec<Operation>>,
    refused: Mutex<Vec<u64>>,
    /// The largest revision of each key that a client was told, deletes included.
    revs: Mutex<BTreeMap<u64, u64>>,
}

impl Recorder {
    /// Starts four clients for each of `writers`, and for each of `readers` three that read and one that watches. A client whose
    /// connection breaks opens another one.
    #[must_use]
    pub fn start(writers: &[SocketAddr], readers: &[SocketAddr]) -> Self {
        let shared = Arc::new(RecorderState {
            name: format!("{:08x}", rand::random::<u32>()),
            begun: Instant::now(),
            stop: AtomicBool::new(false),
            value: AtomicU64::new(1),
            ops: Mutex::default(),
            told: Mutex::default(),
            refused: Mutex::default(),
            revs: Mutex::default(),
        });
        let mut tasks = Vec::new();
        for addr in writers.iter().copied() {
            tasks.extend((0..4).map(|_| tokio::spawn(Arc::clone(&shared).write(addr))));
        }
        for addr in readers.iter().copied() {
            tasks.extend((0..3).map(|_| tokio::spawn(Arc::clone(&shared).read(addr))));
            tasks.push(tokio::spawn(Arc::clone(&shared).watch(addr)));
        }
        Self { shared, tasks }
    }

    /// Waits until `count` more operations were answered, without the events of watches.
    pub async fn more(&self, count: usize, limit: Duration) {
        let before = self.shared.count();
        eventually(&format!("{count} more operations"), limit, async || match self.shared.count() - before {
            done if done >= count => Ok(()),
            done => Err(done.to_string()),
        })
        .await;
    }

    /// The operations recorded so far, without the events of watches.
    #[must_use]
    pub fn ops(&self) -> Vec<Operation> {
        self.shared.ops.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets every client finish its operation. Returns the recording.
    pub async fn stop(self) -> Recording {
        self.shared.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("a client does not panic");
        }
        let take = |ops: &Mutex<_>| std::mem::take(&mut *ops.lock().unwrap_or_else(PoisonError::into_inner));
        let (mut ops, told): (Vec<Operation>, Vec<Operation>) =
            (take(&self.shared.ops), take(&self.shared.told));
        let unknown = ops.iter().filter(|op| op.answered.is_none()).count();
        let refused = self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ops.extend(&told);
        Recording { ops, told: told.len(), refused, unknown }
    }
}

impl RecorderState {
    fn count(&self) -> usize {
        self.ops.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A random key among those in use now.
    fn key(&self) -> u64 {
        let epoch = u64::try_from(self.begun.elapsed().as_millis() / EPOCH.as_millis()).unwrap_or(u64::MAX);
        epoch * KEYS + rand::rng().random_range(0..KEYS)
    }

    fn name(&self, key: u64) -> String {
        format!("{}/{key}", self.name)
    }

    fn record(&self, key: u64, called: Instant, answered: Option<Instant>, did: Did) {
        let op = Operation { key, called, answered, did };
        self.ops.lock().unwrap_or_else(PoisonError::into_inner).push(op);
    }

    /// The largest revision of the key that a client was told.
    fn rev(&self, key: u64) -> Option<u64> {
        self.revs.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied()
    }

    fn learn(&self, key: u64, rev: Option<u64>) {
        // 0 is the revision of an absent key.
        let Some(rev) = rev.filter(|rev| *rev > 0) else { return };
        let mut revs = self.revs.lock().unwrap_or_else(PoisonError::into_inner);
        let known = revs.entry(key).or_default();
        *known = rev.max(*known);
    }

    async fn write(self: Arc<Self>, addr: SocketAddr) {
        let mut socket = None;
        while !self.is_over() {
            tokio::time::sleep(REST).await;
            let Some(open) = &mut socket else {
                socket = Socket::try_open_at(addr, "/ws/storage/").await.ok();
                if socket.is_none() {
                    tokio::time::sleep(PAUSE).await;
                }
                continue;
            };
            let (key, value) = (self.key(), self.value.fetch_add(1, Ordering::Relaxed));
            let write = RecordedWrite::any(&mut rand::rng(), &self.name(key), value, self.rev(key));
            let called = Instant::now();
            let reply = match open.try_send_all([write.message.clone()]).await {
                Ok(()) => open.try_next().await,
                Err(closed) => Err(closed),
            };
            let answered = Instant::now();
            let Ok(reply) = reply else {
                self.record(key, called, None, write.did);
                socket = None;
                continue;
            };
            let reply: Value = serde_json::from_str(&reply).expect("a reply is JSON");
            match reply["status"].as_u64() {
                Some(503) => self.refused.lock().unwrap_or_else(PoisonError::into_inner).push(value),
                Some(504) => self.record(key, called, None, write.did),
                _ => {
                    let (did, rev) = write.answered(&reply);
                    self.learn(key, rev);
                    self.record(key, called, Some(answered), did);
                }
            }
        }
    }

    /// Watches all keys, and resumes wherever the stream ends.
    async fn watch(self: Arc<Self>, addr: SocketAddr) {
        let (query, mut watched, mut stream) = (format!("prefix={}/", self.name), Watched::new(), None);
        // When the next events were read at the earliest.
        let mut called = Instant::now();
        while !self.is_over() {
            let Some(open) = &mut stream else {
                called = Instant::now();
                let cursor = watched.cursor().map(|cursor| ("Last-Event-ID", cursor));
                stream = Watch::try_open(addr, &query, cursor.as_slice()).await.ok();
                if stream.is_none() {
                    tokio::time::sleep(PAUSE).await;
                }
                continue;
            };
            let Ok((heard, what)) = tokio::time::timeout(PAUSE, open.hear()).await else { continue };
            match what {
                Heard::Event(event) => {
                    let is_cursor = watched.hear(&event).unwrap_or_else(|broken| panic!("{broken}"));
                    if is_cursor {
                        called = heard.checked_sub(SENT_BEFORE_MAX).map_or(called, |sent| called.max(sent));
                    }
                    self.note(&event, called, heard);
                }
                Heard::Comment => {}
                Heard::End | Heard::Broken => {
                    watched.cut();
                    stream = None;
                }
            }
        }
    }

    /// Records an event of a watch.
    fn note(&self, event: &Event, called: Instant, heard: Instant) {
        let found = match event {
            Event::Put { value, rev, .. } => {
                let value = value.as_ref().and_then(|value| value.parse().ok());
                Some((value.expect("values are numbers"), Some(*rev)))
            }
            Event::Delete { .. } => None,
            Event::Ready(_) | Event::Progress(_) => return,
            Event::Reset(code) => panic!("a reset, though every cursor is young: {code}"),
        };
        let key = event
            .key()
            .and_then(|key| key.rsplit_once('/')?.1.parse().ok())
            .expect("a key ends with its number");
        let told = Operation { key, called, answered: Some(heard), did: Did::Read(found) };
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(told);
    }

    async fn read(self: Arc<Self>, addr: SocketAddr) {
        let mut connection = None;
        while !self.is_over() {
            tokio::time::sleep(REST).await;
            let Some(open) = &mut connection else {
                connection = HttpConnection::try_open(addr).await.ok();
                if connection.is_none() {
                    tokio::time::sleep(PAUSE).await;
                }
                continue;
            };
            let (key, called) = (self.key(), Instant::now());
            let Ok(response) = open.try_request("GET", &storage(&self.name(key)), &[]).await else {
                connection = None;
                continue;
            };
            let answered = Some(Instant::now());
            match response.status {
                200 => {
                    let (value, rev) = found(&response);
                    self.learn(key, Some(rev));
                    self.record(key, called, answered, Did::Read(Some((value, Some(rev)))));
                }
                404 => self.record(key, called, answered, Did::Read(None)),
                // A refused read has no outcome.
                503 => {}
                other => panic!("{other} is no answer to a read: {response:?}"),
            }
        }
    }
}

/// The value that was read, and its revision.
fn found(response: &Response) -> (u64, u64) {
    let value = response.json()["value"].as_str().and_then(|value| value.parse().ok());
    let rev = response.header("etag").and_then(|tag| tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok());
    (value.expect("values are numbers"), rev.expect("an ETag is a revision in quotes"))
}
