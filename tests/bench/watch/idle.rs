//! Many watchers of keys that nobody writes: what they cost, and whether they are woken by the writes of others.

use std::time::Duration;

use e2e::{HttpConnection, Load, PATIENCE, System};
use tokio::task::JoinSet;

use super::stream::Stream;
use super::{WatchPlan, float};
use crate::figures::name;

/// Prints the memory of an idle watcher, and what the others are told of 1,000 changes.
pub(super) async fn measure(system: &mut System, plan: &WatchPlan) {
    let engine = name(system.database.engine);
    let max = (2 * plan.idle).to_string();
    system.set(&[("WATCHES_MAX", &max), ("CONNECTIONS_MAX", &max)]);
    let mut reader = system.another_reader().await;
    // The first ones make what all of them share.
    let _first = open(reader.public, "first", 100).await;
    let before = reader.memory();
    let _idle = open(reader.public, "idle", plan.idle).await;
    let per_watcher = float(reader.memory().saturating_sub(before)) / float(plan.idle);
    println!("{engine}: idle: {per_watcher:.1} KiB for each of {} watchers", plan.idle);
    let metric = |text: &str| -> f64 {
        let lines = text.lines().filter(|line| line.starts_with("keywire_watch_events_total"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    let metrics = async || HttpConnection::open(reader.admin).await.get("/metrics").await.body;
    let events = metric(&metrics().await);
    let load = Load::start(system.ws(), "others", 1, 100);
    load.acked(1000, PATIENCE).await;
    let written = load.stop().await.acked.len();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let told = metric(&metrics().await) - events;
    println!("{engine}: idle: {written} changes of other keys gave {told} events to the watchers");
    reader.stop().await;
}

async fn open(at: std::net::SocketAddr, prefix: &str, count: usize) -> Vec<Stream> {
    let (mut streams, mut opening) = (Vec::new(), JoinSet::new());
    for number in 0..count {
        let query = format!("key={prefix}/{number}");
        opening.spawn(async move { Stream::open(at, &query).await });
        if opening.len() >= 64 {
            streams.push(opening.join_next().await.expect("some are opening").expect("it opens"));
        }
    }
    while let Some(opened) = opening.join_next().await {
        streams.push(opened.expect("it opens"));
    }
    streams
}
