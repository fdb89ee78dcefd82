//! Opens one connection to a server, over TLS if the URL says so.

use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::either::Either;
use url::{Position, Url};

use super::failure::Failure;
use super::roots::Roots;
use super::server_certificate::explain_handshake;
use super::target::Target;

/// Time limit of the TCP connection, and then of the TLS handshake.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// A TCP connection, with TLS or without.
pub(crate) type Connection = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Connects to `target`. The kernel buffers at most `receive_bytes` for the process; `None` leaves the size to the kernel.
pub(crate) async fn dial(target: Target<'_>, receive_bytes: Option<usize>) -> Result<Connection, Failure> {
    let url = target.url;
    let address = authority(url);
    let no_connection =
        |why: &dyn std::fmt::Display| Failure::Unavailable(format!("no connection to {address}: {why}"));
    let host = url.host_str().expect("the URL of a target has a host").trim_matches(['[', ']']);
    let port = url.port_or_known_default().expect("http and https have a default port");
    let stream = timeout(CONNECT_MAX, TcpStream::connect((host, port)))
        .await
        .map_err(|_| no_connection(&format_args!("no answer within {} s", CONNECT_MAX.as_secs())))?
        .map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => no_connection(&format_args!(
                "{error}; is Keywire running? `keywire` starts it, --url names another server"
            )),
            _ => no_connection(&error),
        })?;
    stream.set_nodelay(true).map_err(|error| no_connection(&error))?;
    if let Some(bytes) = receive_bytes {
        SockRef::from(&stream).set_recv_buffer_size(bytes).map_err(|error| no_connection(&error))?;
    }
    if url.scheme() != "https" {
        return Ok(Either::Left(stream));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|error| no_connection(&error))?;
    let roots = target.roots.cloned().unwrap_or_else(Roots::public);
    let handshake = timeout(CONNECT_MAX, roots.connector().connect(name, stream)).await;
    let stream = handshake
        .map_err(|_| no_connection(&format_args!("no TLS handshake within {} s", CONNECT_MAX.as_secs())))?
        .map_err(|error| no_connection(&explain_handshake(&error, host)))?;
    Ok(Either::Right(Box::new(stream)))
}

/// Host and port of `url`, in the form of the header `Host`.
pub(crate) fn authority(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}
