//! One connection to where a URL points, over TLS if the URL says so.

use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::either::Either;
use url::{Position, Url};

use super::roots::Roots;
use super::{Failure, Side};

/// How long a connection may take to be there.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// A connection.
pub(crate) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Connects to the host and port of `side`. The kernel keeps `kept` bytes for us, as many as it likes if not given.
pub(crate) async fn dial(side: Side<'_>, kept: Option<usize>) -> Result<Stream, Failure> {
    let url = side.url;
    let address = authority(url);
    let no_connection =
        |why: &dyn std::fmt::Display| Failure::Unavailable(format!("no connection to {address}: {why}"));
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = timeout(CONNECT_MAX, TcpStream::connect((host, port)))
        .await
        .map_err(|_| no_connection(&format_args!("nobody answers within {} s", CONNECT_MAX.as_secs())))?
        .map_err(|error| no_connection(&error))?;
    stream.set_nodelay(true).map_err(|error| no_connection(&error))?;
    if let Some(kept) = kept {
        SockRef::from(&stream).set_recv_buffer_size(kept).map_err(|error| no_connection(&error))?;
    }
    if url.scheme() != "https" {
        return Ok(Either::Left(stream));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|error| no_connection(&error))?;
    let roots = side.roots.cloned().unwrap_or_else(Roots::public);
    let shaken = timeout(CONNECT_MAX, roots.connector().connect(name, stream)).await;
    let stream = shaken
        .map_err(|_| no_connection(&format_args!("no TLS within {} s", CONNECT_MAX.as_secs())))?
        .map_err(|error| no_connection(&error))?;
    Ok(Either::Right(Box::new(stream)))
}

/// The host and port of `url` as a request names them.
pub(crate) fn authority(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}
