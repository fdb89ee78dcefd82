//! A process that stands still for a while, as by `docker pause` or a snapshot of its machine, blames no client for it.

use std::time::Duration;

use e2e::{EngineKind, Frame, PATIENCE, RawSocket, System, promises, signal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

promises! {
    sqlite:
        a_pause_closes_no_connection;
}

async fn a_pause_closes_no_connection(engine: EngineKind) {
    let system = System::start(engine).await;
    system.socket().await.set("k", "v").await;
    let mut idle = Vec::new();
    for _ in 0..10 {
        idle.push(RawSocket::open(system.ws()).await);
    }
    // Shortly before the first ping: then the ping and the limit of its pong are over at the same time.
    sleep(Duration::from_secs(19)).await;
    let write = Frame::text(*br#"{"key":"k","value":"w"}"#).masked();
    let (begin, end) = write.split_at(write.len() / 2);
    let mut halved = RawSocket::open(system.ws()).await;
    halved.send(begin).await.expect("it is open");
    let mut request = TcpStream::connect(system.http()).await.expect("it listens");
    request.write_all(b"GET /storage/k HTTP/1.1\r\nConnection: close\r\nHo").await.expect("it is open");

    signal("STOP", system.writer.id());
    sleep(Duration::from_secs(22)).await;
    signal("CONT", system.writer.id());
    // A client that is slow, but not too slow.
    sleep(Duration::from_secs(3)).await;

    halved.send(end).await.expect("it is open");
    assert_eq!(halved.frame_within(PATIENCE).await.expect("a ping").first, 0x89);
    let reply = halved.frame().await.expect("a reply");
    assert_eq!(reply.payload, br#"{"message":"k updated","status":200}"#);
    request.write_all(b"st: localhost\r\n\r\n").await.expect("it is open");
    let mut response = String::new();
    request.read_to_string(&mut response).await.expect("a response");
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    for socket in &mut idle {
        socket.send(&write).await.expect("it is open");
        let ping = socket.frame_within(PATIENCE).await.expect("a ping");
        assert_eq!(ping.first, 0x89, "one ping, and no Close: {ping:?}");
        assert_eq!(
            socket.frame().await.expect("a reply").payload,
            br#"{"message":"k updated","status":200}"#
        );
    }
}
