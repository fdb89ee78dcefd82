//! When a socket is closed, and what the client is told.

use chassis::access::Access;
use chassis::process::stop::Stop;
use chassis::telemetry::Telemetry;
use http::HeaderMap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::super::budget::MessageBudgets;
use super::super::fixture::{frame, writer};
use super::super::parsing::Parsers;
use super::*;
use crate::metrics::Metrics;
use crate::protocol::MessageLimits;

fn context() -> Arc<SocketContext> {
    let telemetry = Telemetry::new("test", None).expect("metrics");
    Arc::new(SocketContext {
        writer: writer(),
        limits: MessageLimits { key_bytes_max: 512, value_bytes_max: 512 },
        metrics: Metrics::new(&telemetry.meter(), "test"),
        stop: Stop::new(),
        message_budgets: Arc::new(MessageBudgets::new(1024)),
        parsers: Parsers::new(),
        exports_spans: false,
    })
}

/// The client of a socket that is served over a stream with a buffer of `bytes`.
fn client(bytes: usize) -> DuplexStream {
    let (server, client) = tokio::io::duplex(bytes);
    let caller = Access::default().caller(&HeaderMap::new(), None).expect("everyone is served");
    tokio::spawn(serve(server, caller, context()));
    client
}

/// The Close with code 1008 and `reason`, as it is sent.
fn policy_close(reason: &str) -> Vec<u8> {
    let length = u8::try_from(2 + reason.len()).expect("a short frame");
    [&[0x88, length], &1008_u16.to_be_bytes()[..], reason.as_bytes()].concat()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_a_ping_is_told_why_its_socket_closes() {
    // Half a ping fills the buffer between the two.
    let mut client = client(1);
    tokio::time::sleep(PING + UNREAD_MAX + Duration::from_millis(500)).await;
    let mut sent = Vec::new();
    client.read_to_end(&mut sent).await.expect("the stream ends");
    assert_eq!(sent, [&[0x89, 0][..], &policy_close("replies were not read for 10 s")].concat());
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_the_process_does_not_count_as_a_missing_pong() {
    let mut client = client(1024);
    for _ in 0..3 {
        let mut ping = [0; 2];
        client.read_exact(&mut ping).await.expect("a ping");
        assert_eq!(ping, [0x89, 0]);
        // Several pings and the pong are due at once. The pong comes a little later.
        tokio::time::advance(5 * PING).await;
        tokio::time::sleep(PING / 4).await;
        client.write_all(&frame(0x8a, 0)).await.expect("the socket is open");
    }
    let begun = Instant::now();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.expect("the stream ends");
    assert_eq!(rest, [&[0x89, 0][..], &policy_close("no pong within 20 s of a ping")].concat());
    assert!(begun.elapsed() < 3 * PING, "a client that is silent is still given up");
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_the_process_does_not_count_as_a_slow_message() {
    let mut client = client(1024);
    let message = frame(0x81, 40);
    for byte in &message {
        client.write_all(&[*byte]).await.expect("the socket is open");
        tokio::time::sleep(Duration::from_millis(100)).await;
        tokio::time::advance(PING).await;
    }
    let mut reply = [0; 2];
    client.read_exact(&mut reply).await.expect("a reply");
    while reply == [0x89, 0] {
        client.read_exact(&mut reply).await.expect("a reply");
    }
    assert_eq!(reply[0], 0x81, "the message is complete, and it is refused");
}
