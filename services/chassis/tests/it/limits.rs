//! The limits of connections, so that one client cannot block others.

use std::time::{Duration, Instant};

use chassis::server::ConnectionLimits;
use tokio::io::AsyncReadExt as _;

use crate::net::{TestClient, TestServer, soon};

fn limits(change: impl FnOnce(&mut ConnectionLimits)) -> ConnectionLimits {
    let mut limits = ConnectionLimits::default();
    change(&mut limits);
    limits
}

/// Connects until a connection is served.
async fn served(server: &TestServer) -> TestClient {
    soon("a connection under the limit", async {
        loop {
            let mut client = server.connect().await;
            client.send("GET /keys/a HTTP/1.1\r\nHost: a\r\n\r\n").await;
            if client.reply().await.status() == 200 {
                return client;
            }
        }
    })
    .await
}

#[tokio::test]
async fn half_a_header_is_answered_408_and_closed_at_the_timeout() {
    let timeout = Duration::from_millis(200);
    let server = TestServer::start(limits(|limits| limits.header_timeout = timeout)).await;
    let mut client = server.connect().await;
    let started = Instant::now();
    client.send("GET /keys/a HTTP/1.1\r\nHost: ").await;
    client.reply().await.assert_problem(408, "timeout");
    assert_eq!(client.rest().await, "");
    assert!(started.elapsed() >= timeout);
}

#[tokio::test]
async fn single_bytes_do_not_extend_the_header_timeout() {
    let server = TestServer::start(limits(|limits| limits.header_timeout = Duration::from_millis(200))).await;
    let mut client = server.connect().await;
    client.send("GET /keys/").await;
    let (mut reader, mut writer) = client.0.into_split();
    let drip = tokio::spawn(async move {
        let mut every = tokio::time::interval(Duration::from_millis(20));
        loop {
            every.tick().await;
            if tokio::io::AsyncWriteExt::write_all(&mut writer, b"a").await.is_err() {
                return;
            }
        }
    });
    let mut answer = vec![0; 12];
    soon("the answer", reader.read_exact(&mut answer)).await.expect("an answer");
    assert_eq!(answer, b"HTTP/1.1 408");
    soon("the close", drip).await.expect("the writer notices");
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word() {
    let server = TestServer::start(limits(|limits| limits.header_timeout = Duration::from_millis(100))).await;
    assert_eq!(server.connect().await.rest().await, "");
    let mut used = served(&server).await;
    assert_eq!(used.rest().await, "");
}

#[tokio::test]
async fn a_connection_over_the_limit_is_refused_and_a_closed_one_makes_room() {
    let server = TestServer::start(limits(|limits| limits.connections_max = 1)).await;
    let first = served(&server).await;
    let mut second = server.connect().await;
    second.send("GET /keys/a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let reply = second.reply().await;
    reply.assert_problem(503, "overloaded");
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(second.rest().await, "");
    drop(first);
    served(&server).await;
}

#[tokio::test]
async fn the_oldest_connection_without_a_request_makes_room() {
    let server = TestServer::start(limits(|limits| limits.connections_max = 3)).await;
    let mut used = served(&server).await;
    let mut half = server.connect().await;
    half.send("GET /keys/a HTTP/1.1\r\nHost: ").await;
    let mut younger = server.connect().await;
    let mut newest = served(&server).await;
    assert_eq!(half.rest().await, "", "half a head is not a request");
    for client in [&mut used, &mut newest, &mut younger] {
        client.send("GET /keys/b HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.reply().await.body, "b");
    }
    server.ask("GET /keys/a HTTP/1.1\r\nHost: a\r\n\r\n").await.assert_problem(503, "overloaded");
}

#[tokio::test]
async fn a_request_under_way_and_an_open_socket_never_make_room() {
    let mut server = TestServer::start(limits(|limits| limits.connections_max = 3)).await;
    let mut socket = server.connect().await;
    socket.send("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    assert_eq!(socket.reply().await.status(), 101);
    let mut slow = server.connect().await;
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    soon("the request", server.waiting.wait_for(|count| *count == 1)).await.expect("the app lives");
    // One place is left, which these connections take from each other.
    for _ in 0..5 {
        let mut silent = server.connect().await;
        server.connect().await;
        assert_eq!(silent.rest().await, "");
    }
    server.gate.send_replace(true);
    assert_eq!(slow.reply().await.body, "done");
    socket.send("a byte").await;
    let nothing = socket.0.try_read(&mut [0]).expect_err("nothing is sent and nothing is closed");
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn an_upgraded_socket_counts_until_it_is_closed() {
    let server = TestServer::start(limits(|limits| limits.connections_max = 1)).await;
    let mut socket = served(&server).await;
    socket.send("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    assert_eq!(socket.reply().await.status(), 101);
    for _ in 0..3 {
        server.ask("GET /keys/a HTTP/1.1\r\nHost: a\r\n\r\n").await.assert_problem(503, "overloaded");
    }
    drop(socket);
    served(&server).await;
}

/// A client that has asked for `path`, whose response is larger than all buffers on the way, and does not read it.
async fn deaf(server: &TestServer, path: &str) -> TestClient {
    let mut deaf = server.connect().await;
    deaf.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    // The response has begun, so the connection counts.
    assert_eq!(soon("the answer", deaf.0.read_u8()).await.expect("an answer"), b'H');
    deaf
}

#[tokio::test]
async fn a_client_that_does_not_read_its_response_is_closed() {
    let server = TestServer::start(limits(|limits| {
        limits.connections_max = 1;
        limits.write_timeout = Duration::from_millis(100);
    }))
    .await;
    let mut deaf = deaf(&server, "/large").await;
    served(&server).await;
    let end =
        soon("the end", deaf.0.read_to_end(&mut Vec::new())).await.expect_err("a part is not all of it");
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_request_may_give_its_client_more_time_to_read() {
    let server = TestServer::start(limits(|limits| {
        limits.connections_max = 1;
        limits.write_timeout = Duration::from_millis(100);
    }))
    .await;
    let begun = Instant::now();
    let _deaf = deaf(&server, "/patient/1500/33554432").await;
    served(&server).await;
    assert!(begun.elapsed() >= Duration::from_millis(1500), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn the_next_request_has_the_usual_time_again() {
    let server = TestServer::start(limits(|limits| {
        limits.connections_max = 1;
        limits.write_timeout = Duration::from_millis(100);
    }))
    .await;
    let mut client = server.connect().await;
    client.send("GET /patient/3600000/5 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.reply().await.body, "xxxxx");
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(soon("the answer", client.0.read_u8()).await.expect("an answer"), b'H');
    served(&server).await;
}
