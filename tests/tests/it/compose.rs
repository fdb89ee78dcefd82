//! The system in containers: one origin, scaled, crashed and restarted. Its database cannot be reached from outside.

mod backup;
mod conformance;
mod gateway;
mod rolling;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use e2e::{
    Compose, HttpConnection, Load, PATIENCE, Socket, docker, eventually, get, skip, storage, within, write,
};

/// The time limit for a crashed container to serve again.
const RECOVERY_MAX: Duration = Duration::from_mins(1);

/// All checks in one test, since starting the containers takes longest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_system_runs_in_containers() {
    if let Err(reason) = Compose::possible() {
        return skip(&format!("the whole of it in containers: {reason}"));
    }
    let mut compose = Arc::new(Compose::up());
    within("all of it", Duration::from_mins(8), async {
        keys_pass_the_gateway_as_they_are(&compose).await;
        conformance::what_the_gateway_answers_is_as_specified(&compose).await;
        gateway::http_2_is_refused(&compose).await;
        gateway::a_request_body_is_short_and_quick(&compose).await;
        gateway::changes_pass_the_gateway_as_they_come(&compose).await;
        only_the_gateway_can_be_reached(&compose);
        every_replica_has_its_share(&compose).await;
        rolling::writers_restarted_one_by_one_lose_nothing(&compose).await;
        a_crash_of_each_service_loses_nothing_acknowledged(&compose).await;
        what_is_stopped_and_started_keeps_its_data(&compose).await;
        backup::a_restore_shows_nobody_half_a_table(&compose).await;
        without_readers_the_gateway_says_so_itself(&compose).await;
        let compose = Arc::get_mut(&mut compose).expect("nobody else uses it any more");
        tokens::with_a_file_of_tokens_only_holders_come_in(compose).await;
    })
    .await;
}

async fn keys_pass_the_gateway_as_they_are(compose: &Compose) {
    let mut socket = Socket::open(compose.gateway).await;
    let reply = socket.ask(r#"{"key":"hello","value":"world"}"#).await;
    assert_eq!(reply, r#"{"message":"hello created","status":200}"#);
    let mut connection = HttpConnection::open(compose.gateway).await;
    let found = connection.get("/storage/hello").await;
    assert_eq!(found.body, r#"{"key":"hello","value":"world","message":"","status":200}"#);
    assert!(found.header("etag").is_some());
    let table = [
        ("/storage/a%2Fb", "a/b"),
        ("/storage/%2541", "%41"),
        ("/storage/%25", "%"),
        ("/storage/..", ".."),
        ("/storage/.", "."),
        ("/storage/%2E%2E", ".."),
        ("/storage/a%2F..%2Fb", "a/../b"),
        ("/storage/a%20b+c", "a b+c"),
        ("/storage/%00", "\0"),
        ("/storage/%C3%A9%F0%9F%98%80", "\u{e9}\u{1f600}"),
    ];
    let longest = "k".repeat(512);
    let longest_target = format!("/storage/{longest}");
    let alike = [
        ("/storage/a", "a"),
        ("/storage/A", "A"),
        ("/storage/a%20", "a "),
        ("/storage/%C3%A1", "\u{e1}"),
        ("/storage/a%CC%81", "a\u{301}"),
        (longest_target.as_str(), longest.as_str()),
    ];
    let all = || table.into_iter().chain(alike);
    for (target, key) in all() {
        socket.set(key, target).await;
    }
    socket.refuses(write(&format!("{longest}k"), ""), 413, "too_large").await;
    socket.refuses(write("", ""), 422, "bad_key").await;
    socket.refuses(r#"{"key":"\ud800","value":""}"#, 400, "bad_json").await;
    connection.get(&format!("{longest_target}k")).await.refused(413, "too_large");
    // Two of the targets name the same key; it holds the last value.
    for (target, key) in all().filter(|(target, _)| *target != "/storage/..") {
        let found = connection.get(target).await;
        assert_eq!(found.status, 200, "{target}: {found:?}");
        assert_eq!((&found.json()["key"], &found.json()["value"]), (&key.into(), &target.into()));
    }
    // Refusals of the services pass through the gateway.
    connection.get("/nowhere").await.refused(404, "no_route");
    connection.get("/storage/%FF").await.refused(400, "bad_path");
    connection.get("/ws/storage/").await.refused(426, "upgrade_required");
    let origin = [("Origin", "https://evil.example")];
    connection.request("GET", "/storage/hello", &origin).await.refused(403, "forbidden");
    let own = format!("http://{}", compose.gateway);
    let found = connection.request("GET", "/storage/hello", &[("Origin", &own)]).await;
    assert_eq!(found.status, 200, "the console's own origin: {found:?}");
    assert_eq!(connection.get("/").await.status, 200);
}

fn only_the_gateway_can_be_reached(compose: &Compose) {
    for service in ["mysql", "ws-ingest", "rest-read"] {
        let container = &compose.containers(service)[0];
        let published = docker(&["port", container]).expect("the container is there");
        assert_eq!(published, "", "{service} is published");
        for network in compose.networks(container).into_iter().filter(|network| network != "none") {
            let internal = docker(&["network", "inspect", "--format", "{{.Internal}}", &network]);
            assert_eq!(internal.as_deref(), Ok("true"), "{service} can be reached by {network}");
        }
    }
    let gateway = &compose.containers("gateway")[0];
    let published = docker(&["port", gateway]).expect("the container is there");
    assert_eq!(published, format!("8000/tcp -> {}", compose.gateway), "on loopback only");
    // On a network where this machine has no address, Docker would send packets for the published port to the default route each
    // time the gateway starts.
    for network in compose.networks(gateway) {
        let format = "{{index .Options \"com.docker.network.bridge.inhibit_ipv4\"}}";
        let without = docker(&["network", "inspect", "--format", format, &network]);
        assert_eq!(without.as_deref(), Ok(""), "this machine has no address on {network}");
    }
    // The database has no network. Only the services and its own helper containers have its socket.
    assert_eq!(compose.networks(&compose.containers("mysql")[0]), ["none"]);
    let mounts =
        docker(&["inspect", "--format", "{{json .Mounts}}", gateway]).expect("the container is there");
    assert!(!mounts.contains("mysqld"), "the gateway has the database's socket: {mounts}");
}

/// The value of the metric `name` of a container, summed over labels.
fn count(compose: &Compose, container: &str, admin: u16, name: &str) -> f64 {
    // This machine cannot reach the network, so bash in the gateway's container sends the request.
    let gateway = compose.containers("gateway");
    let edge = compose.address(container, "edge");
    let ask =
        format!("exec 3<>/dev/tcp/{edge}/{admin}; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3");
    let said = docker(&["exec", &gateway[0], "timeout", "5", "bash", "-c", &ask]);
    let said = said.expect("metrics are answered");
    let samples = said.lines().filter(|line| line.starts_with(name));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

async fn every_replica_has_its_share(compose: &Compose) {
    compose.scale(&["ws-ingest=2", "rest-read=3"]);
    let (writers, readers) = (compose.containers("ws-ingest"), compose.containers("rest-read"));
    assert_eq!((writers.len(), readers.len()), (2, 3));
    let name = "http_server_request_duration_seconds_count";
    eventually("each replica gets traffic", RECOVERY_MAX, async || {
        let load = Load::start(compose.gateway, &format!("share{:?}", std::time::Instant::now()), 6, 8);
        load.acked(200, RECOVERY_MAX).await;
        let tally = load.stop().await;
        tally.check(compose.gateway).await;
        for key in tally.acked.iter().take(60) {
            assert_eq!(get(compose.gateway, &storage(key)).await.status, 200);
        }
        let idle = writers.iter().map(|id| (id, 9001)).chain(readers.iter().map(|id| (id, 9002)));
        let idle: Vec<_> = idle.filter(|&(id, port)| count(compose, id, port, name) < 1.0).collect();
        if idle.is_empty() { Ok(()) } else { Err(format!("{idle:?} had nothing to do")) }
    })
    .await;
}

async fn a_crash_of_each_service_loses_nothing_acknowledged(compose: &Compose) {
    let load = Load::start(compose.gateway, "crash", 4, 16);
    for service in ["ws-ingest", "rest-read", "mysql"] {
        load.acked(300, RECOVERY_MAX).await;
        let victims = compose.containers(service);
        compose.crash(&victims[0]);
        load.acked(300, RECOVERY_MAX * 2).await;
    }
    let tally = load.stop().await;
    compose.scale(&["ws-ingest=2", "rest-read=3"]);
    eventually("reads are answered", RECOVERY_MAX, async || {
        let response = get(compose.gateway, "/storage/hello").await;
        if response.status == 200 { Ok(()) } else { Err(format!("{response:?}")) }
    })
    .await;
    tally.check(compose.gateway).await;
}

async fn what_is_stopped_and_started_keeps_its_data(compose: &Compose) {
    compose.run(&["down", "--timeout", "20"]);
    compose.scale(&[]);
    let found = get(compose.gateway, "/storage/hello").await;
    assert_eq!(found.body, r#"{"key":"hello","value":"world","message":"","status":200}"#);
    let reply = Socket::open(compose.gateway).await.set("hello", "again").await;
    assert_eq!(reply, r#"{"message":"hello updated","status":200}"#);
}

async fn without_readers_the_gateway_says_so_itself(compose: &Compose) {
    compose.run(&["stop", "rest-read"]);
    eventually("the gateway answers", PATIENCE, async || {
        let response = get(compose.gateway, "/storage/hello").await;
        if response.status != 503 || !response.body.contains("unavailable") {
            return Err(format!("{response:?}"));
        }
        response.refused(503, "unavailable");
        assert_eq!(response.header("retry-after"), Some("1"));
        Ok(())
    })
    .await;
    let reply = Socket::open(compose.gateway).await.set("hello", "unread").await;
    assert_eq!(reply, r#"{"message":"hello updated","status":200}"#, "writes go on");
}
