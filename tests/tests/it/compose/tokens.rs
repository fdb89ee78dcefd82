//! A token file for compose, as a user would configure it.

use e2e::{Compose, HttpConnection, Response, Socket, Tokens, get, write};

/// The header lines of a handshake with a token.
const HANDSHAKE: [(&str, &str); 4] = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

pub(super) async fn with_a_file_of_tokens_only_holders_come_in(compose: &mut Compose) {
    let tokens = Tokens::new();
    let shop = tokens.make("shop", &["--read", "user/", "--write", "user/cart/"]);
    compose.set("KEYWIRE_TOKENS_FILE", &tokens.file());
    // Each service runs as a user of its own. A service that cannot read the file admits nobody.
    tokens.permit(0o600);
    for service in ["ws-ingest", "rest-read"] {
        let said = compose.fails(&["run", "--rm", "--no-deps", "-T", service]);
        assert!(said.contains("/etc/keywire/tokens.json cannot be read"), "{service}: {said}");
    }
    tokens.permit(0o644);
    compose.scale(&[]);

    get(compose.gateway, "/storage/user%2Fcart%2F1").await.refused(401, "unauthenticated");
    handshake(compose, &[]).await.refused(401, "unauthenticated");
    let wrong = format!("Bearer {shop}x");
    handshake(compose, &[("Authorization", &wrong)]).await.refused(401, "unauthenticated");

    let mut socket = Socket::open_as(compose.gateway, &shop).await;
    let reply = socket.set("user/cart/1", "v").await;
    assert_eq!(reply, r#"{"message":"user/cart/1 created","status":200}"#);
    socket.refuses(write("user/1", "v"), 403, "forbidden").await;
    let found = get_as(compose, &shop, "/storage/user%2Fcart%2F1").await;
    assert_eq!((found.status, &found.json()["value"]), (200, &"v".into()), "{found:?}");
    get_as(compose, &shop, "/storage/hello").await.refused(403, "forbidden");
    let offered = format!("kv.v1, bearer.{shop}");
    let opened = handshake(compose, &[("Sec-WebSocket-Protocol", &offered)]).await;
    assert_eq!((opened.status, opened.header("sec-websocket-protocol")), (101, Some("kv.v1")));
}

async fn handshake(compose: &Compose, headers: &[(&str, &str)]) -> Response {
    let all = [&HANDSHAKE, headers].concat();
    HttpConnection::open(compose.gateway).await.request("GET", "/ws/storage/", &all).await
}

async fn get_as(compose: &Compose, token: &str, target: &str) -> Response {
    let bearer = format!("Bearer {token}");
    let mut connection = HttpConnection::open(compose.gateway).await;
    connection.request("GET", target, &[("Authorization", &bearer)]).await
}
