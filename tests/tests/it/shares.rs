//! Exports are limited in number, and shared fairly among clients.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use e2e::{EngineKind, HttpConnection, PATIENCE, System, eventually, promises};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use crate::export::{heavy, incomplete, read_at, stalled, under_way};

promises! {
    every:
        exports_over_their_number_are_refused,
        slow_exports_of_one_client_do_not_keep_others_out;
    sqlite:
        slow_exports_of_several_clients_do_not_keep_another_one_out;
}

async fn exports_over_their_number_are_refused(engine: EngineKind) {
    let system = System::start_with_settings(engine, &[("EXPORTS_MAX", "1")]).await;
    heavy(&system).await;
    let first = stalled(&system).await;
    let mut connection = system.connection().await;
    let refused = connection.get("/export").await;
    refused.refused(503, "overloaded");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(connection.get("/storage/nobody").await.status, 404, "gets go on");
    assert_eq!(connection.get("/storage?limit=1").await.status, 200, "so do lists");
    drop(first);
    under_way(&system, 0).await;
    assert_eq!(connection.get("/export?prefix=heavy00").await.status, 200, "its place is free");
}

async fn slow_exports_of_one_client_do_not_keep_others_out(engine: EngineKind) {
    let system = System::start_with_settings(engine, &[("TRUST_FORWARDED_FOR", "true")]).await;
    heavy(&system).await;
    let begin = async |address: &str| {
        let mut connection = system.connection().await;
        connection.request("GET", "/export", &[("X-Forwarded-For", address)]).await
    };
    let mut slow = Vec::new();
    for count in 1..=4 {
        let mut connection = system.connection().await;
        connection.send_with("GET", "/export", &[("X-Forwarded-For", "10.0.0.1")]).await;
        connection.begun().await;
        under_way(&system, count).await;
        slow.push(connection);
    }
    begin("10.0.0.1").await.refused(503, "overloaded");
    assert_eq!(begin("10.0.0.2").await.body.lines().count(), 24, "an export of another address");
    incomplete(slow.pop().expect("it began")).await;
    under_way(&system, 3).await;
}

async fn slow_exports_of_several_clients_do_not_keep_another_one_out(engine: EngineKind) {
    let system = System::start(engine).await;
    heavy(&system).await;
    let begin = async |last: u8| {
        let socket = TcpSocket::new_v4().expect("there are sockets left");
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).expect("the address is of this machine");
        let mut client = socket.connect(system.http()).await.expect("the port is open");
        let request = "GET /export HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        client.write_all(request.as_bytes()).await.expect("it is read");
        client.read_exact(&mut [0; 1000]).await.expect("it begins");
        under_way(&system, usize::from(last)).await;
        client
    };
    // The first one reads 300 kB/s, the others 40 kB/s.
    let mut clients = Vec::new();
    for (last, bytes) in [(1, 30_000), (2, 4000), (3, 4000), (4, 4000)] {
        clients.push(tokio::spawn(read_at(bytes, begin(last).await)));
    }
    let started = Instant::now();
    let source = [127, 0, 0, 5].into();
    let mut other = HttpConnection::try_open_from(source, system.http()).await.expect("the port is open");
    other.get("/export").await.refused(503, "overloaded");
    let whole = eventually("an export of another address", PATIENCE, async || {
        let response = other.get("/export").await;
        if response.status == 200 { Ok(response) } else { Err(format!("{response:?}")) }
    })
    .await;
    assert_eq!(whole.body.lines().count(), 24);
    assert!(started.elapsed() > Duration::from_secs(8), "{:?}", started.elapsed());
    let mut complete = Vec::new();
    for client in clients {
        let response = client.await.expect("it ends");
        complete.push(response.is_ok_and(|response| response.ends_with(b"\r\n0\r\n\r\n")));
    }
    assert_eq!(complete, [true, false, true, true], "the oldest slow one gave way");
}
