//! One key that is written all the time, and a thousand watchers of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use e2e::{HttpConnection, Socket, System, write};

use super::stream::Stream;
use super::{WatchPlan, float};
use crate::figures::name;

/// Writes in flight.
const WINDOW: usize = 64;

/// Prints how many events the watchers get in a second, and how long gets of other keys take meanwhile.
pub(super) async fn measure(system: &System, plan: &WatchPlan) {
    let engine = name(system.database.engine);
    let reader = system.another_reader().await;
    let (events, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let mut tasks = Vec::new();
    for _ in 0..plan.hot {
        let mut stream = Stream::open(reader.public, "key=hot").await;
        let events = Arc::clone(&events);
        tasks.push(tokio::spawn(async move {
            loop {
                stream.read().await;
                let mut count = 0;
                stream.lines(|line| count += u64::from(line == b"event: put"));
                events.fetch_add(count, Ordering::Relaxed);
            }
        }));
    }
    let writes = tokio::spawn(writer(system.ws(), Arc::clone(&stop)));
    let gets = tokio::spawn(gets(reader.public, Arc::clone(&stop)));
    // The first second warms up.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (begun, before) = (Instant::now(), events.load(Ordering::Relaxed));
    tokio::time::sleep(plan.span).await;
    let count = events.load(Ordering::Relaxed) - before;
    let per_second = float(count) / begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let written = writes.await.expect("the writer does not fail");
    let mut latencies = gets.await.expect("gets do not fail");
    latencies.sort_unstable();
    let p99 = latencies[latencies.len() * 99 / 100].as_secs_f64() * 1000.0;
    for task in tasks {
        task.abort();
    }
    println!(
        "{engine}: hot key: {per_second:.0} puts/s to {} watchers ({written} sets); p99 of {} gets beside it {p99:.1} ms",
        plan.hot,
        latencies.len(),
    );
}

async fn writer(at: std::net::SocketAddr, stop: Arc<AtomicBool>) -> u64 {
    let mut socket = Socket::open(at).await;
    let (mut sent, mut received) = (0, 0);
    while received < sent || !stop.load(Ordering::Relaxed) {
        while sent < received + WINDOW as u64 && !stop.load(Ordering::Relaxed) {
            socket.send(&write("hot", &sent.to_string())).await;
            sent += 1;
        }
        let reply = socket.next().await;
        assert!(reply.ends_with("\"status\":200}"), "{reply}");
        received += 1;
    }
    received
}

async fn gets(at: std::net::SocketAddr, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let mut connection = HttpConnection::open(at).await;
    let mut latencies = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        connection.get("/storage/bench%3A00000001").await;
        latencies.push(begun.elapsed());
    }
    latencies
}
