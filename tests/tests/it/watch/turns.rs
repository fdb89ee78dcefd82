//! Streams that begin take turns to read from the database. A slow client does not keep the others waiting for long.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use e2e::{EngineKind, System, Watch, eventually, get, promises};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::sleep;

promises! {
    sqlite:
        a_slow_client_gives_way_to_those_that_wait,
        a_slow_client_gets_everything_while_nobody_waits;
}

/// How many bytes a slow client reads each [`PAUSE`]: 40 KB/s.
const SLOW_BYTES: usize = 4000;
const PAUSE: Duration = Duration::from_millis(100);

/// A watch of everything whose client reads slowly. Ends with the stream.
fn slow_client(addr: SocketAddr) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut stream = TcpStream::connect(addr).await.expect("it is accepted");
        let request = format!("GET /watch HTTP/1.1\r\nHost: {addr}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it is sent");
        let mut bytes = [0; SLOW_BYTES];
        while stream.read_exact(&mut bytes).await.is_ok() {
            sleep(PAUSE).await;
        }
    })
}

async fn system_with_30_mb(engine: EngineKind) -> System {
    let system = System::start_with_settings(engine, &[("WATCH_SNAPSHOTS", "2")]).await;
    let keys = (0..30).map(|number| format!("k{number:02}"));
    system.database.put(keys, &"v".repeat(1_000_000), "null").await;
    system
}

/// Waits until the service has `count` watches.
async fn has_watches(system: &System, count: usize) {
    eventually("the clients watch", Duration::from_secs(5), async || {
        let metrics = get(system.reads().admin, "/metrics").await.body;
        if metrics.contains(&format!("keywire_watches {count}\n")) { Ok(()) } else { Err("not yet".into()) }
    })
    .await;
}

async fn a_slow_client_gives_way_to_those_that_wait(engine: EngineKind) {
    let system = system_with_30_mb(engine).await;
    let slow = [slow_client(system.http()), slow_client(system.http())];
    has_watches(&system, 2).await;
    let begun = Instant::now();
    let (events, _) = Watch::open(system.http(), "key=k07").await.ready().await;
    assert_eq!(events.len(), 1);
    assert!(slow.iter().all(|client| !client.is_finished()), "a few keys wait for nobody");
    // A client is slow after 10 s.
    let mut waiting = Watch::open(system.http(), "prefix=k1").await;
    let first = waiting.next_within(Duration::from_secs(30)).await.expect("it has its turn");
    assert_eq!(first.key(), Some("k10"), "after {:?}", begun.elapsed());
    let (events, _) = waiting.ready().await;
    assert_eq!(events.len(), 9);
}

async fn a_slow_client_gets_everything_while_nobody_waits(engine: EngineKind) {
    let system = system_with_30_mb(engine).await;
    let slow = slow_client(system.http());
    has_watches(&system, 1).await;
    // One more may read, so nobody waits. Longer than it takes to count as slow.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(12) {
        let (events, _) = Watch::open(system.http(), "prefix=k1").await.ready().await;
        assert_eq!(events.len(), 10);
    }
    assert!(!slow.is_finished());
    slow.abort();
}
