//! Nothing more is done for a client that has gone. A client that has only closed its sending side gets its response.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use chassis::server::ConnectionLimits;
use tokio::io::AsyncReadExt as _;

use crate::net::{TestClient, TestServer, soon};

/// How long the end of a client's stream is held back during a request. What must not wait for it takes less.
const HALF_CLOSED_MAX: Duration = Duration::from_secs(1);

/// A server for one connection at a time.
async fn narrow() -> TestServer {
    TestServer::start(ConnectionLimits { connections_max: 1, ..ConnectionLimits::default() }).await
}

/// A client whose request for `path` has been sent.
async fn asking(server: &TestServer, path: &str) -> TestClient {
    let mut client = server.connect().await;
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    client
}

/// Waits until the only connection of `server` is free.
async fn freed(server: &TestServer) {
    soon("the connection is free", async {
        while asking(server, "/keys/a").await.reply().await.status() != 200 {}
    })
    .await;
}

#[tokio::test]
async fn a_request_whose_client_has_gone_is_dropped() {
    let mut server = narrow().await;
    let client = asking(&server, "/slow").await;
    soon("the request", server.waiting.wait_for(|count| *count == 1)).await.expect("the app lives");
    let left = Instant::now();
    drop(client);
    freed(&server).await;
    assert!(left.elapsed() >= HALF_CLOSED_MAX, "it may be a client that still reads");
}

#[tokio::test]
async fn a_half_closed_client_gets_its_response_and_is_closed_at_once() {
    let mut server = narrow().await;
    let mut client = asking(&server, "/slow").await;
    client.half_close().await;
    soon("the request", server.waiting.wait_for(|count| *count == 1)).await.expect("the app lives");
    let answered = Instant::now();
    server.gate.send_replace(true);
    assert_eq!(client.reply().await.body, "done");
    assert_eq!(client.rest().await, "");
    assert!(answered.elapsed() < HALF_CLOSED_MAX, "{:?}", answered.elapsed());
}

#[tokio::test]
async fn a_half_closed_client_gets_all_responses_it_has_asked_for() {
    let server = narrow().await;
    let mut client = server.connect().await;
    let requests = ["a", "b", "c"].map(|key| format!("GET /keys/{key} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.send(requests.concat()).await;
    client.half_close().await;
    for key in ["a", "b", "c"] {
        assert_eq!(client.reply().await.body, key);
    }
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_half_closed_client_may_read_slowly() {
    let server = narrow().await;
    let mut client = asking(&server, "/large").await;
    client.half_close().await;
    let mut response = vec![0; 1 << 20];
    for _ in 0..2 {
        soon("a part", client.0.read_exact(&mut response)).await.expect("the response goes on");
        // The client reads nothing for longer than the end of its stream is held back.
        tokio::time::sleep(HALF_CLOSED_MAX + HALF_CLOSED_MAX / 2).await;
    }
    soon("the rest", client.0.read_to_end(&mut response)).await.expect("a proper end");
    assert!(response.len() > 31 << 20, "{}", response.len());
}

#[tokio::test]
async fn a_response_that_halts_without_its_client_is_never_taken_for_complete() {
    let server = narrow().await;
    let mut client = server.connect().await;
    client.send("GET /halting HTTP/1.0\r\nHost: a\r\n\r\n").await;
    client.half_close().await;
    let mut response = Vec::new();
    let end = soon("the end", client.0.read_to_end(&mut response)).await;
    assert_eq!(end.expect_err("the response is incomplete").kind(), ErrorKind::ConnectionReset);
    assert!(response.ends_with(b"begun"), "{}", String::from_utf8_lossy(&response));
}

#[tokio::test]
async fn a_stream_that_sends_nothing_ends_after_its_client() {
    let server = narrow().await;
    let mut client = asking(&server, "/silent").await;
    assert!(client.head().await.starts_with("http/1.1 200 "));
    let left = Instant::now();
    drop(client);
    freed(&server).await;
    assert!(left.elapsed() >= HALF_CLOSED_MAX, "it may be a client that still reads");

    let mut client = asking(&server, "/silent").await;
    client.head().await;
    client.half_close().await;
    let end = soon("the end", client.0.read_u8()).await.expect_err("the stream is not complete");
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_idle_connection_and_an_upgraded_socket_end_with_their_client() {
    let server = narrow().await;
    let mut idle = asking(&server, "/keys/a").await;
    assert_eq!(idle.reply().await.body, "a");
    let mut silent_half = TestServer::start(ConnectionLimits::default()).await.connect().await;
    silent_half.send("GET /keys/").await;
    let mut upgraded = narrow().await.connect().await;
    upgraded.send("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    assert_eq!(upgraded.reply().await.status(), 101);
    for client in [&mut idle, &mut silent_half, &mut upgraded] {
        let left = Instant::now();
        client.half_close().await;
        client.rest().await;
        assert!(left.elapsed() < HALF_CLOSED_MAX, "{:?}", left.elapsed());
    }
}
