//! Every handshake that RFC 6455 and RFC 9110 allow opens a socket.

use e2e::{EngineKind, HttpConnection, Socket, System, promises};

promises! {
    every:
        a_handshake_may_have_lists_and_several_lines_in_any_case,
        a_strict_socket_and_others_live_side_by_side;
}

async fn a_handshake_may_have_lists_and_several_lines_in_any_case(engine: EngineKind) {
    let system = System::start(engine).await;
    let always = [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")];
    let handshake = async |lines: &[(&str, &str)]| {
        let all = [&always, lines].concat();
        HttpConnection::open(system.ws()).await.request("GET", "/ws/storage/", &all).await
    };
    for lines in [
        &[("Connection", "keep-alive, Upgrade"), ("Upgrade", "websocket")][..],
        &[("Connection", "keep-alive"), ("Connection", "Upgrade"), ("Upgrade", "websocket")],
        &[("connection", "UPGRADE"), ("upgrade", "WebSocket, foo")],
        &[("Connection", "Upgrade"), ("Upgrade", "h2c, websocket")],
        &[("Connection", "Upgrade"), ("Upgrade", "h2c"), ("Upgrade", "websocket")],
    ] {
        let opened = handshake(lines).await;
        assert_eq!(opened.status, 101, "{lines:?}: {opened:?}");
        assert_eq!(opened.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{lines:?}");
    }
    for lines in [
        &[("Connection", "keep-alive"), ("Upgrade", "websocket")][..],
        &[("Connection", "Upgrade"), ("Upgrade", "h2c")],
        &[("Connection", "Upgrade")],
    ] {
        handshake(lines).await.refused(426, "upgrade_required");
    }
}

async fn a_strict_socket_and_others_live_side_by_side(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut strict = Socket::open_speaking(system.ws(), "kv.v1").await;
    let mut lenient = system.socket().await;
    let misspelt = r#"{"key":"a","value":"v","ifrev":0}"#;
    let reply = strict.refuses(misspelt, 422, "bad_member").await;
    assert!(reply.contains("unknown member ifrev; did you mean if_rev?"), "{reply}");
    // Over 32 KiB a message is parsed elsewhere.
    let large = format!(r#"{{"key":"a","value":"{}","TTL":1}}"#, "v".repeat(40_000));
    strict.refuses(large, 422, "bad_member").await;
    assert_eq!(system.database.entries().await, 0, "what is refused is not done");
    assert_eq!(lenient.ask(misspelt).await, r#"{"message":"a created","status":200}"#);
    assert_eq!(strict.set("a", "w").await, r#"{"message":"a updated","status":200}"#, "it is still open");
}
