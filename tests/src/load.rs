//! Clients that write at full speed, and an exact account of the outcome of each write.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinHandle;

use crate::http::{HttpConnection, encoded};
use crate::patience::{PAUSE, eventually};
use crate::socket::{Closed, NotOpened, Socket, write};

/// The most keys of one read.
const MULTI_GET_KEYS_MAX: usize = 100;

/// Sockets that each keep a number of writes in flight. Every write has a key of its own, and the key is also the value.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    closed: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<Tally>>,
}

/// The outcome of each write, by its key.
#[derive(Debug, Default)]
pub struct Tally {
    /// Answered 200.
    pub acked: Vec<String>,
    /// Answered 503.
    pub refused: Vec<String>,
    /// Answered 504: applied or not.
    pub unknown: Vec<String>,
    /// Sent, and the socket was closed before the reply came.
    pub unanswered: Vec<String>,
    /// Any other reply.
    pub strange: Vec<String>,
    /// How each socket was closed that ended before the load was stopped.
    pub closes: Vec<Closed>,
    /// Why sockets were not opened, once for each attempt.
    pub not_opened: Vec<NotOpened>,
    /// The longest time that a writer had no socket.
    pub away: Duration,
}

impl Load {
    /// Starts `sockets` writers of keys under `prefix` at `addr`, with `window` writes in flight each.
    ///
    /// A writer whose socket is closed opens another until the load is stopped.
    #[must_use]
    pub fn start(addr: SocketAddr, prefix: &str, sockets: usize, window: usize) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let [acked, failed, closed] = <[Arc<AtomicU64>; 3]>::default();
        let tasks = (0..sockets).map(|socket| {
            let (prefix, stop) = (format!("{prefix}/{socket}"), Arc::clone(&stop));
            let [acked, failed, closed] = [&acked, &failed, &closed].map(Arc::clone);
            let writer = LoadWriter { prefix, window, stop, acked, failed, closed };
            tokio::spawn(writer.run(addr))
        });
        let tasks = tasks.collect();
        Self { stop, acked, failed, closed, tasks }
    }

    /// Waits until at least `count` more writes than now are acknowledged.
    pub async fn acked(&self, count: u64, limit: Duration) {
        more("writes are acknowledged", &self.acked, count, limit).await;
    }

    /// Waits until at least `count` more writes than now are answered 503 or 504.
    pub async fn failed(&self, count: u64, limit: Duration) {
        more("writes fail", &self.failed, count, limit).await;
    }

    /// Waits until the service has closed a socket.
    pub async fn interrupted(&self, limit: Duration) {
        eventually("a socket is closed", limit, async || match self.closed.load(Ordering::Relaxed) {
            0 => Err("none is".into()),
            _ => Ok(()),
        })
        .await;
    }

    /// Sends no more writes, waits for the replies to those in flight, and returns the account.
    pub async fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for task in self.tasks {
            all.add(task.await.expect("a writer does not fail"));
        }
        all
    }
}

/// Waits until `counter` has grown by `count`.
async fn more(what: &str, counter: &AtomicU64, count: u64, limit: Duration) {
    let start = counter.load(Ordering::Relaxed);
    eventually(what, limit, async || {
        let done = counter.load(Ordering::Relaxed) - start;
        if done >= count { Ok(()) } else { Err(format!("{done} of {count}")) }
    })
    .await;
}

struct LoadWriter {
    prefix: String,
    window: usize,
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    closed: Arc<AtomicU64>,
}

impl LoadWriter {
    async fn run(self, addr: SocketAddr) -> Tally {
        let (mut tally, mut number) = (Tally::default(), 0..);
        let mut left = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            match Socket::try_open_at(addr, "/ws/storage/").await {
                Ok(socket) => {
                    tally.away = tally.away.max(left.elapsed());
                    self.use_up(socket, &mut number, &mut tally).await;
                    left = Instant::now();
                }
                Err(error) => {
                    tally.not_opened.push(error.into());
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        tally
    }

    /// Writes on `socket` until it is closed or the load is stopped.
    async fn use_up(&self, mut socket: Socket, number: &mut std::ops::RangeFrom<u64>, tally: &mut Tally) {
        let mut in_flight = VecDeque::new();
        let closed = loop {
            let stopped = self.stop.load(Ordering::Relaxed);
            if stopped && in_flight.is_empty() {
                return socket.close().await;
            }
            // Half a window at a time: otherwise each reply would cause one packet.
            if !stopped && in_flight.len() <= self.window / 2 {
                let room = self.window - in_flight.len();
                let keys = number.take(room).map(|n| format!("{}/{n}", self.prefix));
                let keys: Vec<_> = keys.collect();
                let writes: Vec<_> = keys.iter().map(|key| write(key, key)).collect();
                in_flight.extend(keys);
                // A broken connection may still hold replies, so reading goes on after an error.
                let _ = socket.try_send_all(writes).await;
            }
            match socket.try_next().await {
                Ok(reply) => self.note(&reply, in_flight.pop_front(), tally),
                Err(closed) => break closed,
            }
        };
        tally.unanswered.extend(in_flight);
        tally.closes.push(closed);
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    fn note(&self, reply: &str, key: Option<String>, tally: &mut Tally) {
        let key = key.unwrap_or_else(|| panic!("a reply to nothing: {reply}"));
        let problem: Value = serde_json::from_str(reply).expect("a reply is JSON");
        let status = problem["status"].as_u64();
        if matches!(status, Some(503 | 504)) {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        match status {
            Some(200) if reply == created(&key) => {
                self.acked.fetch_add(1, Ordering::Relaxed);
                tally.acked.push(key);
            }
            Some(503) => tally.refused.push(key),
            Some(504) => tally.unknown.push(key),
            _ => tally.strange.push(reply.to_owned()),
        }
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.acked.extend(other.acked);
        self.refused.extend(other.refused);
        self.unknown.extend(other.unknown);
        self.unanswered.extend(other.unanswered);
        self.strange.extend(other.strange);
        self.closes.extend(other.closes);
        self.not_opened.extend(other.not_opened);
        self.away = self.away.max(other.away);
    }

    /// Checks at `reader` that every acknowledged write is there and that no refused one is.
    pub async fn check(&self, reader: SocketAddr) {
        assert!(self.strange.is_empty(), "unexpected replies: {:?}", self.strange);
        let mut connection = HttpConnection::open(reader).await;
        for keys in self.acked.chunks(MULTI_GET_KEYS_MAX) {
            let missing = missing(&mut connection, keys).await;
            assert!(missing.is_empty(), "acknowledged, but missing: {missing:?}");
        }
        for keys in self.refused.chunks(MULTI_GET_KEYS_MAX) {
            let missing = missing(&mut connection, keys).await;
            assert_eq!(missing.len(), keys.len(), "refused, but applied: all of {keys:?} except {missing:?}");
        }
    }
}

/// The reply to the first write of `key`.
fn created(key: &str) -> String {
    format!(r#"{{"message":"{key} created","status":200}}"#)
}

/// The keys among `keys` that are not there. The value of every other key must be the key.
async fn missing(connection: &mut HttpConnection, keys: &[String]) -> Vec<String> {
    let mut target = "/storage".to_owned();
    for (index, key) in keys.iter().enumerate() {
        let mark = if index == 0 { '?' } else { '&' };
        write!(target, "{mark}key={}", encoded(key)).expect("a string takes it");
    }
    let response = connection.get(&target).await;
    assert_eq!(response.status, 200, "{response:?}");
    let body = response.json();
    for item in body["items"].as_array().expect("items is a list") {
        assert_eq!(item["key"], item["value"], "the value of a key is the key");
    }
    let missing = body["missing"].as_array().expect("missing is a list");
    missing.iter().map(|key| key.as_str().unwrap_or_default().to_owned()).collect()
}
