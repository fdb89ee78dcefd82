//! SIGTERM: every message that was read is answered, no other message is applied, and the process ends in order.

use std::time::Duration;

use e2e::{
    Closed, EngineKind, Frame, HttpConnection, Load, PATIENCE, RawSocket, System, eventually, promises,
    signal,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

promises! {
    every:
        sigterm_under_load_answers_every_write_that_was_read,
        sigterm_lets_reads_under_way_finish,
        a_client_that_never_answers_the_close_does_not_hold_up_the_stop,
        sigint_and_sighup_stop_in_order_too;
    sqlite:
        a_second_signal_stops_at_once_and_says_so,
        a_collector_that_hangs_does_not_hold_up_the_end;
}

/// The time limit of an ordered stop.
const STOP_MAX: Duration = Duration::from_secs(10);

async fn sigterm_under_load_answers_every_write_that_was_read(engine: EngineKind) {
    let mut system = System::start(engine).await;
    let load = Load::start(system.ws(), "load", 4, 64);
    load.acked(1000, PATIENCE).await;
    system.writer.terminate();
    let status = system.writer.ended(STOP_MAX).await;
    let tally = load.stop().await;
    assert_eq!(status.code(), Some(0), "{}", system.writer.log());
    assert_eq!(tally.closes, [Closed::Code(Some(1001)); 4]);
    assert!(tally.unknown.is_empty() && tally.strange.is_empty(), "{tally:?}");
    let applied = system.database.entries().await;
    assert_eq!(applied, tally.acked.len() as u64, "a write was applied and never answered");
    let reader = system.another_reader().await;
    tally.check(reader.public).await;
}

async fn sigterm_lets_reads_under_way_finish(engine: EngineKind) {
    let mut system = System::start(engine).await;
    system.socket().await.set("k", &"v".repeat(10_000)).await;
    let mut readers = JoinSet::new();
    let (first, mut started) = tokio::sync::mpsc::channel(4);
    for _ in 0..4 {
        let mut connection = system.connection().await;
        let first = first.clone();
        readers.spawn(async move {
            let mut count = 0u32;
            // Either the connection is closed between two requests, or a request is refused because the service stops.
            while let Ok(response) = connection.try_request("GET", "/storage/k", &[]).await {
                if response.status == 503 {
                    response.refused(503, "stopping");
                    break;
                }
                assert_eq!(response.json()["value"].as_str().map(str::len), Some(10_000));
                count += 1;
                if count == 50 {
                    first.send(()).await.expect("the test waits for it");
                }
            }
            count
        });
    }
    for _ in 0..4 {
        started.recv().await.expect("four readers run");
    }
    let reader = system.reader.as_mut().unwrap_or(&mut system.writer);
    let public = reader.public;
    reader.terminate();
    let status = reader.ended(STOP_MAX).await;
    assert_eq!(status.code(), Some(0), "{}", reader.log());
    assert!(readers.join_all().await.into_iter().all(|count| count >= 50));
    assert!(HttpConnection::try_open(public).await.is_err(), "nobody listens any more");
}

async fn a_second_signal_stops_at_once_and_says_so(engine: EngineKind) {
    let mut system = System::start(engine).await;
    let _lock = system.database.locked().await;
    let mut waits = RawSocket::open(system.ws()).await;
    waits.send(&Frame::text(*br#"{"key":"k","value":"v"}"#).masked()).await.expect("it is sent");
    system.writer.terminate();
    eventually("the drain has begun", PATIENCE, async || match HttpConnection::try_open(system.ws()).await {
        Err(_) => Ok(()),
        Ok(_) => Err("the port is open".into()),
    })
    .await;
    system.writer.terminate();
    let status = system.writer.ended(Duration::from_secs(2)).await;
    assert_eq!(status.code(), Some(1), "{}", system.writer.log());
    assert!(system.writer.log().contains("second signal: stopping without draining"));
    waits.frame().await.expect_err("its write was not answered");
}

async fn a_collector_that_hangs_does_not_hold_up_the_end(engine: EngineKind) {
    // Nobody accepts, but the system completes the connection.
    let collector = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let endpoint = format!("http://{}", collector.local_addr().expect("it has an address"));
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("DRAIN_TIMEOUT_MS", "500")];
    let mut system = System::start_with_settings(engine, &settings).await;
    system.socket().await.set("k", "v").await;
    assert!(system.writer.log().contains("DRAIN_TIMEOUT_MS should be"), "{}", system.writer.log());
    system.writer.terminate();
    // At most 500 ms for the stop, 1 s for the log and 1 s for a slow machine. The exporter alone would wait for 5 s.
    let status = system.writer.ended(Duration::from_millis(2500)).await;
    assert_eq!(status.code(), Some(1), "{}", system.writer.log());
    assert!(system.writer.log().contains("the drain took too long"), "{}", system.writer.log());
}

async fn a_client_that_never_answers_the_close_does_not_hold_up_the_stop(engine: EngineKind) {
    let mut system = System::start(engine).await;
    let mut mute = RawSocket::open(system.ws()).await;
    mute.send(&Frame::text(*br#"{"key":"k","value":"v"}"#).masked()).await.expect("it is sent");
    mute.frame().await.expect("a reply");
    system.writer.terminate();
    assert_eq!(mute.close_code().await, 1001);
    let status = system.writer.ended(STOP_MAX).await;
    assert_eq!(status.code(), Some(0), "{}", system.writer.log());
}

async fn sigint_and_sighup_stop_in_order_too(engine: EngineKind) {
    for name in ["INT", "HUP"] {
        let mut system = System::start(engine).await;
        let mut socket = system.socket().await;
        socket.set("k", "v").await;
        signal(name, system.writer.id());
        assert_eq!(socket.closed().await, Closed::Code(Some(1001)), "{name}");
        assert_eq!(system.writer.ended(STOP_MAX).await.code(), Some(0), "{name}");
    }
}
