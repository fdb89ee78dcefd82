//! The accept loop over hyper. It bounds what one client, and all clients together, can use.

mod client_stream;
mod connection;
mod progress;
mod refusals;
mod room;
pub mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Addr, Endpoint};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use self::connection::{Accepted, HttpConnection};
use self::progress::Progress;
use self::refusals::Refusals;
use self::room::Room;
use self::tls::Tls;
use crate::edge::fast_path::FastPath;
use crate::edge::{Edge, HEADER_BYTES_MAX, URI_BYTES_MAX};
use crate::peer::Peer;
use crate::process::stop::Stop;
use crate::process::terminal::greet;
use crate::running::RunningTimer;
use crate::telemetry::LogLimit;

/// The largest head of a request that hyper reads; 4 KiB of it are for separators and line ends. hyper answers a larger head with
/// 431 and no body. The limits of the edge are smaller, and the edge answers with a problem. While a head is incomplete, its connection
/// may keep this many bytes in memory.
const HEAD_BYTES_MAX: usize = URI_BYTES_MAX + HEADER_BYTES_MAX + 4 * 1024;

/// Connections that the kernel keeps until they are accepted. If more come, clients try again after a second. On an admin
/// port connections without a request make room for 64 new ones each 50 ms, so the last one of this many waits 0.8 s.
const BACKLOG: i32 = 1024;

/// Limits of the connections of one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Open connections. An upgraded socket counts until it is dropped. Over the limit, a new connection takes the place of the oldest one
    /// that has not sent a request.
    pub connections_max: usize,
    /// Refused connections that wait for their response at the same time; further ones are closed without a response.
    pub refusals_max: usize,
    /// Time limit for the head of a request. An idle connection is closed after the same time.
    pub header_timeout: Duration,
    /// How long a write may wait for a client that does not read.
    pub write_timeout: Duration,
    /// Time for a connection to finish its request after the drain began. Shorter than the drain.
    pub finish_timeout: Duration,
    /// Rate limit of one connection, in requests and socket operations per second; 0 = none.
    pub ops_per_second: u32,
}

/// The limits of a public port, unless configured.
const PUBLIC_LIMITS: ConnectionLimits = ConnectionLimits {
    connections_max: 10_000,
    refusals_max: 256,
    header_timeout: Duration::from_secs(5),
    // More than the 10 s after which the write service itself closes a socket that is not read.
    write_timeout: Duration::from_secs(11),
    finish_timeout: Duration::from_millis(11_250),
    ops_per_second: 0,
};

/// The limits of an admin port.
pub(crate) const ADMIN_LIMITS: ConnectionLimits =
    ConnectionLimits { connections_max: 64, refusals_max: 16, ..PUBLIC_LIMITS };

impl Default for ConnectionLimits {
    fn default() -> Self {
        PUBLIC_LIMITS
    }
}

/// Opens a port. With port 0 the system picks a free one; `local_addr` tells which.
///
/// # Errors
/// The address cannot be used. The error names it.
pub async fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let listener = async {
        let listener = TcpListener::bind(addr).await?;
        SockRef::from(&listener).listen(BACKLOG)?;
        Ok::<_, io::Error>(listener)
    };
    listener.await.map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}")))
}

/// Prints one line on stdout: the ports are open, and their addresses.
pub(crate) fn announce(
    name: &str,
    public: &TcpListener,
    admin: &TcpListener,
    is_tls: bool,
) -> io::Result<()> {
    let (public, admin) = (public.local_addr()?, admin.local_addr()?);
    let (version, scheme) = (env!("CARGO_PKG_VERSION"), if is_tls { "https" } else { "http" });
    greet(format!("{name} {version} · public {scheme}://{public} · admin http://{admin}\n"));
    Ok(())
}

/// Serves `app` until `stop` begins, over TLS if there is a certificate. Then closes the port, lets each connection finish its
/// current request, and returns when all HTTP connections have ended. The service itself ends upgraded sockets. Dropping the
/// future closes the port and leaves the open connections to the runtime.
pub async fn serve<E, F>(
    listener: TcpListener,
    tls: Option<Tls>,
    app: Edge<E, F>,
    limits: &ConnectionLimits,
    stop: &Stop,
) where
    E: Endpoint + 'static,
    F: FastPath,
{
    let app = Arc::new(app);
    let local = listener.local_addr();
    let local = local.map_or_else(|_| LocalAddr::default(), |addr| LocalAddr(addr.into()));
    let http = http(limits);
    let mut room = Room::new(limits.connections_max);
    let refusals = Refusals::new(limits, tls.is_none());
    let (accept_failures, unfinished) = (LogLimit::default(), Arc::new(LogLimit::default()));
    let connections = TaskTracker::new();
    loop {
        let (stream, remote) = tokio::select! {
            biased;
            () = stop.wait() => break,
            accepted = accept(&listener, &accept_failures) => accepted,
        };
        let Some(permit) = room.place().await else {
            refusals.refuse(stream, &connections);
            continue;
        };
        let peer = Arc::new(Peer::new(remote.ip(), limits.ops_per_second));
        let progress = Arc::new(Progress::new(stop.token()));
        room.add(&progress);
        let connection = HttpConnection {
            app: Arc::clone(&app),
            local: local.clone(),
            remote: RemoteAddr(Addr::from(remote)),
            finish_timeout: limits.finish_timeout,
            unfinished: Arc::clone(&unfinished),
            peer: Arc::clone(&peer),
            progress: Arc::clone(&progress),
        };
        let accepted = Accepted {
            stream,
            permit,
            peer,
            progress: Arc::clone(&progress),
            tls: tls.clone(),
            limits: limits.clone(),
        };
        let http = http.clone();
        connections.spawn(async move {
            let opened = tokio::select! {
                biased;
                opened = accepted.open() => opened,
                () = progress.evicted() => return,
            };
            match opened {
                Ok(stream) => connection.serve(http, stream).await,
                Err(error) => tracing::debug!(%error, "a connection ended before its first request"),
            }
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

fn http(limits: &ConnectionLimits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // Without a timer the header timeout never fires.
    http.timer(RunningTimer)
        .header_read_timeout(limits.header_timeout)
        // hyper then looks for the end of the stream during a request too, and drops the request there. The stream holds the end back
        // for a client that has closed its sending side only.
        .half_close(false)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    http
}

/// Accepts the next connection. Errors of single connections are ignored.
async fn accept(listener: &TcpListener, failures: &LogLimit) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_one_clients_fault(&error) => {}
            Err(error) => {
                // No descriptors or no memory left: trying again at once would fail again.
                if let Some(left_out) = failures.admit() {
                    tracing::error!(%error, left_out, "cannot accept connections");
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Whether accepting failed because one client closed its connection.
fn is_one_clients_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_descriptors_is_not_one_clients_fault() {
        let too_many_open_files = io::Error::from_raw_os_error(24);
        assert!(!is_one_clients_fault(&too_many_open_files));
        assert!(is_one_clients_fault(&io::ErrorKind::ConnectionAborted.into()));
    }
}
