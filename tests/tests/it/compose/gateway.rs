//! What the gateway itself refuses, so that no client occupies a service for longer than its request needs, and what it passes on for long.

use std::time::{Duration, Instant};

use e2e::{Compose, HttpConnection, PATIENCE, Socket, Watch, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a client sends first that speaks HTTP/2 without having asked.
const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long the gateway waits for the body of a request.
const BODY_MAX: Duration = Duration::from_secs(2);

/// A connection of HTTP/2 carries many requests at a time, and the limit of clients counts it as one.
pub(super) async fn http_2_is_refused(compose: &Compose) {
    let answer = answer(compose, PREFACE).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

/// A body occupies no service while it arrives.
pub(super) async fn a_request_body_is_short_and_quick(compose: &Compose) {
    let head = "GET /storage/hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nbegin";
    let started = Instant::now();
    let late = answer(compose, head).await;
    assert!(late.starts_with("HTTP/1.1 408 ") && late.contains(r#""code":"timeout""#), "{late}");
    let waited = started.elapsed();
    assert!((BODY_MAX..BODY_MAX * 2).contains(&waited), "refused after {waited:?}");

    let long = format!("Transfer-Encoding: chunked\r\n\r\n4000\r\n{}\r\n0\r\n\r\n", "x".repeat(0x4000));
    for rest in ["Content-Length: 8193\r\n\r\n".to_owned() + &"x".repeat(8193), long] {
        let refused =
            answer(compose, &format!("POST /storage/a HTTP/1.1\r\nHost: localhost\r\n{rest}")).await;
        assert!(refused.starts_with("HTTP/1.1 413 ") && refused.contains("too_large"), "{refused}");
    }
    let mut connection = HttpConnection::open(compose.gateway).await;
    let post = connection.request("POST", "/storage/a", &[("Content-Length", "0")]).await;
    post.refused(405, "bad_method");
}

/// Neither a stream nor a get that waits meets a time limit of the gateway, and events pass at once.
pub(super) async fn changes_pass_the_gateway_as_they_come(compose: &Compose) {
    let (mut waiting, waits) = (HttpConnection::open(compose.gateway).await, Instant::now());
    let headers = [("If-None-Match", "\"0\""), ("Prefer", "wait=20")];
    let waiting =
        tokio::spawn(async move { waiting.request("GET", "/storage/nobody-writes-it", &headers).await });
    let mut watch = Watch::open(compose.gateway, "prefix=watched/").await;
    watch.ready().await;
    let mut socket = Socket::open(compose.gateway).await;
    let mut took = Vec::new();
    for number in 0..100 {
        let sent = Instant::now();
        socket.set("watched/a", &number.to_string()).await;
        watch.round().await;
        took.push(sent.elapsed());
    }
    took.sort();
    // A proxy that waits for more to send takes a quarter of a second for most of them.
    assert!(took[50] < Duration::from_millis(150), "half of the events took longer than {:?}", took[50]);
    let response = within("the get that waits", PATIENCE * 3, waiting).await.expect("it does not panic");
    assert_eq!(response.status, 404, "{response:?}");
    assert!(waits.elapsed() >= Duration::from_secs(20), "{:?}", waits.elapsed());
    socket.set("watched/a", "last").await;
    watch.round().await;
}

/// What the gateway answers to `request` before it closes the connection.
async fn answer(compose: &Compose, request: &str) -> String {
    let mut stream = TcpStream::connect(compose.gateway).await.expect("the port is open");
    stream.write_all(request.as_bytes()).await.expect("the gateway reads it");
    let mut answer = vec![0; 4096];
    let length = within("an answer", PATIENCE, stream.read(&mut answer)).await.expect("it answers");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}
