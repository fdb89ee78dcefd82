//! GET and HEAD: the headers that caches and clients rely on, and every refusal.

use e2e::{EngineKind, HttpConnection, Response, System, promises};

promises! {
    every:
        a_read_says_how_to_cache_it,
        a_client_that_has_the_revision_gets_a_304,
        head_has_the_headers_of_get,
        an_unknown_path_is_no_route,
        another_method_is_a_405_that_names_the_right_ones,
        a_path_that_is_not_utf8_is_refused_before_it_is_routed,
        a_key_too_long_is_a_413,
        a_plain_request_to_the_sockets_path_is_a_426,
        a_client_that_has_closed_its_sending_side_gets_its_response,
        the_specification_the_docs_and_the_console_are_served;
}

async fn a_read_says_how_to_cache_it(engine: EngineKind) {
    let system = System::start(engine).await;
    system.socket().await.set("k", "v").await;
    let mut connection = system.connection().await;
    let found = connection.get("/storage/k").await;
    let etag = found.header("etag").expect("a read has an ETag");
    let digits = etag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    assert!(digits.is_some_and(|rev| rev.parse::<u64>().is_ok()), "a strong tag: {etag}");
    assert_eq!(found.header("cache-control"), Some("no-cache"));
    assert_eq!(found.header("x-content-type-options"), Some("nosniff"));
    let missing = connection.get("/storage/nobody").await;
    assert_eq!(missing.status, 404);
    assert_eq!(missing.header("cache-control"), Some("no-store"));
    assert_eq!(missing.header("etag"), None);
    assert_eq!(missing.header("x-content-type-options"), Some("nosniff"));
}

async fn a_client_that_has_the_revision_gets_a_304(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    socket.set("k", "v").await;
    let mut connection = system.connection().await;
    let tag = connection.get("/storage/k").await.header("etag").expect("a tag").to_owned();
    let same = [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"1\", {tag}"),
        format!("\"1\",W/{tag} , \"2\""),
        "*".into(),
    ];
    for value in &same {
        for method in ["GET", "HEAD"] {
            let found = connection.request(method, "/storage/k", &[("If-None-Match", value)]).await;
            assert_eq!(found.status, 304, "{value}");
            assert_eq!(found.header("etag"), Some(tag.as_str()));
            assert_eq!(found.header("cache-control"), Some("no-cache"));
        }
        let missing = connection.request("GET", "/storage/nobody", &[("If-None-Match", value)]).await;
        assert_eq!(missing.status, 404, "what is not there never matches");
    }
    for value in ["\"1\"", "W/\"1\"", "1", "\"\"", tag.trim_matches('"')] {
        let found = connection.request("GET", "/storage/k", &[("If-None-Match", value)]).await;
        assert_eq!(found.status, 200, "{value}");
    }
    socket.set("k", "w").await;
    let newer = connection.request("GET", "/storage/k", &[("If-None-Match", &tag)]).await;
    assert_eq!((newer.status, &newer.json()["value"]), (200, &"w".into()));
}

/// The headers without `Date`.
fn headers(response: &Response) -> Vec<(String, String)> {
    let mut headers: Vec<_> = response.headers.iter().filter(|(name, _)| name != "date").cloned().collect();
    headers.sort();
    headers
}

async fn head_has_the_headers_of_get(engine: EngineKind) {
    let system = System::start(engine).await;
    system.socket().await.set("k", &"v".repeat(100_000)).await;
    let mut connection = system.connection().await;
    let targets = [
        "/storage/k",
        "/storage/nobody",
        "/storage?key=k&key=nobody",
        "/nowhere",
        "/storage/%FF",
        "/storage?prefix=k",
    ];
    for target in targets {
        let get = connection.get(target).await;
        // On the same connection, a body would be read as the next response.
        let head = connection.request("HEAD", target, &[]).await;
        assert_eq!((head.status, headers(&head)), (get.status, headers(&get)), "{target}");
        let length = get.body.len().to_string();
        assert_eq!(head.header("content-length"), Some(length.as_str()), "{target}");
    }
}

async fn an_unknown_path_is_no_route(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut connection = system.connection().await;
    for target in ["/nowhere", "/storage/", "/storage/a/b", "//storage/a", "/Storage/a", "/ws"] {
        connection.get(target).await.refused(404, "no_route");
    }
    HttpConnection::open(system.ws()).await.get("/ws/other").await.refused(404, "no_route");
}

async fn another_method_is_a_405_that_names_the_right_ones(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut connection = system.connection().await;
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        for target in ["/storage/k", "/storage?key=k"] {
            let response = connection.request(method, target, &[("Content-Length", "0")]).await;
            response.refused(405, "bad_method");
            let allow = response.header("allow").unwrap_or_default();
            let mut allow: Vec<_> = allow.split(',').map(str::trim).collect();
            allow.sort_unstable();
            assert_eq!(allow, ["GET", "HEAD"], "{method} {target}");
        }
    }
}

async fn a_path_that_is_not_utf8_is_refused_before_it_is_routed(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut connection = system.connection().await;
    for target in ["/storage/%FF", "/storage/%C3%28", "/%FF", "/storage/a%ED%A0%80"] {
        connection.get(target).await.refused(400, "bad_path");
    }
    connection.get("/storage?key=%FF").await.refused(422, "bad_parameter");
}

async fn a_key_too_long_is_a_413(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut connection = system.connection().await;
    let longest = connection.get(&format!("/storage/{}", "x".repeat(512))).await;
    assert_eq!(longest.status, 404, "512 bytes are a key");
    // The encoded key is longer still: the limit is on the key.
    for target in ["x".repeat(513), "%78".repeat(513)] {
        let response = connection.get(&format!("/storage/{target}")).await;
        response.refused(413, "too_large");
        assert!(response.body.contains("512") && response.body.contains("513"), "{response:?}");
    }
}

async fn a_plain_request_to_the_sockets_path_is_a_426(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut connection = HttpConnection::open(system.ws()).await;
    for target in ["/ws/storage/", "/ws/storage"] {
        let response = connection.get(target).await;
        response.refused(426, "upgrade_required");
        assert_eq!(response.header("upgrade"), Some("websocket"), "RFC 9110, 15.5.22");
    }
    // A handshake with the wrong method.
    let handshake = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let head = connection.request("HEAD", "/ws/storage", &handshake).await;
    assert_eq!(head.status, 426, "RFC 6455, 4.1: a handshake is a GET");
}

async fn a_client_that_has_closed_its_sending_side_gets_its_response(engine: EngineKind) {
    let system = System::start(engine).await;
    system.socket().await.set("k", "v").await;
    let mut connection = system.connection().await;
    connection.half_close("GET", "/storage/k").await;
    assert_eq!(connection.response().await.json()["value"], "v");
}

async fn the_specification_the_docs_and_the_console_are_served(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut connection = system.connection().await;
    let served = connection.get("/openapi.json").await;
    assert_eq!(served.status, 200);
    let printed = e2e::run_to_end("rest-read", &["openapi"], &[]);
    let printed: serde_json::Value =
        serde_json::from_slice(&printed.stdout).expect("the specification is JSON");
    assert_eq!(served.json(), printed, "what is served is what is committed");
    for page in ["/docs", "/"] {
        let page = connection.get(page).await;
        assert_eq!(page.status, 200, "{page:?}");
        assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
        let policy = page.header("content-security-policy").expect("a page has a policy");
        assert!(policy.contains("default-src 'none'") || policy.contains("default-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe-eval") && !policy.contains('*'), "{policy}");
    }
}
