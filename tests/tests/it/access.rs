//! With a token file, every request needs a token, and a token allows only what it grants.

use e2e::{EngineKind, HttpConnection, Response, Socket, System, Tokens, promises, rev, write};
use serde_json::Value;

promises! {
    every:
        without_a_token_no_request_is_served,
        a_token_writes_only_keys_with_its_prefixes,
        a_token_reads_only_keys_with_its_prefixes,
        a_browser_carries_its_token_among_the_subprotocols,
        a_client_with_a_token_in_its_header_may_have_any_origin,
        a_connection_over_its_rate_is_told_so_and_nothing_is_done,
        all_holders_of_a_token_share_its_rate;
}

/// The header lines of every handshake.
const HANDSHAKE: [(&str, &str); 4] = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// A GET of `target` with `token`.
async fn get_as(system: &System, token: &str, target: &str) -> Response {
    request_as(system, token, "GET", target).await
}

async fn request_as(system: &System, token: &str, method: &str, target: &str) -> Response {
    let bearer = format!("Bearer {token}");
    system.connection().await.request(method, target, &[("Authorization", &bearer)]).await
}

async fn handshake(system: &System, headers: &[(&str, &str)]) -> Response {
    let all = [&HANDSHAKE, headers].concat();
    HttpConnection::open(system.ws()).await.request("GET", "/ws/storage/", &all).await
}

async fn without_a_token_no_request_is_served(engine: EngineKind) {
    let tokens = Tokens::new();
    let token = tokens.make("app", &["--read", "", "--write", ""]);
    let system = System::start_with_settings(engine, &[("TOKENS_FILE", &tokens.file())]).await;
    Socket::open_as(system.ws(), &token).await.set("k", "v").await;
    e2e::get(system.ws(), "/ws/storage/").await.refused(401, "unauthenticated");

    let wrong = format!("Bearer {token}x");
    for headers in [&[][..], &[("Authorization", "Bearer")], &[("Authorization", &wrong)]] {
        for target in
            ["/storage/k", "/storage/nobody", "/storage?key=k", "/storage", "/export", "/storage?limit=x"]
        {
            let response = system.connection().await.request("GET", target, headers).await;
            response.refused(401, "unauthenticated");
            assert_eq!(response.header("www-authenticate"), Some("Bearer"));
        }
        handshake(&system, headers).await.refused(401, "unauthenticated");
    }
    for target in ["/", "/docs", "/openapi.json"] {
        assert_eq!(system.connection().await.get(target).await.status, 200, "{target} holds no data");
    }
    assert_eq!(get_as(&system, &token, "/storage/k").await.json()["value"], "v");
    for process in [Some(&system.writer), system.reader.as_ref()].into_iter().flatten() {
        assert!(!process.log().contains(&token), "a token is in the log");
    }
}

async fn a_token_writes_only_keys_with_its_prefixes(engine: EngineKind) {
    let tokens = Tokens::new();
    let all = tokens.make("all", &["--read", "", "--write", ""]);
    let some = tokens.make("some", &["--read", "", "--write", "a/", "--write", "b"]);
    let reader = tokens.make("reader", &["--read", ""]);
    let system = System::start_with_settings(engine, &[("TOKENS_FILE", &tokens.file())]).await;
    let mut owner = Socket::open_as(system.ws(), &all).await;
    owner.set("c", "kept").await;

    let mut socket = Socket::open_as(system.ws(), &some).await;
    for key in ["a/", "a/1", "b", "bc"] {
        socket.set(key, "v").await;
    }
    for message in [
        r#"{"id":1,"key":"a","value":"v"}"#,
        r#"{"id":1,"key":"c","value":"v"}"#,
        r#"{"id":1,"key":"A/1","value":"v"}"#,
        r#"{"id":1,"op":"delete","key":"c"}"#,
        r#"{"id":1,"key":"c","value":"v","if_rev":0}"#,
    ] {
        socket.send(message).await;
        let expected =
            r#"{"message":"this token may not write here","status":403,"code":"forbidden","id":1}"#;
        assert_eq!(socket.next().await, expected, "{message}");
    }
    socket.send(r#"{"op":"batch","ops":[{"key":"a/2","value":"v"},{"op":"delete","key":"c"}]}"#).await;
    let refused: Value = serde_json::from_str(&socket.next().await).expect("a reply is JSON");
    assert_eq!(
        (&refused["code"], &refused["key"], &refused["index"]),
        (&"forbidden".into(), &"c".into(), &1.into())
    );
    socket.set("a/3", "still open").await;

    let mut socket = Socket::open_as(system.ws(), &reader).await;
    socket.send(write("a/1", "v")).await;
    assert!(socket.next().await.contains("forbidden"));
    let keys = get_as(&system, &all, "/storage").await.json();
    let keys: Vec<_> = keys["items"].as_array().expect("items").iter().map(|item| &item["key"]).collect();
    assert_eq!(keys, ["a/", "a/1", "a/3", "b", "bc", "c"], "nothing else was applied");
    assert_eq!(get_as(&system, &all, "/storage/c").await.json()["value"], "kept");
}

async fn a_token_reads_only_keys_with_its_prefixes(engine: EngineKind) {
    let tokens = Tokens::new();
    let all = tokens.make("all", &["--write", ""]);
    let some = tokens.make("some", &["--read", "user/", "--read", "x"]);
    let system = System::start_with_settings(engine, &[("TOKENS_FILE", &tokens.file())]).await;
    let mut owner = Socket::open_as(system.ws(), &all).await;
    for key in ["user/1", "user/2", "user", "x", "secret"] {
        owner.set(key, "v").await;
    }
    for (target, allowed) in [
        ("/storage/user%2F1", true),
        ("/storage/user%2Fnobody", true),
        ("/storage/x", true),
        ("/storage/secret", false),
        ("/storage/nobody", false),
        ("/storage/user", false),
        ("/storage?key=user/1&key=x", true),
        ("/storage?key=user/1&key=secret", false),
        ("/storage?prefix=user/", true),
        ("/storage?prefix=user/1", true),
        ("/storage?prefix=user", false),
        ("/storage", false),
        ("/export?prefix=user/", true),
        ("/export?prefix=use", false),
        ("/export", false),
    ] {
        for method in ["GET", "HEAD"] {
            let response = request_as(&system, &some, method, target).await;
            if allowed {
                assert!([200, 404].contains(&response.status), "{method} {target}: {response:?}");
            } else if method == "GET" {
                response.refused(403, "forbidden");
                assert!(!response.body.contains("secret"), "{response:?}");
            } else {
                assert_eq!(response.status, 403, "{method} {target}");
            }
            let response = request_as(&system, &all, method, target).await;
            assert_eq!(response.status, 403, "who may write may not read: {method} {target}");
        }
    }
    let bearer = format!("Bearer {some}");
    let known = [("Authorization", bearer.as_str()), ("If-None-Match", "*")];
    let mut connection = system.connection().await;
    assert_eq!(connection.request("GET", "/storage/x", &known).await.status, 304);
    connection.request("GET", "/storage/secret", &known).await.refused(403, "forbidden");
}

async fn a_browser_carries_its_token_among_the_subprotocols(engine: EngineKind) {
    let tokens = Tokens::new();
    let token = tokens.make("app", &["--write", ""]);
    let offered = format!("kv.v1, bearer.{token}");
    let system = System::start_with_settings(engine, &[("TOKENS_FILE", &tokens.file())]).await;
    let opened = handshake(&system, &[("Sec-WebSocket-Protocol", &offered)]).await;
    assert_eq!((opened.status, opened.header("sec-websocket-protocol")), (101, Some("kv.v1")));
    let refused = handshake(&system, &[("Sec-WebSocket-Protocol", "kv.v1, bearer.x")]).await;
    refused.refused(401, "unauthenticated");
    // Credentials that a proxy adds do not hide the token.
    let through_proxy = [("Authorization", "Basic dTpw"), ("Sec-WebSocket-Protocol", offered.as_str())];
    assert_eq!(handshake(&system, &through_proxy).await.status, 101);

    let open = System::start(engine).await;
    let opened = handshake(&open, &[("Sec-WebSocket-Protocol", "other, kv.v1")]).await;
    assert_eq!((opened.status, opened.header("sec-websocket-protocol")), (101, Some("kv.v1")));
    let opened = handshake(&open, &[("Sec-WebSocket-Protocol", "other")]).await;
    assert_eq!((opened.status, opened.header("sec-websocket-protocol")), (101, None));
}

async fn a_client_with_a_token_in_its_header_may_have_any_origin(engine: EngineKind) {
    let tokens = Tokens::new();
    let token = tokens.make("app", &["--read", "", "--write", ""]);
    let system = System::start_with_settings(engine, &[("TOKENS_FILE", &tokens.file())]).await;
    let (known, unknown) = (format!("Bearer {token}"), format!("Bearer {token}x"));
    for origin in ["https://other.example", "null", "app"] {
        let headers = [("Authorization", known.as_str()), ("Origin", origin)];
        assert_eq!(handshake(&system, &headers).await.status, 101, "{origin}");
        let read = system.connection().await.request("GET", "/storage/k", &headers).await;
        assert_eq!((read.status, read.header("access-control-allow-origin")), (404, None), "{origin}");

        // A page of a foreign origin can send these.
        let offered = format!("kv.v1, bearer.{token}");
        let carried = [("Sec-WebSocket-Protocol", offered.as_str()), ("Origin", origin)];
        handshake(&system, &carried).await.refused(403, "forbidden");
        let guessed = [("Authorization", unknown.as_str()), ("Origin", origin)];
        handshake(&system, &guessed).await.refused(403, "forbidden");
        let asks = [("Origin", origin), ("Access-Control-Request-Method", "GET")];
        let preflight = system.connection().await.request("OPTIONS", "/storage/k", &asks).await;
        preflight.refused(403, "forbidden");
    }
    // Without tokens there is no known token.
    let open = System::start(engine).await;
    let headers = [("Authorization", known.as_str()), ("Origin", "https://other.example")];
    handshake(&open, &headers).await.refused(403, "forbidden");
}

/// Sends `count` sets at once. Returns how many were done and how many were refused.
async fn burst(socket: &mut Socket, name: &str, count: usize) -> (usize, usize) {
    let writes = (0..count).map(|n| write(&format!("{name}/{n:03}"), "v"));
    socket.try_send_all(writes).await.expect("everything can be sent at once");
    let (mut done, mut refused) = (0, 0);
    for n in 0..count {
        let reply: Value = serde_json::from_str(&socket.next().await).expect("a reply is JSON");
        if reply["status"] == 200 {
            assert_eq!(reply["message"], format!("{name}/{n:03} created"));
            done += 1;
        } else {
            assert_eq!((&reply["status"], &reply["code"]), (&429.into(), &"slow_down".into()));
            refused += 1;
        }
    }
    (done, refused)
}

async fn a_connection_over_its_rate_is_told_so_and_nothing_is_done(engine: EngineKind) {
    let system = System::start_with_settings(engine, &[("CONNECTION_OPS_PER_SECOND", "20")]).await;
    let mut socket = system.socket().await;
    let (done, refused) = burst(&mut socket, "a", 200).await;
    assert!((19..100).contains(&done), "{done} of 200 were done, {refused} refused");
    assert_eq!(system.database.entries().await, done as u64, "what is refused is not done");
    // A message that is not a write counts too.
    let mut noisy = system.socket().await;
    noisy.try_send_all((0..100).map(|_| "{".to_owned())).await.expect("everything can be sent at once");
    let mut slowed = 0;
    for _ in 0..100 {
        slowed += usize::from(noisy.next().await.contains("slow_down"));
    }
    assert!(slowed > 50, "{slowed} of 100 were told to slow down");
    // Another connection has a rate limit of its own.
    assert!(burst(&mut system.socket().await, "b", 15).await == (15, 0));

    let mut connection = system.connection().await;
    for _ in 0..20 {
        assert_eq!(connection.get("/storage/a%2F000").await.status, 200);
    }
    // Each takes the whole rate of a second, so that a slow machine meets the limit too.
    let keys: Vec<String> = (0..20).map(|key| format!("key={key}")).collect();
    let all = format!("/storage?{}", keys.join("&"));
    let slowed = async {
        loop {
            let response = connection.get(&all).await;
            if response.status != 200 {
                return response;
            }
        }
    };
    let slowed = e2e::within("a get is told to slow down", e2e::PATIENCE, slowed).await;
    assert_eq!(slowed.header("retry-after"), Some("1"));
    slowed.refused(429, "slow_down");
    // A second later the rate limit allows writes again.
    e2e::eventually("it is let in again", e2e::PATIENCE, async || {
        match connection.get("/storage/a%2F000").await.status {
            200 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
}

async fn all_holders_of_a_token_share_its_rate(engine: EngineKind) {
    let tokens = Tokens::new();
    let slow = tokens.make("slow", &["--read", "", "--write", "", "--ops-per-second", "20"]);
    let other = tokens.make("other", &["--read", "", "--write", ""]);
    let system = System::start_with_settings(engine, &[("TOKENS_FILE", &tokens.file())]).await;
    let mut first = Socket::open_as(system.ws(), &slow).await;
    let mut second = Socket::open_as(system.ws(), &slow).await;
    let batch: Vec<String> = (0..21).map(|n| write(&format!("c/{n}"), "v")).collect();
    first.send(format!(r#"{{"id":1,"op":"batch","ops":[{}]}}"#, batch.join(","))).await;
    assert!(
        first.next().await.ends_with(r#","status":429,"code":"slow_down","id":1}"#),
        "each of its ops counts"
    );
    let keys: Vec<String> = (0..21).map(|key| format!("key={key}")).collect();
    let many = get_as(&system, &slow, &format!("/storage?{}", keys.join("&"))).await;
    many.refused(429, "slow_down");
    let (one, two) = tokio::join!(burst(&mut first, "a", 200), burst(&mut second, "b", 200));
    assert!((15..100).contains(&(one.0 + two.0)), "{one:?} and {two:?}");
    let mut free = Socket::open_as(system.ws(), &other).await;
    assert_eq!(burst(&mut free, "d", 200).await, (200, 0), "others are not held up");
    assert!(
        rev(&{
            free.send(r#"{"id":1,"key":"e","value":"v"}"#).await;
            free.next().await
        }) > 0
    );
}
