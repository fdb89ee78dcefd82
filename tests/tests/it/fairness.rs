//! Gets of one key and gets of many keys do not keep each other waiting, nor do the lists of different clients. Nobody waits for clients
//! that have gone.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use e2e::{EngineKind, HttpConnection, System, promises};
use futures_util::future::join_all;
use tokio::task::JoinHandle;

promises! {
    every:
        a_multi_get_that_is_too_large_costs_others_little,
        lists_of_clients_that_have_gone_do_not_keep_others_out;
    sqlite:
        single_gets_go_on_beside_multi_gets_of_large_values,
        single_gets_go_on_beside_multi_gets_of_many_keys,
        multi_gets_go_on_beside_single_gets,
        lists_go_on_beside_many_lists_of_another_address;
}

/// The time limit of a get of another client, in a debug build on a busy machine. A get that is never sent is answered after 10 s.
const SOON: Duration = Duration::from_secs(5);

/// Clients that ask for `target` again and again. They end when the result is dropped.
struct Crowd(Vec<JoinHandle<()>>);

impl Crowd {
    async fn start(system: &System, size: usize, method: &'static str, target: &str, status: u16) -> Self {
        let connections = join_all((0..size).map(|_| system.connection())).await;
        let ask = |mut connection: HttpConnection| {
            let (addr, target) = (system.http(), target.to_owned());
            tokio::spawn(async move {
                loop {
                    match connection.try_request(method, &target, &[]).await {
                        Ok(response) => assert!([status, 503].contains(&response.status), "{response:?}"),
                        // A client that is too slow on a busy machine is reset, and comes again.
                        Err(_) => connection = HttpConnection::open(addr).await,
                    }
                }
            })
        };
        Self(connections.into_iter().map(ask).collect())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// A target that asks for `count` keys which begin with `prefix`.
fn many(prefix: &str, count: usize) -> String {
    let keys: Vec<String> = (0..count).map(|number| format!("key={prefix}{number}")).collect();
    format!("/storage?{}", keys.join("&"))
}

/// Asks for `target` for a while. Every response comes soon and is a 200.
async fn all_answered_soon(system: &System, target: &str) {
    always_answered_soon(&mut system.connection().await, target).await;
}

async fn always_answered_soon(connection: &mut HttpConnection, target: &str) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        let asked = Instant::now();
        let response = connection.get(target).await;
        assert_eq!(response.status, 200, "{response:?}");
        assert!(asked.elapsed() < SOON, "answered after {:?}", asked.elapsed());
    }
}

/// A store with the key `small`, and `count` keys `large0`, `large1` and so on with values of 1 MiB.
async fn with_large_values(engine: EngineKind, count: usize) -> System {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let value = "v".repeat(1 << 20);
    for number in 0..count {
        socket.set(&format!("large{number}"), &value).await;
    }
    socket.set("small", "v").await;
    system
}

async fn single_gets_go_on_beside_multi_gets_of_large_values(engine: EngineKind) {
    let system = with_large_values(engine, 15).await;
    let _crowd = Crowd::start(&system, 8, "HEAD", &many("large", 15), 200).await;
    all_answered_soon(&system, "/storage/small").await;
    all_answered_soon(&system, "/storage/large0").await;
}

async fn single_gets_go_on_beside_multi_gets_of_many_keys(engine: EngineKind) {
    let system = with_large_values(engine, 0).await;
    let _crowd = Crowd::start(&system, 32, "GET", &many("absent", 100), 200).await;
    all_answered_soon(&system, "/storage/small").await;
}

async fn multi_gets_go_on_beside_single_gets(engine: EngineKind) {
    let system = with_large_values(engine, 0).await;
    let _crowd = Crowd::start(&system, 32, "GET", "/storage/small", 200).await;
    all_answered_soon(&system, &many("absent", 100)).await;
}

async fn a_multi_get_that_is_too_large_costs_others_little(engine: EngineKind) {
    let system = with_large_values(engine, 100).await;
    let reads = system.another_reader().await;
    let before = reads.memory();
    let mut connection = HttpConnection::open(reads.public).await;
    connection.get(&many("large", 100)).await.refused(413, "too_large");
    let more = reads.memory_max() - before;
    assert!(more < 32 * 1024, "{more} KiB for a refusal");
    let _crowd = Crowd::start(&system, 4, "GET", &many("large", 100), 413).await;
    all_answered_soon(&system, "/storage/small").await;
}

async fn lists_of_clients_that_have_gone_do_not_keep_others_out(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    // As JSON, each character takes six bytes, and a page 24 MiB.
    for number in 0..4 {
        socket.set(&format!("large{number}"), &"\u{1}".repeat(1 << 20)).await;
    }
    socket.set("small", "v").await;
    let mut others = join_all((0..250).map(|_| system.connection())).await;
    join_all(others.iter_mut().map(|other| other.send("GET", "/storage?prefix=large"))).await;
    drop(others);
    let mut connection = system.connection().await;
    // If all those lists were read first, the answer would be a 503 after 10 s.
    let response = connection.get("/storage?prefix=small").await;
    assert_eq!(response.status, 200, "{response:?}");
}

async fn lists_go_on_beside_many_lists_of_another_address(engine: EngineKind) {
    let system = with_large_values(engine, 15).await;
    // They come from 127.0.0.1. Each page has values of 4 MiB, and 16 pages take all the room for pages.
    let _crowd = Crowd::start(&system, 250, "GET", "/storage?limit=1000", 200).await;
    let source = IpAddr::from(Ipv4Addr::new(127, 0, 0, 2));
    let mut other = HttpConnection::try_open_from(source, system.http()).await.expect("the port is open");
    for target in ["/storage?prefix=small", "/storage?prefix=large&limit=1"] {
        always_answered_soon(&mut other, target).await;
    }
}
