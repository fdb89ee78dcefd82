//! Clients that do not read what they asked for: nobody else waits for them.

use std::time::{Duration, Instant};

use e2e::{Engine, PATIENCE, System, eventually, get, promises};

promises! { sqlite:
    pages_that_nobody_reads_hold_up_no_get,
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
        let metrics = get(system.reads().admin, "/metrics").await.body;
        let bytes = metrics.lines().find_map(|line| line.strip_prefix("keywire_lists_backlog_bytes "));
        match bytes.and_then(|bytes| bytes.parse::<u64>().ok()) {
            Some(bytes) if bytes > 64 << 20 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let asked = Instant::now();
    assert_eq!(system.read("a").await.status, 200);
    assert!(asked.elapsed() < Duration::from_secs(2), "answered after {:?}", asked.elapsed());
}
