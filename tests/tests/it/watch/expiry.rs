//! An entry that expires is told as a delete.

use std::time::{Duration, Instant};

use e2e::{EngineKind, Event, System, Watch, eventually, promises, rev};
use serde_json::json;

use super::{delete, deleted, put, set};

promises! {
    every:
        an_entry_that_expires_is_told_within_a_second,
        an_entry_whose_life_is_prolonged_or_ended_does_not_expire,
        what_expired_while_nobody_watched_is_told_on_resuming,
        what_has_expired_is_not_in_a_snapshot,
        an_expiry_ends_a_long_poll;
}

/// The message that writes `key` for `ttl` seconds.
fn lasting(key: &str, ttl: u64) -> String {
    json!({ "key": key, "value": "v", "ttl": ttl }).to_string()
}

fn expired(key: &str, rev: u64) -> Event {
    Event::Delete { key: key.to_owned(), rev: Some(rev), expired: true }
}

/// The revision and the expiry that a put tells.
fn told(event: &Event) -> (u64, u64) {
    match event {
        Event::Put { rev, expires_at: Some(expires_at), .. } => (*rev, *expires_at),
        other => panic!("{other:?} is no put of an entry that expires"),
    }
}

async fn an_entry_that_expires_is_told_within_a_second(engine: EngineKind) {
    let system = System::start(engine).await;
    let other = system.another_reader().await;
    let mut socket = system.socket().await;
    let mut watches =
        [Watch::open(system.http(), "prefix=k").await, Watch::open(other.public, "key=k&values=false").await];
    for watch in &mut watches {
        watch.ready().await;
    }
    let written = Instant::now();
    let first = rev(&socket.ask(lasting("k", 1)).await);
    let acked = Instant::now();
    for watch in &mut watches {
        let (events, _) = watch.round().await;
        assert_eq!(told(&events[0]).0, first);
        let (events, _) = watch.round().await;
        assert_eq!(events, [expired("k", first)]);
        assert!(written.elapsed() >= Duration::from_secs(1), "too early: after {:?}", written.elapsed());
        assert!(acked.elapsed() < Duration::from_millis(2500), "too late: after {:?}", acked.elapsed());
    }
    let again = rev(&socket.ask(set("k", "w")).await);
    assert_eq!(watches[0].round().await.0, [put("k", "w", again)]);
}

async fn an_entry_whose_life_is_prolonged_or_ended_does_not_expire(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let mut watch = Watch::open(system.http(), "").await;
    watch.ready().await;
    for key in ["deleted", "for good", "prolonged", "z last"] {
        socket.ask(lasting(key, 2)).await;
    }
    let gone = rev(&socket.ask(delete("deleted")).await);
    let kept = rev(&socket.ask(set("for good", "w")).await);
    socket.ask(lasting("prolonged", 3600)).await;
    let mut events = Vec::new();
    // Every other expiry is earlier than that of the last key.
    while !matches!(events.last(), Some(Event::Delete { key, .. }) if key == "z last") {
        events.push(watch.next().await);
    }
    events.retain(|event| event.key().is_some());
    assert!(events.contains(&deleted("deleted", gone)) && events.contains(&put("for good", "w", kept)));
    let ends: Vec<&Event> =
        events.iter().filter(|event| matches!(event, Event::Delete { expired: true, .. })).collect();
    assert_eq!(ends.len(), 1, "{ends:?}");
}

async fn what_expired_while_nobody_watched_is_told_on_resuming(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let first = rev(&socket.ask(lasting("k", 1)).await);
    let mut watch = Watch::open(system.http(), "").await;
    let (events, cursor) = watch.ready().await;
    assert_eq!(told(&events[0]).0, first);
    drop(watch);
    // Another watch is told when it is over.
    let mut other = Watch::open(system.http(), "snapshot=false").await;
    other.ready().await;
    assert_eq!(other.round().await.0, [expired("k", first)]);
    let (events, _) = Watch::resume(system.http(), "", &cursor).await.ready().await;
    assert_eq!(events, [expired("k", first)]);
}

async fn what_has_expired_is_not_in_a_snapshot(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    socket.ask(lasting("k", 1)).await;
    socket.ask(set("l", "v")).await;
    eventually("it expires", Duration::from_secs(10), async || match system.read("k").await.status {
        404 => Ok(()),
        status => Err(status.to_string()),
    })
    .await;
    let (events, _) = Watch::open(system.http(), "").await.ready().await;
    assert_eq!(events.iter().filter_map(Event::key).collect::<Vec<_>>(), ["l"]);
}

async fn an_expiry_ends_a_long_poll(engine: EngineKind) {
    let system = System::start(engine).await;
    let first = rev(&system.socket().await.ask(lasting("k", 1)).await);
    let tag = format!("\"{first}\"");
    let mut connection = system.connection().await;
    let started = Instant::now();
    let headers = [("If-None-Match", tag.as_str()), ("Prefer", "wait=12")];
    let response = connection.request("GET", "/storage/k", &headers).await;
    assert_eq!(response.status, 404, "{response:?}");
    assert!(started.elapsed() < Duration::from_secs(3), "after {:?}", started.elapsed());
}
