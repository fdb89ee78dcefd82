//! Spans reach a collector, with the route as their name, and as a part of the caller's trace.

use chassis::access::Access;
use chassis::edge::edge;
use chassis::edge::origin::OriginRule;
use chassis::process::stop::Stop;
use chassis::telemetry::{ResourceAttributes, Telemetry};
use poem::endpoint::make_sync;
use poem::{Endpoint as _, Request, Route, get};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::net::soon;

const TRACE: [u8; 16] =
    [0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36];
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_a_span_of_its_callers_trace_and_holds_no_key() {
    let collector = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("http://{}", collector.local_addr().expect("it is open"));
    // One export is one request. Its strings are plain bytes.
    let export = tokio::spawn(async move {
        let (mut stream, _) = collector.accept().await.expect("an export");
        let mut seen = Vec::new();
        while !holds(&seen, b"http.response.status_code") {
            assert_ne!(stream.read_buf(&mut seen).await.expect("an export"), 0);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("it listens");
        seen
    });
    let attributes = ResourceAttributes::parse(None, Some("another-name")).expect("a name");
    let telemetry = Telemetry::new("test", Some(&base), &attributes).expect("a valid URL");
    assert!(telemetry.exports_spans());
    let off = "off".parse().expect("a filter");
    let _logs = telemetry.install(&off).expect("the only subscriber of this process");
    assert!(telemetry.install(&off).is_err());

    let app = Route::new().at("/keys/:key", get(make_sync(|_| "value")));
    let app = edge(app, OriginRule::default(), Access::default(), &telemetry, Stop::new());
    let request =
        Request::builder().uri_str("/keys/secret").header("host", "a").header("traceparent", PARENT).finish();
    assert!(app.call(request).await.expect("the edge never fails").is_ok());
    soon("the flush", telemetry.shutdown()).await;

    let export = soon("the export", export).await.expect("no panic");
    assert!(export.starts_with(b"POST /v1/traces HTTP/1.1\r\n"));
    let text = String::from_utf8_lossy(&export);
    assert!(holds(&export, b"GET /keys/:key") && holds(&export, &TRACE), "{text}");
    assert!(!holds(&export, b"secret"));
    assert!(holds(&export, b"another-name"), "{text}");
    // As the protocol has it: a value of 3 bytes, an integer, 200. A text would begin with 0x0a.
    let status = [&b"http.response.status_code"[..], &[0x12, 3, 0x18, 0xc8, 1]].concat();
    assert!(holds(&export, &status), "the status is a number: {text}");
}
