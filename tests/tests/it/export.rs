//! Exports: one snapshot, at the speed of the client; an incomplete export never looks complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use e2e::{EngineKind, HttpConnection, PATIENCE, Role, System, eventually, get, promises, within, write};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

promises! {
    every:
        an_export_is_what_was_written_and_can_be_written_again,
        an_export_is_one_snapshot_while_writers_go_on,
        a_client_that_takes_nothing_for_ten_seconds_is_given_up,
        a_slow_export_does_not_hold_up_the_stop;
    sqlite:
        a_client_that_reads_slowly_gets_all_of_it,
        an_export_without_chunks_that_is_given_up_is_reset,
        a_slow_export_does_not_keep_a_new_file_from_being_opened;
    sql:
        an_export_whose_connection_is_killed_is_visibly_incomplete;
}

/// An expiry long after this test.
const FUTURE: &str = "253402300799000000";

/// More bytes than all buffers on the way to a client hold.
pub(crate) async fn heavy(system: &System) {
    let value = "v".repeat(1 << 20);
    let mut socket = system.socket().await;
    for n in 0..24 {
        socket.set(&format!("heavy{n:02}"), &value).await;
    }
}

/// Waits until `count` exports are running.
pub(crate) async fn under_way(system: &System, count: usize) {
    let shown = format!("keywire_exports {count}\n");
    eventually(&shown, PATIENCE, async || {
        let metrics = get(system.reads().admin, "/metrics").await.body;
        let line = metrics.lines().find(|line| line.starts_with("keywire_exports "));
        if metrics.contains(&shown) { Ok(()) } else { Err(format!("{line:?}")) }
    })
    .await;
}

/// A client that has started an export and does not read it.
pub(crate) async fn stalled(system: &System) -> HttpConnection {
    let mut connection = system.connection().await;
    connection.send("GET", "/export").await;
    connection.begun().await;
    under_way(system, 1).await;
    connection
}

/// Reads a response to its end, at first `bytes` each 100 ms. At 5000 it takes much longer than the time after which a client that
/// takes nothing is reset.
pub(crate) async fn read_at(bytes: usize, mut client: TcpStream) -> std::io::Result<Vec<u8>> {
    let (mut all, started) = (Vec::new(), Instant::now());
    let mut due = tokio::time::interval(Duration::from_millis(100));
    while started.elapsed() < Duration::from_secs(16) {
        due.tick().await;
        let mut some = vec![0; bytes];
        let read = client.read(&mut some).await?;
        all.extend_from_slice(&some[..read]);
    }
    client.read_to_end(&mut all).await?;
    Ok(all)
}

/// Reads a body to its end. It must end before it is complete.
pub(crate) async fn incomplete(mut connection: HttpConnection) {
    let error =
        connection.try_response().await.expect_err("a body that is broken off must not look complete");
    assert!(
        matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset),
        "{error}"
    );
}

async fn an_export_is_what_was_written_and_can_be_written_again(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let mut expected: Vec<(String, String)> =
        (0..1000).map(|n| (format!("k{n:04}"), n.to_string())).collect();
    let odd = [("a\"\\\n", "\0\u{7f}\u{1f600}"), ("..", ""), ("\u{10ffff}", "\r\n"), ("user/a b", "\\n")];
    expected.extend(odd.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let writes = expected.iter().map(|(key, value)| write(key, value));
    socket.try_send_all(writes).await.expect("they are sent");
    for _ in &expected {
        socket.next().await;
    }
    system.database.put(["dead".to_owned()], "", "0").await;
    expected.sort_unstable();
    let exported = get(system.http(), "/export").await;
    assert_eq!(exported.status, 200);
    assert_eq!(exported.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(exported.header("cache-control"), Some("no-store"));
    assert!(exported.body.ends_with('\n'));
    let pair = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        let text = |name: &str| line[name].as_str().map(ToOwned::to_owned);
        (text("key").expect("a key"), text("value").expect("a value"))
    };
    assert_eq!(exported.body.lines().map(pair).collect::<Vec<_>>(), expected);

    let other = System::start(engine).await;
    let mut socket = other.socket().await;
    let lines = exported.body.lines().map(ToOwned::to_owned);
    socket.try_send_all(lines).await.expect("they are sent");
    for _ in &expected {
        let reply = socket.next().await;
        assert!(reply.ends_with(r#" created","status":200}"#), "{reply}");
    }
    assert!(get(other.http(), "/export").await.body == exported.body, "a copy of a copy is the same");

    other.database.put(["expiring".to_owned()], "v", FUTURE).await;
    let expiring = get(other.http(), "/export?prefix=exp").await.body;
    assert_eq!(expiring, format!("{{\"key\":\"expiring\",\"value\":\"v\",\"expires_at\":{FUTURE}}}\n"));
    assert_eq!(get(other.http(), "/export?prefix=user/").await.body.lines().count(), 1);
    assert_eq!(get(other.http(), "/export?prefix=nobody").await.body, "");
    get(other.http(), "/export?limit=1").await.refused(422, "bad_parameter");
}

async fn an_export_is_one_snapshot_while_writers_go_on(engine: EngineKind) {
    let system = System::start(engine).await;
    heavy(&system).await;
    let mut socket = system.socket().await;
    let rounds = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&rounds);
    let writer = tokio::spawn(async move {
        for round in 0u64.. {
            // The two are written one after the other: at any instant they are equal, or the first is one ahead.
            socket.set("a", &round.to_string()).await;
            socket.set("z", &round.to_string()).await;
            counter.store(round, Ordering::Relaxed);
        }
    });
    let past = async |round: u64| {
        eventually("writers go on", PATIENCE, async || match rounds.load(Ordering::Relaxed) {
            now if now > round => Ok(()),
            now => Err(format!("{now}, not past {round}")),
        })
        .await;
    };
    past(0).await;
    let mut connection = stalled(&system).await;
    past(rounds.load(Ordering::Relaxed) + 20).await;
    let exported = connection.response().await;
    writer.abort();
    let lines: Vec<Value> =
        exported.body.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    assert_eq!(lines.len(), 26);
    let round = |line: &Value| line["value"].as_str().and_then(|value| value.parse::<u64>().ok());
    let (a, z) = (round(&lines[0]).expect("a number"), round(&lines[25]).expect("a number"));
    assert!(a == z || a == z + 1, "a is of round {a}, z of round {z}");
    assert!(rounds.load(Ordering::Relaxed) >= z + 20, "writers went on while it was read");
}

async fn a_client_that_takes_nothing_for_ten_seconds_is_given_up(engine: EngineKind) {
    let system = System::start(engine).await;
    heavy(&system).await;
    let connection = stalled(&system).await;
    let started = Instant::now();
    under_way(&system, 0).await;
    let took = started.elapsed().as_secs_f64();
    assert!((9.0..14.0).contains(&took), "given up after {took} s");
    if engine != EngineKind::Sqlite {
        // Only the four connections for gets are left.
        eventually("its connection is gone", PATIENCE, async || {
            match system.database.connections(Role::Reader).await.len() {
                4 => Ok(()),
                count => Err(format!("{count} connections")),
            }
        })
        .await;
    }
    incomplete(connection).await;
}

async fn a_client_that_reads_slowly_gets_all_of_it(engine: EngineKind) {
    let system = System::start(engine).await;
    heavy(&system).await;
    let mut client = TcpStream::connect(system.http()).await.expect("the port is open");
    let request = "GET /export HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    client.write_all(request.as_bytes()).await.expect("it is read");
    let all = read_at(5000, client).await.expect("it is not broken off");
    assert!(all.ends_with(b"\r\n0\r\n\r\n"), "its last chunk is there");
    assert_eq!(String::from_utf8_lossy(&all).matches("\"key\":\"heavy").count(), 24);
}

async fn an_export_without_chunks_that_is_given_up_is_reset(engine: EngineKind) {
    let system = System::start(engine).await;
    heavy(&system).await;
    let mut client = TcpStream::connect(system.http()).await.expect("the port is open");
    client.write_all(b"GET /export HTTP/1.0\r\n\r\n").await.expect("it is read");
    client.read_exact(&mut [0; 1000]).await.expect("it begins");
    under_way(&system, 1).await;
    under_way(&system, 0).await;
    let end = client.read_to_end(&mut Vec::new()).await.expect_err("it must not look complete");
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset, "{end}");
}

async fn a_slow_export_does_not_hold_up_the_stop(engine: EngineKind) {
    let mut system = System::start_with_settings(engine, &[("DRAIN_TIMEOUT_MS", "2000")]).await;
    heavy(&system).await;
    let connection = stalled(&system).await;
    let reader = system.reader.as_mut().unwrap_or(&mut system.writer);
    reader.terminate();
    let status = reader.ended(Duration::from_secs(5)).await;
    assert_eq!(status.code(), Some(0), "{}", reader.log());
    incomplete(connection).await;
}

async fn a_slow_export_does_not_keep_a_new_file_from_being_opened(engine: EngineKind) {
    let mut other = System::start(engine).await;
    other.socket().await.set("other", "here").await;
    other.writer.stop().await;
    let system = System::start(engine).await;
    heavy(&system).await;
    let export = stalled(&system).await;
    std::fs::rename(other.database.file(), system.database.file()).expect("both are on one disk");
    // The export would be given up after 10 s.
    let found = within("a get from the new file", Duration::from_secs(6), system.read("other")).await;
    assert_eq!(found.json()["value"], "here", "{found:?}");
    assert!(system.socket().await.set("new", "1").await.contains("new created"));
    incomplete(export).await;
}

async fn an_export_whose_connection_is_killed_is_visibly_incomplete(engine: EngineKind) {
    let system = System::start(engine).await;
    heavy(&system).await;
    let connection = stalled(&system).await;
    let newest = *system.database.connections(Role::Reader).await.last().expect("it has connections");
    let mut root = system.database.root().await;
    root.execute(AssertSqlSafe(format!("kill {newest}"))).await.expect("it can be killed");
    incomplete(connection).await;
    under_way(&system, 0).await;
    let whole = get(system.http(), "/export").await;
    assert_eq!(whole.body.lines().count(), 24, "the next one is whole");
}
