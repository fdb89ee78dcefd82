//! The database starts late, stops, and comes back: no acknowledged write is lost, and no refused write is applied.

use std::time::Duration;

use e2e::{
    Database, DatabaseServer, EngineKind, Load, PATIENCE, Socket, System, eventually, get, promises, write,
};

promises! {
    sql:
        the_services_wait_for_a_database_that_starts_late,
        a_database_killed_under_load_loses_nothing_acknowledged;
}

/// A short timeout, so that refusals come soon.
const SETTINGS: [(&str, &str); 1] = [("OP_TIMEOUT_MS", "1500")];

async fn the_services_wait_for_a_database_that_starts_late(engine: EngineKind) {
    let mut server = DatabaseServer::new(engine, &[]);
    let system = System::start_processes(Database::planned(engine, Some(server.url())), &SETTINGS);
    for process in [Some(&system.writer), system.reader.as_ref()].into_iter().flatten() {
        assert_eq!(get(process.admin, "/livez").await.status, 200);
        let ready = process.readiness().await;
        assert!(ready.is_err_and(|why| why.starts_with("503")), "not ready without a database");
    }
    let mut socket = system.socket().await;
    socket.refuses(r#"{"id":1,"key":"k","value":"too early"}"#, 503, "unavailable").await;
    for target in ["/storage/k", "/storage", "/export"] {
        let refused = get(system.http(), target).await;
        refused.refused(503, "unavailable");
        assert_eq!(refused.header("retry-after"), Some("1"), "{target}");
    }

    server.start().await;
    system.database.create().await;
    system.database.migrate();
    system.ready().await;
    // The same socket and the same processes go on.
    let missing = system.read("k").await;
    assert_eq!(missing.status, 404, "what was refused was not applied: {missing:?}");
    assert_eq!(socket.set("k", "v").await, r#"{"message":"k created","status":200}"#);
    assert_eq!(system.read("k").await.json()["value"], "v");
    assert_eq!(get(system.http(), "/storage").await.json()["items"][0]["value"], "v");
    assert_eq!(get(system.http(), "/export").await.body, "{\"key\":\"k\",\"value\":\"v\"}\n");
}

async fn a_database_killed_under_load_loses_nothing_acknowledged(engine: EngineKind) {
    let (mut server, system) = System::start_on_own_server(engine, &SETTINGS).await;
    let load = Load::start(system.ws(), "load", 3, 32);
    for round in 0..5 {
        load.acked(1000, PATIENCE).await;
        server.kill();
        let mut probe = Socket::open(system.ws()).await;
        let sentence = format!("probe {round}");
        probe.refuses(write(&sentence, "x"), 503, "unavailable").await;
        eventually("reads are refused", PATIENCE, async || {
            let response = system.read(&sentence).await;
            if response.status == 503 { Ok(()) } else { Err(format!("{response:?}")) }
        })
        .await;
        server.start().await;
        load.acked(1000, Duration::from_mins(1)).await;
    }
    let tally = load.stop().await;
    system.ready().await;
    assert!(tally.closes.is_empty(), "no socket is closed for it: {:?}", tally.closes);
    assert!(!tally.refused.is_empty(), "the database was away for longer than a write waits");
    tally.check(system.http()).await;
    let entries = system.database.entries().await;
    let (acked, unknown) = (tally.acked.len() as u64, tally.unknown.len() as u64);
    assert!(
        (acked..=acked + unknown).contains(&entries),
        "{acked} acked, {unknown} unknown, {entries} there"
    );
}
