//! When a socket is closed, and what the client is told.

use chassis::access::Access;
use chassis::process::stop::Stop;
use chassis::telemetry::{ResourceAttributes, Telemetry};
use futures_util::FutureExt as _;
use http::HeaderMap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::Semaphore;

use super::super::budget::MessageBudgets;
use super::super::fixture::{frame, writer};
use super::super::parsing::Parsers;
use super::super::transport::UNREAD_MAX;
use super::*;
use crate::metrics::Metrics;
use crate::protocol::MessageLimits;

fn context() -> Arc<SocketContext> {
    let telemetry = Telemetry::new("test", None, &ResourceAttributes::default()).expect("metrics");
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
    client_of(&context(), bytes)
}

/// Like [`client`], in this context.
fn client_of(context: &Arc<SocketContext>, bytes: usize) -> DuplexStream {
    let (server, client) = tokio::io::duplex(bytes);
    let caller = Access::default().caller(&HeaderMap::new(), None).expect("everyone is served");
    tokio::spawn(serve(server, caller, UnknownMembers::Ignored, Arc::clone(context)));
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

/// A context whose sockets have `bytes` bytes for large messages, and `parser` for long ones.
fn context_with(bytes: usize, parser: &Arc<Semaphore>) -> Arc<SocketContext> {
    let mut context = Arc::into_inner(context()).expect("nobody else has it");
    context.limits.value_bytes_max = 50_000;
    context.message_budgets = Arc::new(MessageBudgets::of(bytes, bytes));
    context.parsers = Parsers::of(parser);
    Arc::new(context)
}

/// Waits for the next reply, for 5 s at most.
async fn reply(client: &mut DuplexStream) {
    let read = tokio::time::timeout(Duration::from_secs(5), client.read_u8()).await;
    assert_eq!(read.expect("a reply in time").expect("the socket is open"), 0x81);
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_reply_is_not_read_keeps_no_memory() {
    let context = context_with(60_000, &Arc::new(Semaphore::new(1)));
    // No reply fits into the buffer between the two.
    let (mut unread, mut other) = (client_of(&context, 16), client_of(&context, 100_000));
    let large = frame(0x81, 40_000);
    unread.write_all(&large).await.expect("it is read");
    other.write_all(&large).await.expect("it fits");
    reply(&mut other).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_of_a_client_that_does_not_read_gives_way() {
    let context = context_with(60_000, &Arc::new(Semaphore::new(1)));
    let (mut unread, mut other) = (client_of(&context, 16), client_of(&context, 100_000));
    let (begin, ping, end) = (frame(0x01, 40_000), frame(0x89, 100), frame(0x80, 10));
    unread.write_all(&[&begin[..], &ping].concat()).await.expect("it is read");
    other.write_all(&[begin, end].concat()).await.expect("it fits");
    reply(&mut other).await;
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_write_begins_before_it_is_parsed() {
    let parser = Arc::new(Semaphore::new(1));
    let mut client = client_of(&context_with(60_000, &parser), 100_000);
    let busy = parser.acquire().await.expect("it is open");
    let text = format!(r#"{{"key":"a","value":"{}"}}"#, "v".repeat(40_000));
    let mut message = frame(0x81, text.len());
    let payload = message.len() - text.len();
    message[payload..].copy_from_slice(text.as_bytes());
    client.write_all(&message).await.expect("it fits");
    tokio::time::sleep(Duration::from_secs(8)).await;
    drop(busy);
    reply(&mut client).await;
}

#[tokio::test]
async fn a_client_that_sends_many_messages_at_once_leaves_turns_to_others() {
    let mut client = client(1 << 20);
    let messages = 20 * MESSAGES_PER_TURN;
    client.write_all(&frame(0x81, 2).repeat(messages)).await.expect("they fit");
    let (mut replies, mut turns) = (0, 0);
    while replies < messages {
        yield_now().await;
        turns += 1;
        let mut part = [0; 16 * 1024];
        if let Some(read) = client.read(&mut part).now_or_never() {
            let count = read.expect("the socket is open");
            assert_ne!(count, 0, "the socket is open");
            replies += part[..count].split(|byte| *byte == 0x81).count() - 1;
        }
    }
    assert!(turns >= 20, "{turns} turns of others");
}
