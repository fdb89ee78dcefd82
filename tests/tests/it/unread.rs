//! Clients that do not read what they asked for: nobody else waits for them.

use std::time::{Duration, Instant};

use e2e::{Engine, PATIENCE, System, eventually, get, promises};

promises! { sqlite:
    pages_that_nobody_reads_hold_up_no_get,
    answers_that_nobody_reads_hold_up_nobody_else,
}

async fn pages_that_nobody_reads_hold_up_no_get(engine: Engine) {
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

/// A metric of the process that reads.
async fn metric(system: &System, name: &str) -> Option<u64> {
    let metrics = get(system.reads().admin, "/metrics").await.body;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok())
}

async fn answers_that_nobody_reads_hold_up_nobody_else(engine: Engine) {
    let system = System::start(engine).await;
    system.socket().await.set("large", &"v".repeat(1 << 20)).await;
    system.socket().await.set("small", "v").await;
    // As many as fill what may wait for clients, and a few who wait for room.
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
    eventually("who does not read has lost its place", PATIENCE, async || {
        match metric(&system, "keywire_lookup_backlog_bytes").await {
            Some(0) => Ok(()),
            other => Err(format!("{other:?} bytes wait")),
        }
    })
    .await;
}
