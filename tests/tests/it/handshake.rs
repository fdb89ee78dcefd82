//! Every handshake that RFC 6455 and RFC 9110 allow opens a socket.

use e2e::{EngineKind, HttpConnection, System, promises};

promises! {
    every:
        a_handshake_may_have_lists_and_several_lines_in_any_case;
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
