//! Every response conforms to the contract.

use chassis::edge::origin::OriginRule;
use chassis::edge::{HEADER_BYTES_MAX, URI_BYTES_MAX};
use chassis::server::ConnectionLimits;

use crate::net::TestServer;

async fn server() -> TestServer {
    TestServer::start(ConnectionLimits::default()).await
}

#[tokio::test]
async fn the_response_of_an_endpoint_is_passed_on() {
    let reply = server().await.ask("GET /keys/a%2Fb HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((reply.status(), reply.body.as_str()), (200, "a/b"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn an_unknown_path_is_404_and_a_known_one_tells_its_methods() {
    let server = server().await;
    server.ask("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n").await.assert_problem(404, "no_route");
    for method in ["POST", "DELETE", "OPTIONS", "BREW"] {
        let reply = server.ask(&format!("{method} /keys/a HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        reply.assert_problem(405, "bad_method");
        assert_eq!(reply.header("allow"), Some("get, head"));
    }
    let own = server.ask("POST /own_methods HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((own.status(), own.header("allow")), (405, Some("put")));
    server.ask("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n").await.assert_problem(405, "bad_method");
    server.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await.assert_problem(405, "bad_method");
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let server = server().await;
    let mut client = server.connect().await;
    for (path, length) in [("/keys/hello", Some("5")), ("/nothing", Some("74")), ("/unchanged", None)] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let get = client.reply().await;
        assert_eq!(get.header("content-length"), length);
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let mut head: Vec<_> = client.head().await.lines().map(str::to_owned).collect();
        let mut same: Vec<_> = get.head.lines().map(str::to_owned).collect();
        for lines in [&mut head, &mut same] {
            lines.retain(|line| !line.starts_with("date: "));
            lines.sort();
        }
        assert_eq!(head, same);
    }
    // The body of a HEAD response would come before this reply.
    client.send("GET /keys/b HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.reply().await.body, "b");
}

#[tokio::test]
async fn a_path_that_takes_only_get_refuses_head_and_says_so() {
    let server = server().await;
    let mut client = server.connect().await;
    client.send("HEAD /silent HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.starts_with("http/1.1 405 ") && head.contains("\r\nallow: get\r\n"), "{head}");
    client.send("POST /silent HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let post = client.reply().await;
    post.assert_problem(405, "bad_method");
    assert_eq!(post.header("allow"), Some("get"));
    client.send("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.head().await.starts_with("http/1.1 200 "));
    let metrics = server.telemetry.render();
    let silent: Vec<_> =
        metrics.lines().filter(|line| line.contains("_count{") && line.contains("/silent")).collect();
    assert_eq!(silent.len(), 2, "the HEAD and the POST are measured, the stream is not: {silent:?}");
}

#[tokio::test]
async fn a_path_or_query_that_is_not_utf8_is_refused() {
    let server = server().await;
    server.ask("GET /nothing/%ff HTTP/1.1\r\nHost: a\r\n\r\n").await.assert_problem(400, "bad_path");
    server.ask("GET /keys/%C3%28 HTTP/1.1\r\nHost: a\r\n\r\n").await.assert_problem(400, "bad_path");
    server.ask("GET /keys/a?x=%ff HTTP/1.1\r\nHost: a\r\n\r\n").await.assert_problem(422, "bad_parameter");
    let fine = server.ask("GET /keys/%C3%A9%00%25%2 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((fine.status(), fine.body.as_str()), (200, "é\0%%2"));
}

#[tokio::test]
async fn a_panic_or_a_bug_is_a_500_that_shows_nothing_and_the_connection_lives() {
    let server = server().await;
    let mut client = server.connect().await;
    for path in ["/panic", "/broken"] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let reply = client.reply().await;
        reply.assert_problem(500, "internal");
        assert!(reply.body.contains(r#""message":"internal error""#));
    }
    client.send("GET /refused HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let reply = client.reply().await;
    reply.assert_problem(503, "overloaded");
    assert_eq!(reply.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_request_over_its_limits_is_refused_and_one_at_them_is_not() {
    let server = server().await;
    let target = |bytes: usize| {
        format!("GET /keys/{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(bytes - "/keys/".len()))
    };
    assert_eq!(server.ask(&target(URI_BYTES_MAX)).await.status(), 200);
    server.ask(&target(URI_BYTES_MAX + 1)).await.assert_problem(414, "uri_too_long");
    let header = |bytes: usize| {
        let rest = "a".repeat(bytes - "hostax".len());
        format!("GET /keys/a HTTP/1.1\r\nHost: a\r\nx: {rest}\r\n\r\n")
    };
    assert_eq!(server.ask(&header(HEADER_BYTES_MAX)).await.status(), 200);
    server.ask(&header(HEADER_BYTES_MAX + 1)).await.assert_problem(431, "headers_too_large");
    // A refusal by hyper itself has no body, but the status is right.
    assert_eq!(server.ask(&header(65 * 1024)).await.status(), 431);
    assert_eq!(server.ask("GET /keys/a b HTTP/1.1\r\nHost: a\r\n\r\n").await.status(), 400);
}

#[tokio::test]
async fn only_pages_of_configured_origins_may_read_and_are_told_so() {
    let rule = OriginRule {
        allowed: vec!["https://app.example".parse().expect("an origin")],
        public_hosts: vec!["localhost".into()],
    };
    let server = TestServer::with(ConnectionLimits::default(), rule).await;
    let get =
        |origin: &str| format!("GET /keys/a HTTP/1.1\r\nHost: localhost:80\r\nOrigin: {origin}\r\n\r\n");

    let listed = server.ask(&get("https://app.example")).await;
    assert_eq!(listed.status(), 200);
    assert_eq!(listed.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(listed.header("vary"), Some("origin"));
    assert_eq!(listed.header("access-control-expose-headers"), Some("etag, retry-after, preference-applied"));

    let own = server.ask(&get("http://localhost")).await;
    assert_eq!((own.status(), own.header("access-control-allow-origin")), (200, None));
    assert_eq!(own.header("vary"), Some("origin"));

    let other = server.ask(&get("https://evil.example")).await;
    other.assert_problem(403, "forbidden");
    assert_eq!(other.header("access-control-allow-origin"), None);

    let preflight = |origin: &str| {
        let ask = "Access-Control-Request-Method: GET";
        format!("OPTIONS /keys/a HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n{ask}\r\n\r\n")
    };
    let listed = server.ask(&preflight("https://app.example")).await;
    assert_eq!(listed.status(), 204);
    assert_eq!(listed.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(listed.header("access-control-allow-methods"), Some("get, head"));
    let fields = "authorization, if-none-match, last-event-id, prefer, cache-control";
    assert_eq!(listed.header("access-control-allow-headers"), Some(fields));
    server.ask(&preflight("https://evil.example")).await.assert_problem(403, "forbidden");
}

#[tokio::test]
async fn requests_are_counted_by_pattern_and_never_by_key() {
    let server = server().await;
    for request in ["GET /keys/secret", "GET /keys/other", "BREW /keys/secret", "GET /secret"] {
        server.ask(&format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    }
    let metrics = server.telemetry.render();
    let count = |labels: &str| {
        let name = "http_server_request_duration_seconds_count";
        metrics.lines().find_map(|line| line.strip_prefix(&format!("{name}{{{labels}}} ")).map(str::to_owned))
    };
    let get = r#"http_request_method="GET",http_response_status_code="200",http_route="/keys/:key""#;
    assert_eq!(count(get).as_deref(), Some("2"), "{metrics}");
    let other = r#"http_request_method="_OTHER",http_response_status_code="405",http_route="/keys/:key""#;
    assert_eq!(count(other).as_deref(), Some("1"), "{metrics}");
    let lost = r#"http_request_method="GET",http_response_status_code="404""#;
    assert_eq!(count(lost).as_deref(), Some("1"), "{metrics}");
    assert!(!metrics.contains("secret"));
}
