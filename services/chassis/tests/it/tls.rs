//! Clients that leave, and clients that say nothing, are treated alike over TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use chassis::edge::fast_path::NoFastPath;
use chassis::edge::origin::OriginRule;
use chassis::server::ConnectionLimits;
use chassis::server::tls::Tls;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::net::{TestClient, TestServer, soon};

const SLOW: &str = "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n";

/// A server over TLS for one connection at a time, and what connects to it.
async fn narrow() -> (TestServer, TlsConnector) {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("it can be issued");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, issued.cert.pem()).expect("a file can be written");
    std::fs::write(&key, issued.signing_key.serialize_pem()).expect("a file can be written");
    let tls = Tls::read(&cert, &key).expect("they belong together");
    let mut roots = RootCertStore::empty();
    roots.add(issued.cert.der().clone()).expect("it is a certificate");
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let client = client.with_safe_default_protocol_versions().expect("ring has them");
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let limits = ConnectionLimits { connections_max: 1, ..ConnectionLimits::default() };
    let server = TestServer::over(Some(tls), NoFastPath, limits, OriginRule::default()).await;
    (server, TlsConnector::from(Arc::new(client)))
}

/// A client after its handshake; an error if there is no room for it.
async fn try_connect(
    addr: SocketAddr,
    tls: &TlsConnector,
) -> std::io::Result<TestClient<TlsStream<TcpStream>>> {
    let stream = TcpStream::connect(addr).await.expect("it listens");
    let name = ServerName::try_from("localhost").expect("a name");
    Ok(TestClient(soon("the handshake", tls.connect(name, stream)).await?))
}

#[tokio::test]
async fn a_request_whose_client_has_gone_is_dropped() {
    let (mut server, tls) = narrow().await;
    let mut client = try_connect(server.addr, &tls).await.expect("there is room");
    client.send(SLOW).await;
    soon("the request", server.waiting.wait_for(|count| *count == 1)).await.expect("the app lives");
    assert!(try_connect(server.addr, &tls).await.is_err(), "a request under way is not evicted");
    drop(client);
    soon("the connection is free", async { while try_connect(server.addr, &tls).await.is_err() {} }).await;
}

#[tokio::test]
async fn a_half_closed_client_gets_its_response() {
    for says_so in [true, false] {
        let (mut server, tls) = narrow().await;
        let mut client = try_connect(server.addr, &tls).await.expect("there is room");
        client.send(SLOW).await;
        if says_so {
            client.half_close().await;
        } else {
            // The end comes without the word of TLS for it.
            client.0.get_mut().0.shutdown().await.expect("the connection is open");
        }
        soon("the request", server.waiting.wait_for(|count| *count == 1)).await.expect("the app lives");
        server.gate.send_replace(true);
        assert_eq!(client.reply().await.body, "done", "{says_so}");
    }
}

#[tokio::test]
async fn a_connection_over_the_limit_is_closed_without_a_response() {
    let (server, tls) = narrow().await;
    let mut first = try_connect(server.addr, &tls).await.expect("there is room");
    first.send("GET /keys/a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(first.reply().await.body, "a");
    assert_eq!(server.connect().await.rest().await, "", "it is closed and not reset");
}

#[tokio::test]
async fn a_connection_without_a_handshake_makes_room() {
    let (server, tls) = narrow().await;
    let mut silent = server.connect().await;
    try_connect(server.addr, &tls).await.expect("the silent one made room");
    assert_eq!(silent.rest().await, "");
}
