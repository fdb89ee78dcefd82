//! Plain requests are answered without the framework, and clients see no difference.

use chassis::access::Caller;
use chassis::edge::fast_path::FastPath;
use chassis::edge::origin::OriginRule;
use chassis::edge::{HEADER_BYTES_MAX, URI_BYTES_MAX};
use chassis::server::ConnectionLimits;
use percent_encoding::percent_decode_str;
use poem::Response;
use poem::http::HeaderMap;

use crate::net::TestServer;

/// Answers `/keys/…`, which the app has too, and `/fast/…`, which the app does not have.
struct Test;

impl FastPath for Test {
    const ROUTE: &'static str = "/fast/{key}";

    fn answer<'a>(
        &'a self,
        path: &str,
        _: &HeaderMap,
        _: &Caller,
    ) -> Option<impl Future<Output = Response> + Send + use<'a>> {
        percent_decode_str(path).decode_utf8().ok()?;
        let is_mine = path.starts_with("/keys/") || path.starts_with("/fast/");
        let panics = path.ends_with("panic");
        is_mine.then_some(async move {
            assert!(!panics, "on purpose");
            Response::builder().body("fast")
        })
    }
}

async fn server() -> TestServer {
    TestServer::beside(Test, ConnectionLimits::default(), OriginRule::default()).await
}

#[tokio::test]
async fn the_fast_path_answers_plain_gets_and_nothing_else() {
    let server = server().await;
    let plain = server.ask("GET /keys/a HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n").await;
    assert_eq!((plain.status(), plain.body.as_str()), (200, "fast"));
    assert_eq!(plain.header("x-content-type-options"), Some("nosniff"));

    for (other, status) in [
        ("HEAD /fast/a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 404),
        ("POST /keys/a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".into(), 405),
        ("GET /fast/a?b HTTP/1.1\r\nHost: a\r\n\r\n".into(), 404),
        ("GET /fast/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx".into(), 404),
        ("GET /fast/a HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\n\r\n".into(), 403),
        ("GET /fast/%FF HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        (format!("GET /keys/{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(URI_BYTES_MAX)), 414),
        (format!("GET /keys/a HTTP/1.1\r\nHost: a\r\nx: {}\r\n\r\n", "a".repeat(HEADER_BYTES_MAX)), 431),
    ] {
        let mut client = server.connect().await;
        client.send(&other).await;
        let head = client.head().await;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{other}: {head}");
    }
    server.edge_stop.begin();
    server.ask("GET /keys/a HTTP/1.1\r\nHost: a\r\n\r\n").await.assert_problem(503, "stopping");
}

#[tokio::test]
async fn a_panic_of_the_fast_path_is_a_500_and_all_of_it_is_counted() {
    let server = server().await;
    let mut client = server.connect().await;
    client.send("GET /fast/panic HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.reply().await.assert_problem(500, "internal");
    client.send("GET /fast/secret HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.reply().await.body, "fast");
    let metrics = server.telemetry.render();
    for status in ["500", "200"] {
        let labels = format!(
            r#"{{http_request_method="GET",http_response_status_code="{status}",http_route="/fast/{{key}}"}}"#
        );
        let count = format!("http_server_request_duration_seconds_count{labels} 1");
        assert!(metrics.contains(&count), "{count} is not in\n{metrics}");
    }
    assert!(!metrics.contains("secret"));
}
