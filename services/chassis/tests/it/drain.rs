//! A stop finishes the requests that have begun and takes no new ones.

use std::process::{Command, ExitCode};
use std::time::Duration;

use chassis::process::stop::{Signals, Stop, run_until_stopped};
use chassis::server::ConnectionLimits;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;

use crate::net::{TestServer, soon};

#[tokio::test]
async fn the_request_under_way_is_finished_and_new_connections_are_not_taken() {
    let mut server = TestServer::start(ConnectionLimits::default()).await;
    let mut client = server.connect().await;
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    soon("the request", server.waiting.wait_for(|count| *count == 1)).await.expect("the app lives");
    server.stop.begin();
    soon("a closed port", async { while TcpStream::connect(server.addr).await.is_ok() {} }).await;
    assert!(!server.task.is_finished());
    server.gate.send_replace(true);
    let reply = client.reply().await;
    assert_eq!((reply.status(), reply.body.as_str()), (200, "done"));
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(client.rest().await, "");
    soon("the end", server.task).await.expect("serve returned");
}

#[tokio::test]
async fn a_request_that_arrives_during_the_drain_is_refused() {
    // The edge is told of the stop before the accept loop is: this is the moment of a late request.
    let server = TestServer::start(ConnectionLimits::default()).await;
    let mut client = server.connect().await;
    server.edge_stop.begin();
    client.send("GET /keys/a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let reply = client.reply().await;
    reply.assert_problem(503, "stopping");
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_drain() {
    let server = TestServer::start(ConnectionLimits::default()).await;
    let mut client = server.connect().await;
    client.send("GET /keys/a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.reply().await.body, "a");
    server.stop.begin();
    assert_eq!(client.rest().await, "");
    soon("the end", server.task).await.expect("serve returned");
}

#[tokio::test]
async fn a_request_that_never_ends_is_dropped_at_the_drain_timeout() {
    let limits =
        ConnectionLimits { finish_timeout: Duration::from_millis(100), ..ConnectionLimits::default() };
    let server = TestServer::start(limits).await;
    let mut client = server.connect().await;
    client.send("GET /keys/a HTTP/1.1\r\nHost: a\r\n\r\nGET /never HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.reply().await.body, "a");
    server.stop.begin();
    soon("the end", server.task).await.expect("serve returned");
    let end = soon("the end", client.0.read_u8()).await.expect_err("nothing follows");
    assert_eq!(
        end.kind(),
        std::io::ErrorKind::ConnectionReset,
        "a part of a response cannot be taken for all of it"
    );
}

/// Held by a test while it sends signals to this process: the tests of other threads would receive them.
static SIGNALS: Mutex<()> = Mutex::const_new(());

fn raise(signal: &str) {
    let kill = format!("kill -{signal} {}", std::process::id());
    let status = Command::new("sh").args(["-c", &kill]).status();
    assert!(status.expect("a shell").success());
}

#[tokio::test]
async fn two_sighups_are_one_signal() {
    let _turn = SIGNALS.lock().await;
    let (stop, signals) = (Stop::new(), Signals::listen().expect("signal handlers"));
    let mut hangup = signal(SignalKind::hangup()).expect("a signal handler");
    raise("HUP");
    let work = async {
        soon("the drain", stop.wait()).await;
        hangup.recv().await;
        raise("HUP");
        soon("the second signal", hangup.recv()).await;
        // Whoever else waits for the signal has its turn.
        tokio::task::yield_now().await;
    };
    let hour = Duration::from_hours(1);
    let code = soon("the end", run_until_stopped(&stop, signals, hour, work)).await;
    assert_eq!(
        format!("{code:?}"),
        format!("{:?}", ExitCode::SUCCESS),
        "a terminal that is closed may send two"
    );
}

#[tokio::test]
async fn the_first_signal_begins_the_drain_and_the_second_ends_it() {
    let _turn = SIGNALS.lock().await;
    let (stop, signals) = (Stop::new(), Signals::listen().expect("signal handlers"));
    raise("TERM");
    let work = async {
        stop.wait().await;
        raise("INT");
        std::future::pending::<()>().await;
    };
    let hour = Duration::from_hours(1);
    let code = soon("the end", run_until_stopped(&stop, signals, hour, work)).await;
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::FAILURE));
    assert!(stop.begun());
}
