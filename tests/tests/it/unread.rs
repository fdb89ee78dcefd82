//! Clients that do not read their responses do not make other clients wait.

use std::time::{Duration, Instant};

use e2e::{EngineKind, PATIENCE, System, eventually, get, promises};

promises! {
    sqlite:
        unread_pages_do_not_block_gets,
        unread_responses_do_not_block_other_clients,
        a_response_larger_than_the_whole_budget_does_not_block_small_ones;
}

/// A client that reads nothing for so long is disconnected.
const UNREAD_MAX: Duration = Duration::from_secs(11);

async fn unread_pages_do_not_block_gets(engine: EngineKind) {
    let system = System::start(engine).await;
    let value = "v".repeat(1 << 20);
    for key in ["a", "b", "c", "d"] {
        system.socket().await.set(key, &value).await;
    }
    let mut unread = Vec::new();
    for _ in 0..60 {
        let mut connection = system.connection().await;
        connection.send("GET", "/storage").await;
        unread.push(connection);
    }
    eventually("as many pages as may wait for their clients do", PATIENCE, async || {
        match metric(&system, "keywire_lists_backlog_bytes").await {
            Some(bytes) if bytes > 32 << 20 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let asked = Instant::now();
    assert_eq!(system.read("a").await.status, 200);
    assert!(asked.elapsed() < Duration::from_secs(3), "answered after {:?}", asked.elapsed());
}

async fn a_response_larger_than_the_whole_budget_does_not_block_small_ones(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    // Each of its characters takes six bytes in JSON.
    let value = "\u{1}".repeat(1 << 20);
    let keys: Vec<String> = (0..16).map(|number| format!("large{number}")).collect();
    for key in &keys {
        socket.set(key, &value).await;
    }
    socket.set("small", "v").await;
    let mut unread = system.connection().await;
    unread.send("GET", &format!("/storage?key={}", keys.join("&key="))).await;
    let waits = async || match metric(&system, "keywire_lookup_backlog_bytes").await {
        Some(bytes) if bytes >= 64 << 20 => Ok(()),
        other => Err(format!("{other:?} bytes wait")),
    };
    eventually("there is no room", PATIENCE, waits).await;
    for _ in 0..10 {
        assert_eq!(system.read("small").await.status, 200);
    }
    waits().await.expect("nobody had to give way");
    assert_eq!(system.read("large0").await.status, 200, "who does not read gives way for this");
}

/// A metric of the process that answers reads.
async fn metric(system: &System, name: &str) -> Option<u64> {
    let metrics = get(system.reads().admin, "/metrics").await.body;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok())
}

async fn unread_responses_do_not_block_other_clients(engine: EngineKind) {
    let system = System::start(engine).await;
    system.socket().await.set("large", &"v".repeat(1 << 20)).await;
    system.socket().await.set("small", "v").await;
    // Enough responses to use all memory for unread ones, and a few that wait for memory.
    let mut unread = Vec::new();
    for _ in 0..70 {
        let mut connection = system.connection().await;
        connection.send("GET", "/storage/large").await;
        unread.push(connection);
    }
    eventually("there is no room", PATIENCE, async || {
        match metric(&system, "keywire_lookup_backlog_bytes").await {
            Some(bytes) if bytes > 60 << 20 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let asked = Instant::now();
    assert_eq!(system.read("small").await.status, 200);
    assert!(asked.elapsed() < Duration::from_secs(3), "somebody else waited {:?}", asked.elapsed());
    eventually("who does not read has lost its place", UNREAD_MAX + PATIENCE, async || {
        match metric(&system, "keywire_lookup_backlog_bytes").await {
            Some(0) => Ok(()),
            other => Err(format!("{other:?} bytes wait")),
        }
    })
    .await;
}
