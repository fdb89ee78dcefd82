//! A first figure of speed: the pair beside what the database itself can do, in one run, as ratios of medians.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use sqlx::mysql::MySqlArguments;
use sqlx::{Arguments, AssertSqlSafe, Connection, MySqlConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

/// Distinct keys, each with a value of 100 bytes.
const KEYS: u64 = 100_000;

/// How long each figure is measured, and how often, in turn with the others.
const SPAN: Duration = Duration::from_secs(3);
const ROUNDS: usize = 5;

/// Who is measured.
#[derive(Debug, Clone)]
struct Subject {
    database: String,
    writer: String,
    reader: String,
}

/// Operations done, and when to stop.
#[derive(Clone)]
struct Meter {
    done: Arc<AtomicU64>,
    end: Instant,
}

impl Meter {
    fn running(&self) -> bool {
        Instant::now() < self.end
    }

    fn add(&self, count: u64) {
        self.done.fetch_add(count, Ordering::Relaxed);
    }
}

/// A figure: its name, how many clients, and the most operations each has under way.
type Figure = (&'static str, usize, usize);

const FIGURES: [Figure; 8] = [
    ("raw upserts of 256 rows, 2 connections", 2, 256),
    ("sets, 32 sockets x 64 in flight", 32, 64),
    ("raw single upserts, 32 connections", 32, 1),
    ("sets, 32 sockets, one by one", 32, 1),
    ("raw single upserts, 1 connection", 1, 1),
    ("sets, 1 socket, one by one", 1, 1),
    ("raw point selects, 32 connections", 32, 1),
    ("gets, 64 connections", 64, 1),
];

/// Below, above, what must be reached in the end, and their names.
const RATIOS: [(usize, usize, f64); 4] = [(1, 0, 0.75), (3, 2, 2.0), (5, 4, 0.5), (7, 6, 1.8)];

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [database, writer, reader] = args.as_slice() else {
        eprintln!("usage: speed mysql://USER:PASSWORD@HOST:PORT/SCHEMA WRITER:PORT READER:PORT");
        std::process::exit(64);
    };
    let subject = Subject { database: database.clone(), writer: writer.clone(), reader: reader.clone() };
    prepare(&subject).await;
    let mut rates = vec![Vec::new(); FIGURES.len()];
    for round in 1..=ROUNDS {
        for (at, figure) in FIGURES.iter().enumerate() {
            let rate = measure(&subject, at, *figure).await;
            println!("round {round}: {:>9.0}/s  {}", rate, figure.0);
            rates[at].push(rate);
        }
    }
    println!();
    let median = |at: usize| {
        let mut sorted = rates[at].clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    for (ours, raw, must) in RATIOS {
        let ratio = median(ours) / median(raw);
        println!("{ratio:5.2} (must {must}): {} / {}", FIGURES[ours].0, FIGURES[raw].0);
    }
}

/// Fills the table through the front door, so that every figure meets the same rows.
async fn prepare(subject: &Subject) {
    let mut socket = connect(&subject.writer).await;
    for first in (0..KEYS).step_by(500) {
        for number in first..first + 500 {
            socket.feed(set(number)).await.expect("the socket is open");
        }
        socket.flush().await.expect("the socket is open");
        for _ in 0..500 {
            answered(socket.next().await);
        }
    }
}

async fn measure(subject: &Subject, at: usize, (_, clients, depth): Figure) -> f64 {
    let begun = Instant::now();
    let meter = Meter { done: Arc::default(), end: begun + SPAN };
    let mut tasks = JoinSet::new();
    for client in 0..clients as u64 {
        let (subject, meter) = (subject.clone(), meter.clone());
        // Clients walk over the keys from places of their own.
        let from = client * KEYS / clients as u64;
        match at {
            0 | 2 | 4 => {
                tasks.spawn(async move { raw_upserts(&subject.database, from, depth, &meter).await })
            }
            6 => tasks.spawn(async move { raw_selects(&subject.database, from, &meter).await }),
            7 => tasks.spawn(async move { gets(&subject.reader, from, &meter).await }),
            _ => tasks.spawn(async move { sets(&subject.writer, from, depth, &meter).await }),
        };
    }
    tasks.join_all().await;
    let done = f64::from(u32::try_from(meter.done.load(Ordering::Relaxed)).expect("seconds of work"));
    done / begun.elapsed().as_secs_f64()
}

fn key(number: u64) -> String {
    format!("key:{:06}", number % KEYS)
}

fn value() -> String {
    "v".repeat(100)
}

fn set(number: u64) -> Message {
    Message::text(format!(r#"{{"key":"{}","value":"{}"}}"#, key(number), value()))
}

async fn connect(address: &str) -> tokio_tungstenite::WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(address).await.expect("the writer listens");
    stream.set_nodelay(true).expect("an open socket");
    client_async(format!("ws://{address}/ws/storage/"), stream).await.expect("a handshake").0
}

fn answered<E: std::fmt::Debug>(reply: Option<Result<Message, E>>) {
    let reply = reply.expect("a reply").expect("an open socket");
    let text = reply.to_text().expect("text");
    assert!(text.ends_with(r#""status":200}"#), "{text}");
}

/// Keeps `depth` writes under way: half of them are sent when half of them are answered.
async fn sets(address: &str, from: u64, depth: usize, meter: &Meter) {
    let mut socket = connect(address).await;
    let mut next = from;
    let step = depth.div_ceil(2);
    let mut in_flight = 0;
    while meter.running() {
        while in_flight + step <= depth {
            for _ in 0..step {
                socket.feed(set(next)).await.expect("the socket is open");
                next += 1;
            }
            in_flight += step;
        }
        socket.flush().await.expect("the socket is open");
        for _ in 0..step {
            answered(socket.next().await);
        }
        in_flight -= step;
        meter.add(step as u64);
    }
    for _ in 0..in_flight {
        answered(socket.next().await);
    }
}

/// One GET after the other on one connection.
async fn gets(address: &str, from: u64, meter: &Meter) {
    let mut stream = TcpStream::connect(address).await.expect("the reader listens");
    stream.set_nodelay(true).expect("an open socket");
    let mut answer = vec![0; 4096];
    let mut next = from;
    while meter.running() {
        let request = format!("GET /storage/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", key(next));
        stream.write_all(request.as_bytes()).await.expect("an open connection");
        let mut len = 0;
        // The body is the one thing in the answer that ends like this.
        while !answer[..len].ends_with(br#""message":"","status":200}"#) {
            let read = stream.read(&mut answer[len..]).await.expect("an open connection");
            assert!(read > 0, "{}", String::from_utf8_lossy(&answer[..len]));
            len += read;
        }
        next += 1;
        meter.add(1);
    }
}

/// What the database does by itself: upserts of `rows` rows, each committed.
async fn raw_upserts(url: &str, from: u64, rows: usize, meter: &Meter) {
    let mut connection = MySqlConnection::connect(url).await.expect("the database answers");
    let values = vec!["(?, ?, 1, 1)"; rows].join(", ");
    let sql: Arc<str> = format!(
        "insert into entries (k, v, rev, born) values {values} on duplicate key update v = values(v), rev = rev + 1"
    )
    .into();
    let mut next = from;
    while meter.running() {
        let mut arguments = MySqlArguments::default();
        for _ in 0..rows {
            arguments.add(key(next).into_bytes()).expect("a key");
            arguments.add(value().into_bytes()).expect("a value");
            next += 1;
        }
        let upsert = sqlx::query_with(AssertSqlSafe(Arc::clone(&sql)), arguments);
        upsert.execute(&mut connection).await.expect("an upsert");
        meter.add(rows as u64);
    }
}

async fn raw_selects(url: &str, from: u64, meter: &Meter) {
    let mut connection = MySqlConnection::connect(url).await.expect("the database answers");
    let mut next = from;
    while meter.running() {
        let select = sqlx::query("select k, v, rev from entries where k = ?").bind(key(next).into_bytes());
        select.fetch_one(&mut connection).await.expect("a row");
        next += 1;
        meter.add(1);
    }
}
