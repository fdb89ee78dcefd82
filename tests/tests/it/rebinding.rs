//! A page whose name was rebound to this machine gets nothing: without tokens, a request must name a host that is ours.

use std::net::SocketAddr;

use e2e::{
    Browser, EngineKind, HttpConnection, PATIENCE, Response, ServiceProcess, System, Tokens, promises, skip,
    within,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

promises! {
    every:
        a_rebound_name_gets_nothing,
        a_request_names_exactly_one_host;
    sqlite:
        with_tokens_any_name_is_served,
        a_page_of_a_rebound_name_reads_nothing;
}

/// The header lines of every handshake.
const HANDSHAKE: [(&str, &str); 4] = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// Names that somebody else could make resolve to this machine.
const REBOUND: [&str; 6] =
    ["evil.test", "EVIL.test:8000", "evil.test.", "127.0.0.1.evil.test", "localhost.evil.test", "evil."];
/// Hosts that nobody else can, and a name of `PUBLIC_HOSTS`.
const OURS: [&str; 7] = [
    "127.0.0.1:8000",
    "[::1]:8000",
    "localhost",
    "LOCALHOST:1",
    "rest-read:8002",
    "kv.example",
    "KV.example.",
];

/// A GET of `target` that names `host`.
async fn get_at(addr: SocketAddr, host: &str, target: &str) -> Response {
    HttpConnection::open(addr).await.request("GET", target, &[("Host", host)]).await
}

/// A handshake that names `host`.
async fn handshake_at(addr: SocketAddr, host: &str) -> Response {
    let all = [&HANDSHAKE[..], &[("Host", host)]].concat();
    HttpConnection::open(addr).await.request("GET", "/ws/storage/", &all).await
}

/// The processes of a system.
fn processes(system: &System) -> impl Iterator<Item = &ServiceProcess> {
    [Some(&system.writer), system.reader.as_ref()].into_iter().flatten()
}

async fn a_rebound_name_gets_nothing(engine: EngineKind) {
    let system = System::start_with_settings(engine, &[("PUBLIC_HOSTS", "localhost,kv.example")]).await;
    system.socket().await.set("secret", "v").await;
    let targets = ["/storage/secret", "/storage?key=secret", "/storage", "/export", "/", "/openapi.json"];
    for host in REBOUND {
        for target in targets {
            let refused = get_at(system.http(), host, target).await;
            refused.refused(403, "forbidden");
            assert!(refused.body.contains("PUBLIC_HOSTS") && !refused.body.contains("secret"), "{refused:?}");
        }
        handshake_at(system.ws(), host).await.refused(403, "forbidden");
        for process in processes(&system) {
            for target in ["/metrics", "/readyz", "/livez"] {
                get_at(process.admin, host, target).await.refused(403, "forbidden");
            }
        }
    }
    for host in OURS {
        for target in targets {
            assert_eq!(get_at(system.http(), host, target).await.status, 200, "{target} at {host}");
        }
        assert_eq!(handshake_at(system.ws(), host).await.status, 101, "{host}");
        for process in processes(&system) {
            assert_eq!(get_at(process.admin, host, "/metrics").await.status, 200, "{host}");
        }
    }
}

/// The status and the body of the answer to these bytes. The connection is closed after it.
async fn answer(addr: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).await.expect("it listens");
    let mut answer = String::new();
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_string(&mut answer).await
    };
    within(request, PATIENCE, exchange).await.expect("the connection ends in order");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: {answer}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status: {head}")), body.to_owned())
}

async fn a_request_names_exactly_one_host(engine: EngineKind) {
    let system = System::start(engine).await;
    system.socket().await.set("k", "v").await;
    let admin = system.reads().admin;
    for (head, status, code) in [
        ("GET {} HTTP/1.1", 400, "bad_host"),
        ("GET {} HTTP/1.1\r\nHost: localhost\r\nHost: localhost", 400, "bad_host"),
        ("GET {} HTTP/1.1\r\nHost: localhost\r\nHost: evil.test", 400, "bad_host"),
        ("GET {} HTTP/1.0\r\nHost: localhost\r\nHost: localhost", 400, "bad_host"),
        ("GET {} HTTP/1.1\r\nHost:", 400, "bad_host"),
        ("GET {} HTTP/1.1\r\nHost: localhost:x", 400, "bad_host"),
        ("GET {} HTTP/1.1\r\nHost: evil.test@localhost", 400, "bad_host"),
        ("GET {} HTTP/1.0\r\nHost: evil.test", 403, "forbidden"),
        // The target goes before the header.
        ("GET http://evil.test{} HTTP/1.1\r\nHost: localhost", 403, "forbidden"),
        ("GET http://localhost{} HTTP/1.1\r\nHost: evil.test", 200, ""),
        ("GET http://localhost{} HTTP/1.1", 400, "bad_host"),
        // No browser speaks HTTP/1.0, and health checks do.
        ("GET {} HTTP/1.0", 200, ""),
        ("GET {} HTTP/1.1\r\nHost: localhost", 200, ""),
    ] {
        for (addr, target) in
            [(system.http(), "/storage/k"), (system.http(), "/storage"), (admin, "/metrics")]
        {
            let request = format!("{}\r\nConnection: close\r\n\r\n", head.replace("{}", target));
            let (found, body) = answer(addr, &request).await;
            assert_eq!(found, status, "{request}: {body}");
            assert!(body.contains(code), "{request}: {body}");
        }
    }
    let handshake = HANDSHAKE.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
    let (status, body) = answer(system.ws(), &format!("GET /ws/storage/ HTTP/1.1\r\n{handshake}\r\n")).await;
    assert!(status == 400 && body.contains("bad_host"), "{status} {body}");
}

async fn with_tokens_any_name_is_served(engine: EngineKind) {
    let tokens = Tokens::new();
    let token = tokens.make("app", &["--read", "", "--write", ""]);
    let system = System::start_with_settings(engine, &[("TOKENS_FILE", &tokens.file())]).await;
    let bearer = format!("Bearer {token}");
    let fields = [("Host", "kv.other.example"), ("Authorization", bearer.as_str())];
    let found = system.connection().await.request("GET", "/storage", &fields).await;
    assert_eq!(found.status, 200, "a page of a rebound name has no token: {found:?}");
    get_at(system.http(), "evil.test", "/storage").await.refused(401, "unauthenticated");
    // The admin port never asks for a token.
    get_at(system.writer.admin, "evil.test", "/metrics").await.refused(403, "forbidden");
}

async fn a_page_of_a_rebound_name_reads_nothing(engine: EngineKind) {
    if let Err(reason) = Browser::available() {
        return skip(&reason);
    }
    let system = System::start(engine).await;
    system.socket().await.set("secret", "v").await;
    let mut browser = Browser::start().await;
    let read = "fetch('/export').then(async reply => [reply.status, await reply.text()])";
    browser.goto(&format!("http://{}/", system.http())).await;
    let own = browser.eval(read).await;
    assert!(own[0] == 200 && own[1].to_string().contains("secret"), "the page of the service itself: {own}");
    // For the browser of the tests this name is 127.0.0.1.
    browser.goto(&format!("http://evil.test:{}/", system.http().port())).await;
    assert_eq!(browser.eval("location.hostname").await, "evil.test");
    let rebound = browser.eval(read).await;
    assert!(rebound[0] == 403 && !rebound[1].to_string().contains("secret"), "{rebound}");
}
