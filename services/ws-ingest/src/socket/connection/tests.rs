//! When a socket is closed, and what the client is told.

use chassis::access::Access;
use chassis::process::stop::Stop;
use chassis::telemetry::Telemetry;
use http::HeaderMap;
use tokio::io::AsyncReadExt as _;
use tokio::sync::Semaphore;

use super::super::fixture::writer;
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
        message_budget: Arc::new(Semaphore::new(0)),
        exports_spans: false,
    })
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_a_ping_is_told_why_its_socket_closes() {
    // Half a ping fills the buffer between the two.
    let (server, mut client) = tokio::io::duplex(1);
    let caller = Access::default().caller(&HeaderMap::new(), None).expect("everyone is served");
    tokio::spawn(serve(server, caller, context()));
    tokio::time::sleep(PING + UNREAD_MAX + Duration::from_millis(500)).await;
    let mut sent = Vec::new();
    client.read_to_end(&mut sent).await.expect("the stream ends");
    let reason = b"replies were not read for 10 s";
    let length = u8::try_from(2 + reason.len()).expect("a short frame");
    let (ping, close) = ([0x89, 0], [0x88, length]);
    assert_eq!(sent, [&ping[..], &close, &1008_u16.to_be_bytes(), reason].concat());
}
