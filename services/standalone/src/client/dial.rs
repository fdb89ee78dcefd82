//! One TCP connection to where a URL points.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use url::{Position, Url};

use super::Failure;

/// How long a connection may take to be there.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Connects to the host and port of `url`.
pub(crate) async fn dial(url: &Url) -> Result<TcpStream, Failure> {
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
    Ok(stream)
}

/// The host and port of `url` as a request names them.
pub(crate) fn authority(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}
