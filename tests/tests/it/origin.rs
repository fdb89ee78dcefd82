//! Only the service's own pages and those of configured origins may use the service.

use std::net::SocketAddr;

use e2e::{EngineKind, HttpConnection, Response, System, promises};

promises! {
    every:
        only_our_own_and_configured_pages_may_open_a_socket,
        only_our_own_and_configured_pages_may_read,
        subdomains_and_apps_may_be_allowed,
        a_page_that_is_refused_learns_its_origin_and_the_setting;
}

/// An origin that the configuration lists.
const LISTED: &str = "https://app.example";

/// The response to a handshake at `addr` with these header lines.
async fn handshake(addr: SocketAddr, headers: &[(&str, &str)]) -> Response {
    let mut all = vec![
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    all.extend_from_slice(headers);
    HttpConnection::open(addr).await.request("GET", "/ws/storage/", &all).await
}

/// `Origin` and `Host` of pages that are allowed and of pages that are not.
fn pages(port: u16) -> [(Option<String>, String, bool); 9] {
    let own = |host: &str| format!("{host}:{port}");
    [
        (None, own("127.0.0.1"), true),
        (None, own("evil.example"), false),
        (Some(format!("http://127.0.0.1:{port}")), own("127.0.0.1"), true),
        (Some(format!("http://localhost:{port}")), own("localhost"), true),
        (Some(LISTED.into()), own("127.0.0.1"), true),
        (Some("https://evil.example".into()), own("127.0.0.1"), false),
        (Some("null".into()), own("127.0.0.1"), false),
        // Another port of the same machine is another origin.
        (Some(format!("http://127.0.0.1:{}", port ^ 1)), own("127.0.0.1"), false),
        // A host name of an attacker that resolves to this machine: page and Host agree, but the name is not ours.
        (Some(format!("http://evil.example:{port}")), own("evil.example"), false),
    ]
}

async fn only_our_own_and_configured_pages_may_open_a_socket(engine: EngineKind) {
    let system = System::start_with_settings(engine, &[("ALLOWED_ORIGINS", LISTED)]).await;
    for (origin, host, allowed) in pages(system.ws().port()) {
        let mut headers = vec![("Host", host.as_str())];
        headers.extend(origin.as_deref().map(|origin| ("Origin", origin)));
        let response = handshake(system.ws(), &headers).await;
        if allowed {
            assert_eq!(response.status, 101, "{origin:?} at {host}: {response:?}");
        } else {
            response.refused(403, "forbidden");
        }
    }
}

async fn only_our_own_and_configured_pages_may_read(engine: EngineKind) {
    let system = System::start_with_settings(engine, &[("ALLOWED_ORIGINS", LISTED)]).await;
    system.socket().await.set("k", "v").await;
    let mut connection = system.connection().await;
    for (origin, host, allowed) in pages(system.http().port()) {
        let mut headers = vec![("Host", host.as_str())];
        headers.extend(origin.as_deref().map(|origin| ("Origin", origin)));
        let response = connection.request("GET", "/storage/k", &headers).await;
        if allowed {
            assert_eq!(response.status, 200, "{origin:?} at {host}: {response:?}");
        } else {
            response.refused(403, "forbidden");
        }
        let listed = origin.as_deref().filter(|&origin| origin == LISTED);
        assert_eq!(response.header("access-control-allow-origin"), listed, "never reflected");
    }
}

async fn subdomains_and_apps_may_be_allowed(engine: EngineKind) {
    let allowed = "https://*.example.com,tauri://localhost,chrome-extension://abcdefgh";
    let system = System::start_with_settings(engine, &[("ALLOWED_ORIGINS", allowed)]).await;
    for (origin, is_allowed) in [
        ("https://app.example.com", true),
        ("https://a.b.example.com", true),
        ("https://example.com", false),
        ("https://evil-example.com", false),
        ("http://app.example.com", false),
        ("tauri://localhost", true),
        ("tauri://evil", false),
        ("chrome-extension://abcdefgh", true),
        ("chrome-extension://hgfedcba", false),
    ] {
        let opened = handshake(system.ws(), &[("Origin", origin)]).await;
        let read = system.connection().await.request("GET", "/storage/k", &[("Origin", origin)]).await;
        let expected = if is_allowed { (101, 404) } else { (403, 403) };
        assert_eq!((opened.status, read.status), expected, "{origin}");
        let told = is_allowed.then_some(origin);
        assert_eq!(read.header("access-control-allow-origin"), told, "{origin}");
    }
}

async fn a_page_that_is_refused_learns_its_origin_and_the_setting(engine: EngineKind) {
    let system = System::start(engine).await;
    let headers = [("Origin", "https://app.example")];
    let read = system.connection().await.request("GET", "/storage/k", &headers).await;
    for response in [handshake(system.ws(), &headers).await, read] {
        response.refused(403, "forbidden");
        let message = "the origin https://app.example is not allowed: add it to ALLOWED_ORIGINS";
        assert_eq!(response.json()["message"], message);
    }
}
