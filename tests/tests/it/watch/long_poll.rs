//! A get that waits until no tag of its `If-None-Match` holds any more.

use std::time::{Duration, Instant};

use e2e::{
    EngineKind, HttpConnection, PATIENCE, Response, ServiceProcess, Socket, System, eventually, get,
    promises, rev,
};

use super::{delete, set};

promises! {
    every:
        a_get_waits_for_a_change_on_any_replica,
        after_its_time_the_answer_is_that_nothing_has_changed,
        a_get_that_has_nothing_to_wait_for_is_answered_at_once,
        the_tag_0_stands_for_absence,
        a_wait_of_more_than_a_minute_is_one_of_a_minute,
        a_change_at_the_same_time_is_not_missed,
        a_drain_answers_gets_that_wait;
}

const NOTHING: &str = r#"{"message":"No value found for key k","status":404}"#;

fn tag(rev: u64) -> String {
    format!("\"{rev}\"")
}

/// The answer to a get of `k` with these tags that waits for `seconds`.
async fn wait(connection: &mut HttpConnection, method: &str, tags: &str, seconds: u32) -> Response {
    let prefer = format!("wait={seconds}");
    connection.request(method, "/storage/k", &[("If-None-Match", tags), ("Prefer", &prefer)]).await
}

/// The same, if `message` is sent once the get waits. Returns the reply to the message, too.
async fn answered_by(
    reads: &ServiceProcess,
    tags: &str,
    socket: &mut Socket,
    message: String,
) -> (Response, String) {
    let mut connection = HttpConnection::open(reads.public).await;
    connection.send_with("GET", "/storage/k", &[("If-None-Match", tags), ("Prefer", "wait=12")]).await;
    waits(reads).await;
    let sent = Instant::now();
    let reply = socket.ask(message).await;
    let response = connection.response().await;
    assert!(sent.elapsed() < Duration::from_secs(2), "answered {:?} after the change", sent.elapsed());
    assert_eq!(response.header("preference-applied"), Some("wait=12"));
    (response, reply)
}

/// Waits until a get waits.
async fn waits(reads: &ServiceProcess) {
    eventually("a get waits", PATIENCE, async || {
        let metrics = get(reads.admin, "/metrics").await.body;
        if metrics.contains("keywire_watches 1\n") { Ok(()) } else { Err("none does".into()) }
    })
    .await;
}

async fn a_get_waits_for_a_change_on_any_replica(engine: EngineKind) {
    let system = System::start(engine).await;
    let other = system.another_reader().await;
    let mut socket = system.socket().await;
    for reads in [system.reads(), &other] {
        let first = rev(&socket.ask(set("k", "1")).await);
        // Tags of other versions do not matter.
        let tags = format!("\"7\", {}, \"0\"", tag(first));
        let (response, reply) = answered_by(reads, &tags, &mut socket, set("k", "2")).await;
        assert_eq!(response.body, r#"{"key":"k","value":"2","message":"","status":200}"#);
        assert_eq!(response.header("etag"), Some(tag(rev(&reply)).as_str()));
        assert_eq!(response.header("cache-control"), Some("no-cache"));
        let weak = format!("W/{}", tag(rev(&reply)));
        let (response, _) = answered_by(reads, &weak, &mut socket, delete("k")).await;
        assert_eq!((response.status, response.body.as_str()), (404, NOTHING));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        let (response, reply) = answered_by(reads, "\"0\"", &mut socket, set("k", "3")).await;
        assert_eq!(response.status, 200);
        let (response, _) = answered_by(reads, "*", &mut socket, delete("k")).await;
        assert_eq!(response.status, 404, "{response:?} after {reply}");
    }
}

async fn after_its_time_the_answer_is_that_nothing_has_changed(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let current = tag(rev(&socket.ask(set("k", "1")).await));
    let mut connection = system.connection().await;
    for method in ["GET", "HEAD"] {
        let asked = Instant::now();
        let response = wait(&mut connection, method, &current, 1).await;
        assert_eq!((response.status, response.header("etag")), (304, Some(current.as_str())), "{response:?}");
        assert_eq!(response.header("cache-control"), Some("no-cache"));
        assert_eq!(response.header("preference-applied"), Some("wait=1"));
        let took = asked.elapsed().as_secs_f64();
        assert!((1.0..3.0).contains(&took), "{method} took {took} s");
    }
    socket.ask(delete("k")).await;
    let asked = Instant::now();
    let response = wait(&mut connection, "GET", "\"0\"", 1).await;
    assert_eq!((response.status, response.body.as_str()), (404, NOTHING));
    assert_eq!(response.header("preference-applied"), Some("wait=1"));
    assert!(asked.elapsed() >= Duration::from_secs(1));
}

async fn a_get_that_has_nothing_to_wait_for_is_answered_at_once(engine: EngineKind) {
    let system = System::start(engine).await;
    let current = tag(rev(&system.socket().await.ask(set("k", "1")).await));
    let mut connection = system.connection().await;
    let asked = Instant::now();
    for headers in [
        &[("Prefer", "wait=60")][..],
        &[("Prefer", "wait=60"), ("If-None-Match", "\"7\"")],
        &[("Prefer", "wait=60"), ("If-None-Match", "\"0\"")],
    ] {
        let response = connection.request("GET", "/storage/k", headers).await;
        assert_eq!((response.status, response.header("etag")), (200, Some(current.as_str())), "{headers:?}");
    }
    for prefer in ["wait=0", "respond-async", "wait=soon", "wait=-1"] {
        let headers = [("If-None-Match", current.as_str()), ("Prefer", prefer)];
        let response = connection.request("GET", "/storage/k", &headers).await;
        assert_eq!(response.status, 304, "{prefer}");
    }
    let headers = [("If-None-Match", "\"7\""), ("Prefer", "wait=60")];
    assert_eq!(connection.request("GET", "/storage/nobody", &headers).await.status, 404);
    assert!(asked.elapsed() < Duration::from_secs(4), "after {:?}", asked.elapsed());
}

async fn the_tag_0_stands_for_absence(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let mut connection = system.connection().await;
    // Without a wait the tag changes nothing: what is absent is a 404.
    let response = connection.request("GET", "/storage/k", &[("If-None-Match", "\"0\"")]).await;
    assert_eq!((response.status, response.body.as_str()), (404, NOTHING));
    let (response, reply) = answered_by(system.reads(), "\"0\"", &mut socket, set("k", "1")).await;
    assert_eq!(response.header("etag"), Some(tag(rev(&reply)).as_str()));
}

async fn a_wait_of_more_than_a_minute_is_one_of_a_minute(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let current = tag(rev(&socket.ask(set("k", "1")).await));
    let mut connection = system.connection().await;
    let headers = [("If-None-Match", current.as_str()), ("Prefer", "wait=61")];
    connection.send_with("GET", "/storage/k", &headers).await;
    waits(system.reads()).await;
    socket.ask(set("k", "2")).await;
    let response = connection.response().await;
    assert_eq!((response.status, response.header("preference-applied")), (200, Some("wait=60")));
}

async fn a_change_at_the_same_time_is_not_missed(engine: EngineKind) {
    let system = System::start(engine).await;
    let other = system.another_reader().await;
    let mut socket = system.socket().await;
    let mut connections =
        [HttpConnection::open(system.http()).await, HttpConnection::open(other.public).await];
    let mut current = [rev(&socket.ask(set("k", "0")).await); 2];
    for number in 1..200_u64 {
        let asked = Instant::now();
        let [one, two] = &mut connections;
        let tags = current.map(tag);
        let (first, second, reply) = tokio::join!(
            wait(one, "GET", &tags[0], 12),
            wait(two, "GET", &tags[1], 12),
            socket.ask(set("k", &number.to_string()))
        );
        let changed = rev(&reply);
        for (response, current) in [first, second].iter().zip(&mut current) {
            assert_eq!(response.header("etag"), Some(tag(changed).as_str()), "{response:?}");
            *current = changed;
        }
        assert!(asked.elapsed() < Duration::from_secs(6), "change {number}: {:?}", asked.elapsed());
    }
}

async fn a_drain_answers_gets_that_wait(engine: EngineKind) {
    let mut system = System::start(engine).await;
    let current = tag(rev(&system.socket().await.ask(set("k", "1")).await));
    let mut connection = system.connection().await;
    let headers = [("If-None-Match", current.as_str()), ("Prefer", "wait=60")];
    connection.send_with("GET", "/storage/k", &headers).await;
    waits(system.reads()).await;
    let reads = system.reader.as_mut().unwrap_or(&mut system.writer);
    reads.terminate();
    let response = connection.response().await;
    assert_eq!((response.status, response.header("etag")), (304, Some(current.as_str())), "{response:?}");
    assert_eq!(reads.ended(Duration::from_secs(10)).await.code(), Some(0), "{}", reads.log());
}
