//! Limits of a client: connections, headers, messages and unread replies.

use std::time::{Duration, Instant};

use e2e::{EngineKind, Frame, HttpConnection, PATIENCE, RawSocket, Socket, System, promises, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

promises! {
    every:
        a_connection_over_the_cap_is_told_so,
        a_header_that_never_ends_is_not_waited_for,
        a_message_that_never_ends_closes_1008,
        a_message_in_tiny_fragments_is_not_assembled,
        a_client_that_never_reads_its_replies_is_closed;
    sqlite:
        a_client_that_does_not_answer_a_ping_is_closed;
}

async fn a_connection_over_the_cap_is_told_so(engine: EngineKind) {
    let system = System::start_with_settings(engine, &[("CONNECTIONS_MAX", "2")]).await;
    let (socket, mut idle) = (system.socket().await, HttpConnection::open(system.ws()).await);
    // A connection without a request would make room.
    assert_eq!(idle.get("/ws/asyncapi.yaml").await.status, 200);
    e2e::eventually("the cap is reached", PATIENCE, async || {
        let mut third = HttpConnection::open(system.ws()).await;
        match third.try_request("GET", "/ws/storage/", &[]).await {
            Ok(response) if response.status == 503 => {
                response.refused(503, "overloaded");
                assert_eq!(response.header("retry-after"), Some("1"));
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    socket.close().await;
    e2e::eventually("the place is free again", PATIENCE, async || {
        let opened = Socket::try_open_at(system.ws(), "/ws/storage/").await;
        opened.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

async fn a_header_that_never_ends_is_not_waited_for(engine: EngineKind) {
    let system = System::start_with_settings(engine, &[("HEADER_TIMEOUT_MS", "500")]).await;
    for addr in [system.ws(), system.http()] {
        let mut stream = TcpStream::connect(addr).await.expect("it listens");
        stream.write_all(b"GET /storage/a HTTP/1.1\r\nHost: a\r\nX: ").await.expect("it is sent");
        let closed = async {
            let mut rest = Vec::new();
            // More bytes, one by one, do not extend the time limit.
            loop {
                tokio::select! {
                    read = stream.read_buf(&mut rest) => if matches!(read, Ok(0) | Err(_)) { return rest },
                    () = tokio::time::sleep(Duration::from_millis(50)) => {
                        if stream.write_all(b"x").await.is_err() { return rest }
                    }
                }
            }
        };
        let said = within("the connection is closed", PATIENCE, closed).await;
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{said}");
    }
}

async fn a_message_that_never_ends_closes_1008(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = RawSocket::open(system.ws()).await;
    let started = Instant::now();
    socket.send(&Frame::new(0x01, *br#"{"key":"#).masked()).await.expect("it is sent");
    // One client sends a ping in between, which is answered and does not extend the time limit. The other one sends nothing more.
    let mut silent = RawSocket::open(system.ws()).await;
    silent.send(&[0x81]).await.expect("it is sent");
    socket.send(&Frame::new(0x89, *b"x").masked()).await.expect("it is sent");
    assert_eq!(socket.frame().await.expect("a pong"), Frame::new(0x8A, *b"x"));
    for socket in [&mut socket, &mut silent] {
        assert_eq!(socket.close_code().await, 1008);
        let elapsed = started.elapsed();
        assert!((9.0..13.0).contains(&elapsed.as_secs_f64()), "10 s from its first byte: {elapsed:?}");
    }
}

async fn a_message_in_tiny_fragments_is_not_assembled(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = RawSocket::open(system.ws()).await;
    let mut crumbs = Frame::text(*br#"{"key":"before","value":"v"}"#).masked();
    crumbs.extend(Frame::new(0x01, *b"{").masked());
    crumbs.extend(Frame::new(0x00, *b" ").masked().repeat(1000));
    socket.send(&crumbs).await.expect("it is sent");
    let reply = socket.frame().await.expect("what came before is answered");
    assert_eq!(reply.payload, br#"{"message":"before created","status":200}"#);
    assert_eq!(socket.close_code().await, 1008);
    // The same number of fragments of a useful size is a valid message.
    let mut socket = RawSocket::open(system.ws()).await;
    socket.send(&Frame::new(0x01, *b"{").masked()).await.expect("it is sent");
    for _ in 0..200 {
        socket.send(&Frame::new(0x00, [b' '; 1024]).masked()).await.expect("it is sent");
    }
    let end = Frame::new(0x80, *br#""key":"k","value":"v"}"#);
    socket.send(&end.masked()).await.expect("it is sent");
    let reply = socket.frame().await.expect("a reply");
    assert_eq!(reply.payload, br#"{"message":"k created","status":200}"#);
}

async fn a_client_that_does_not_answer_a_ping_is_closed(engine: EngineKind) {
    let system = System::start(engine).await;
    let opened = Instant::now();
    let (mut deaf, mut answers) = (RawSocket::open(system.ws()).await, RawSocket::open(system.ws()).await);
    for socket in [&mut deaf, &mut answers] {
        let ping = socket.frame_within(2 * PATIENCE).await.expect("a ping");
        assert_eq!(ping.first, 0x89);
    }
    answers.send(&Frame::new(0x8A, []).masked()).await.expect("it is open");
    let close = deaf.frame_within(2 * PATIENCE).await.expect("a Close");
    assert_eq!((close.first, &close.payload[..2]), (0x88, &1008u16.to_be_bytes()[..]), "{close:?}");
    assert!((38..45).contains(&opened.elapsed().as_secs()), "20 s and 20 s: {:?}", opened.elapsed());
    answers.send(&Frame::text(*br#"{"key":"k","value":"v"}"#).masked()).await.expect("it is open");
    assert_eq!(answers.frame().await.expect("the next ping").first, 0x89);
    assert_eq!(answers.frame().await.expect("a reply").payload, br#"{"message":"k created","status":200}"#);
}

async fn a_client_that_never_reads_its_replies_is_closed(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = RawSocket::open(system.ws()).await;
    // Each refusal is longer than the message that causes it. Messages are sent until the server stops reading, and then until it
    // closes the socket.
    let chunk = Frame::text(*br"{}").masked().repeat(10_000);
    let gone = async { while socket.send(&chunk).await.is_ok() {} };
    within("the server gives it up", Duration::from_mins(1), async {
        // `send` has a time limit: a server that stops reading but does not close would fail the test.
        gone.await;
    })
    .await;
    // Other clients are still served.
    let reply = system.socket().await.set("k", "v").await;
    assert_eq!(reply, r#"{"message":"k created","status":200}"#);
}
