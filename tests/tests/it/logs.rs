//! Logs never hold up work, whatever happens to stderr.

use std::panic::AssertUnwindSafe;

use e2e::{
    Database, EngineKind, HttpConnection, PATIENCE, Role, ServiceProcess, Socket, binary, eventually,
    free_port, get, promises, within,
};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

promises! {
    sqlite:
        a_stderr_that_nobody_reads_holds_nothing_up,
        lines_that_were_left_out_are_counted_and_reported_when_stderr_is_read_again,
        a_stdout_that_is_full_holds_nothing_up;
}

/// Lines left out so far, by the metric.
async fn left_out(process: &ServiceProcess) -> u64 {
    let metrics = get(process.admin, "/metrics").await.body;
    let line = metrics.lines().find_map(|line| line.strip_prefix("keywire_log_lines_left_out_total "));
    line.unwrap_or_else(|| panic!("no count in {metrics}")).parse().expect("a count")
}

/// Makes the service log a line: this is no request.
async fn nonsense(process: &ServiceProcess) {
    let mut stream = TcpStream::connect(process.public).await.expect("it listens");
    stream.write_all(b"nonsense\r\n\r\n").await.expect("it reads");
    // The connection may be reset instead of closed.
    drop(within("an answer", PATIENCE, stream.read_to_end(&mut Vec::new())).await);
}

/// A service that logs into a pipe that nobody reads, after it has left out the first lines.
async fn unread(engine: EngineKind) -> (Database, ServiceProcess) {
    let database = Database::fresh(engine).await;
    let mut env = database.env(Role::Writer);
    env.push(("LOG".into(), "debug".into()));
    let process = ServiceProcess::start_unread("keywire", &env);
    process.ready().await;
    eventually("lines are left out", PATIENCE * 4, async || {
        for _ in 0..10 {
            join_all((0..100).map(|_| nonsense(&process))).await;
        }
        match left_out(&process).await {
            0 => Err("none yet".into()),
            _ => Ok(()),
        }
    })
    .await;
    (database, process)
}

async fn a_stderr_that_nobody_reads_holds_nothing_up(engine: EngineKind) {
    let (_database, mut process) = unread(engine).await;
    let mut socket = Socket::open(process.public).await;
    assert!(socket.set("k", "v").await.contains("created"));
    assert_eq!(get(process.public, "/storage/k").await.json()["value"], "v");
    for path in ["/livez", "/readyz"] {
        assert_eq!(get(process.admin, path).await.status, 200, "{path}");
    }
    process.terminate();
    assert_eq!(process.ended(PATIENCE).await.code(), Some(0));
}

async fn lines_that_were_left_out_are_counted_and_reported_when_stderr_is_read_again(engine: EngineKind) {
    let (_database, mut process) = unread(engine).await;
    process.read_stderr();
    eventually("the log says so", PATIENCE, async || {
        let log = process.log();
        if log.contains("log lines were left out") { Ok(()) } else { Err("not yet".into()) }
    })
    .await;
    process.stop().await;
    assert!(process.log().contains("stopping"), "the last lines are written before the end");
}

async fn a_stdout_that_is_full_holds_nothing_up(engine: EngineKind) {
    let database = Database::planned(engine, None);
    let (public, admin) = (free_port(), free_port());
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("it is there");
    let mut process = std::process::Command::new(binary("keywire"))
        .envs(database.env(Role::Writer))
        .env("LISTEN_ADDR", public.to_string())
        .env("ADMIN_ADDR", admin.to_string())
        .stdout(full)
        .spawn()
        .expect("it can be started");
    // Caught, so that the process is ended in any case.
    let works = AssertUnwindSafe(async {
        eventually("its port is open", PATIENCE, async || match HttpConnection::try_open(public).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        })
        .await;
        Socket::open(public).await.set("k", "v").await.contains("created")
    })
    .catch_unwind()
    .await;
    process.kill().expect("it runs");
    process.wait().expect("it ends");
    assert!(works.expect("a write is answered"));
}
