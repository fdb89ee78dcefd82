//! A database that accepts connections and never answers: no write waits longer than its deadline.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use e2e::{Closed, PATIENCE, ServiceProcess, Socket, within, write};
use serde_json::Value;

/// The time limit of a write, and how much later its refusal may come on a busy machine.
const OP_TIMEOUT: Duration = Duration::from_millis(1500);
const LATE_MAX: Duration = Duration::from_secs(1);

/// A writer whose database never answers, and the listener of that database, which must be kept.
fn writer() -> (ServiceProcess, TcpListener) {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let at = silent.local_addr().expect("a bound socket has an address");
    let env = [
        ("DATABASE_URL", format!("mysql://nobody@{at}/none")),
        ("OP_TIMEOUT_MS", "1500".to_owned()),
        ("DRAIN_TIMEOUT_MS", "3000".to_owned()),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value));
    (ServiceProcess::start("ws-ingest", &env), silent)
}

async fn refused(socket: &mut Socket) {
    let reply = within("a reply", PATIENCE, socket.reply()).await.expect("the socket stays open");
    let reply: Value = serde_json::from_str(&reply).expect("JSON");
    assert_eq!((&reply["status"], &reply["code"]), (&503.into(), &"unavailable".into()), "{reply}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_write_is_refused_at_its_own_deadline() {
    let (writer, _silent) = writer();
    let mut socket = Socket::open(writer.public).await;
    let mut sent = Vec::new();
    for number in 0..10 {
        socket.send(write(&format!("k{number}"), "v")).await;
        sent.push(Instant::now());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for sent in sent {
        refused(&mut socket).await;
        let took = sent.elapsed();
        assert!(took < OP_TIMEOUT + LATE_MAX, "refused after {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_waits_for_earlier_writes_is_refused_at_its_deadline() {
    let (writer, _silent) = writer();
    let mut socket = Socket::open(writer.public).await;
    let sent = Instant::now();
    socket.send(write("a", "v")).await;
    socket.send(r#"{"op":"batch","ops":[{"key":"a","value":"w"}]}"#).await;
    for _ in 0..2 {
        refused(&mut socket).await;
        assert!(sent.elapsed() < OP_TIMEOUT + LATE_MAX, "refused after {:?}", sent.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_answers_everything_accepted() {
    let (mut writer, _silent) = writer();
    let mut socket = Socket::open(writer.public).await;
    for number in 0..5 {
        socket.send(write(&format!("k{number}"), "v")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    writer.terminate();
    for _ in 0..5 {
        refused(&mut socket).await;
    }
    assert_eq!(socket.closed().await, Closed::Code(Some(1001)));
    assert_eq!(writer.ended(PATIENCE).await.code(), Some(0), "{}", writer.log());
}
