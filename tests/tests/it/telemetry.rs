//! Telemetry: metrics on the admin port and spans at a collector. Neither ever contains a key.

use e2e::{EngineKind, HttpConnection, PATIENCE, System, eventually, get, promises, storage, within};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

promises! {
    every:
        metrics_count_what_happens_and_name_no_key,
        spans_reach_the_collector_and_name_no_key;
    sqlite:
        spans_that_the_collector_does_not_take_are_said_in_the_log;
}

const KEY: &str = "a-secret-key";

/// The sum of the samples of `name` whose labels contain `label`.
fn sample(metrics: &str, name: &str, label: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

async fn metrics_count_what_happens_and_name_no_key(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let mut connection = system.connection().await;
    for _ in 0..7 {
        socket.set(KEY, "v").await;
        connection.get(&storage(KEY)).await;
    }
    connection.get("/storage/another-secret-key").await;
    let reader = system.reader.as_ref().unwrap_or(&system.writer);
    let metrics = get(reader.admin, "/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    let name = "http_server_request_duration_seconds_count";
    let route = r#"http_route="/storage/"#;
    let count = |status: &str| {
        let label = format!(r#"http_response_status_code="{status}""#);
        let lines = metrics.body.lines().filter(|line| line.contains(route));
        sample(&lines.collect::<Vec<_>>().join("\n"), name, &label)
    };
    assert!((count("200") - 7.0).abs() < 0.5 && (count("404") - 1.0).abs() < 0.5, "{}", metrics.body);
    let written = get(system.writer.admin, "/metrics").await;
    assert!(written.body.lines().any(|line| line.starts_with("# TYPE ")), "{}", written.body);
    for text in [&metrics.body, &written.body] {
        assert!(!text.contains("secret-key"), "a key is a label: {text}");
    }
}

/// Answers one request of an OTLP exporter. Its path and body go to `spans`.
async fn collect(stream: TcpStream, spans: mpsc::UnboundedSender<(String, Vec<u8>)>) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if stream.read_line(&mut first).await.unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) <= 2 {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length is a number");
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.expect("the whole body comes");
        let answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).await.expect("the exporter waits for it");
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        if spans.send((path, body)).is_err() {
            return;
        }
    }
}

/// The first byte of an attribute whose value is an integer, by the protocol.
const INTEGER: u8 = 0x18;

/// The first byte of each value of the attribute `name` in the requests of an exporter. Before the value stand: the name as a text field,
/// the tag of the field of the value, and the length of the value.
fn kinds_of(spans: &[u8], name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).expect("a short name");
    let before = [&[0x0a, length], name.as_bytes(), &[0x12]].concat();
    let found = spans.windows(before.len() + 2).filter(|window| window.starts_with(&before));
    found.map(|window| window[before.len() + 1]).collect()
}

async fn spans_that_the_collector_does_not_take_are_said_in_the_log(engine: EngineKind) {
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let endpoint = format!("http://{}", nobody.local_addr().expect("it has an address"));
    drop(nobody);
    let mut system = System::start_with_settings(engine, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    for _ in 0..10 {
        system.read("k").await;
    }
    system.writer.terminate();
    assert_eq!(system.writer.ended(PATIENCE).await.code(), Some(0), "{}", system.writer.log());
    let log = system.writer.log();
    assert_eq!(log.matches("spans were lost").count(), 1, "{log}");
}

async fn spans_reach_the_collector_and_name_no_key(engine: EngineKind) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let endpoint = format!("http://{}", listener.local_addr().expect("it has an address"));
    let (spans, mut received) = mpsc::unbounded_channel();
    let collector = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(collect(stream, spans.clone()));
        }
    });
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_SERVICE_NAME", "the-shop"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=weaker,deployment.environment.name=the-mall"),
    ];
    let mut system = System::start_with_settings(engine, &settings).await;
    system.socket().await.set(KEY, "v").await;
    HttpConnection::open(system.http()).await.get(&storage(KEY)).await;
    // The ordered stop sends the remaining spans.
    for process in [Some(&mut system.writer), system.reader.as_mut()].into_iter().flatten() {
        process.terminate();
        assert_eq!(process.ended(PATIENCE).await.code(), Some(0), "{}", process.log());
    }
    let mut all = Vec::new();
    let services: &[&str] =
        if engine == EngineKind::Sqlite { &["keywire"] } else { &["ws-ingest", "rest-read"] };
    let wanted = [services, &["/storage/", "the-shop", "the-mall", "attempts"]].concat();
    eventually("the spans have arrived", PATIENCE, async || {
        while let Ok((path, body)) = received.try_recv() {
            assert_eq!(path, "/v1/traces");
            all.extend(body);
        }
        let text = String::from_utf8_lossy(&all);
        match wanted.iter().find(|name| !text.contains(**name)) {
            None => Ok(()),
            Some(missing) => Err(format!("{missing} is in no span")),
        }
    })
    .await;
    let text = String::from_utf8_lossy(&all);
    assert!(!text.contains("secret-key"), "a key is in a span");
    assert!(!text.contains("weaker"), "OTEL_SERVICE_NAME is stronger than an attribute");
    for name in ["http.response.status_code", "bytes", "ops", "attempts", "db.operation.batch.size"] {
        let kinds = kinds_of(&all, name);
        assert!(
            !kinds.is_empty() && kinds.iter().all(|kind| *kind == INTEGER),
            "{name} is no number: {kinds:?}"
        );
    }
    collector.abort();
    let ended = within("the collector ends", PATIENCE, collector).await;
    assert!(ended.is_err_and(|error| error.is_cancelled()));
}
