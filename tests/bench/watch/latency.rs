//! The time from the reply to a write until its event reaches a watcher.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use e2e::{Socket, System, write};
use tokio::time::{MissedTickBehavior, interval};

use super::stream::Stream;
use super::{WatchPlan, float};
use crate::figures::name;
use crate::ours::BenchLoad;

/// Sockets that write. Each has many writes in flight.
const SOCKETS: u64 = 8;

/// When each key was acknowledged, and when its event came.
type Times = Arc<Mutex<HashMap<String, Instant>>>;

/// Prints the latency at 1,000 sets/s, and at 20,000 or half of the peak.
pub(super) async fn measure(system: &System, plan: &WatchPlan) {
    let engine = name(system.database.engine);
    let peak = BenchLoad::sets(32, 64).run(system, plan.span.as_secs_f64() / 2.0).per_second;
    let half = if peak < 40_000.0 { peak / 2.0 } else { 20_000.0 };
    for rate in [1000.0, half] {
        let mut latencies = at_rate(system.ws(), system.http(), rate, plan.span).await;
        latencies.sort_unstable();
        let at = |share: f64| {
            let place = Duration::from_secs_f64(float(latencies.len() - 1) * share).as_secs();
            let place = usize::try_from(place).expect("a place in the list");
            latencies[place].as_secs_f64() * 1000.0
        };
        println!(
            "{engine}: latency at {rate:.0} sets/s: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms ({} events, peak {peak:.0} sets/s)",
            at(0.5),
            at(0.99),
            at(1.0),
            latencies.len(),
        );
    }
}

async fn at_rate(ws: SocketAddr, http: SocketAddr, rate: f64, span: Duration) -> Vec<Duration> {
    let prefix = format!("latency/{rate:.0}/");
    let mut stream = Stream::open(http, &format!("prefix={prefix}")).await;
    let (acked, seen) = (Times::default(), Times::default());
    let events = tokio::spawn({
        let seen = Arc::clone(&seen);
        async move {
            loop {
                stream.read().await;
                let now = Instant::now();
                let mut seen = seen.lock().expect("nobody panics with it");
                stream.lines(|line| {
                    if let Some(rest) = line.strip_prefix(b"data: {\"key\":\"") {
                        let end = rest.iter().position(|byte| *byte == b'"').expect("a key ends");
                        seen.entry(String::from_utf8_lossy(&rest[..end]).into_owned()).or_insert(now);
                    }
                });
            }
        }
    });
    let writers: Vec<_> = (0..SOCKETS)
        .map(|number| {
            let prefix = format!("{prefix}{number}/");
            tokio::spawn(writer(ws, prefix, rate / float(SOCKETS), span, Arc::clone(&acked)))
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer does not fail");
    }
    let acked = std::mem::take(&mut *acked.lock().expect("nobody panics with it"));
    e2e::eventually("every event arrives", Duration::from_secs(30), async || {
        let count = seen.lock().expect("nobody panics with it").len();
        if count == acked.len() { Ok(()) } else { Err(format!("{count} of {}", acked.len())) }
    })
    .await;
    events.abort();
    let seen = seen.lock().expect("nobody panics with it");
    acked.iter().map(|(key, acked)| seen[key].saturating_duration_since(*acked)).collect()
}

/// Writes keys of its own at `rate` for `span`, and notes when each was acknowledged.
async fn writer(ws: SocketAddr, prefix: String, rate: f64, span: Duration, acked: Times) {
    let mut socket = Socket::open(ws).await;
    // As many as fall due in a time.
    let due_after = |time: Duration| Duration::from_secs_f64(rate * time.as_secs_f64()).as_secs();
    let count = due_after(span);
    let (mut sent, mut received) = (0, 0);
    let begun = Instant::now();
    let mut tick = interval(Duration::from_millis(2));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while received < count {
        tokio::select! {
            biased;
            reply = socket.next(), if received < sent => {
                assert!(reply.ends_with("\"status\":200}"), "{reply}");
                let now = Instant::now();
                acked.lock().expect("nobody panics with it").insert(format!("{prefix}{received}"), now);
                received += 1;
            }
            _ = tick.tick(), if sent < count => {
                let due = count.min(due_after(begun.elapsed()));
                while sent < due {
                    socket.send(&write(&format!("{prefix}{sent}"), "x")).await;
                    sent += 1;
                }
            }
        }
    }
}
