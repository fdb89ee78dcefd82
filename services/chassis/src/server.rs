//! The accept loop over hyper. It bounds what one client, and all clients together, can use.

mod client_stream;
mod refusals;
pub mod tls;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::Either;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Addr, Endpoint, Request};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::client_stream::{ClientStream, Transport, prepare};
use self::refusals::{Refusals, raw};
use self::tls::Tls;
use crate::edge::fast_path::FastPath;
use crate::edge::{Edge, HEADER_BYTES_MAX, URI_BYTES_MAX};
use crate::peer::Peer;
use crate::problem::{Code, Problem};
use crate::process::stop::Stop;
use crate::process::terminal::greet;
use crate::running::{self, RunningTimer};
use crate::telemetry::LogLimit;

/// The largest head of a request that hyper reads; 4 KiB of it are for separators and line ends. hyper answers a larger head with
/// 431 and no body. The limits of the edge are smaller, and the edge answers with a problem. While a head is incomplete, its connection
/// may keep this many bytes in memory.
const HEAD_BYTES_MAX: usize = URI_BYTES_MAX + HEADER_BYTES_MAX + 4 * 1024;

/// Limits of the connections of one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Open connections. An upgraded socket counts until it is dropped.
    pub connections_max: usize,
    /// Connections over that limit that wait at a time for their response; more are closed without one.
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
    let listener = TcpListener::bind(addr).await;
    listener.map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}")))
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
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let refusals = Refusals::new(limits, tls.is_none());
    let (accept_failures, unfinished) = (LogLimit::default(), Arc::new(LogLimit::default()));
    let connections = TaskTracker::new();
    loop {
        let (stream, remote) = tokio::select! {
            biased;
            () = stop.wait() => break,
            accepted = accept(&listener, &accept_failures) => accepted,
        };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            refusals.refuse(stream, &connections);
            continue;
        };
        let peer = Arc::new(Peer::new(remote.ip(), limits.ops_per_second));
        let connection = HttpConnection {
            app: Arc::clone(&app),
            local: local.clone(),
            remote: RemoteAddr(Addr::from(remote)),
            finish_timeout: limits.finish_timeout,
            unfinished: Arc::clone(&unfinished),
            peer: Arc::clone(&peer),
            stopping: stop.token(),
        };
        let accepted = Accepted { stream, permit, peer, tls: tls.clone(), limits: limits.clone() };
        let http = http.clone();
        connections.spawn(async move {
            match accepted.open().await {
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
        // A client that has closed its sending side still gets its responses.
        .half_close(true)
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

/// A connection that was just accepted.
struct Accepted {
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    peer: Arc<Peer>,
    tls: Option<Tls>,
    limits: ConnectionLimits,
}

impl Accepted {
    /// The stream of its requests. With TLS that is after the handshake, which may take as long as the head of a request.
    async fn open(self) -> io::Result<ClientStream> {
        let Self { stream, permit, peer, tls, limits } = self;
        prepare(&stream)?;
        let stream = match tls {
            None => Transport::Plain(stream),
            Some(tls) => {
                Transport::Tls(Box::new(running::timeout(limits.header_timeout, tls.accept(stream)).await??))
            }
        };
        Ok(ClientStream::new(stream, limits.write_timeout, peer, permit))
    }
}

/// A connection on which HTTP requests are served.
struct HttpConnection<E, F> {
    app: Arc<Edge<E, F>>,
    local: LocalAddr,
    remote: RemoteAddr,
    finish_timeout: Duration,
    /// Limits the log lines about clients that do not finish. All connections of the port share it.
    unfinished: Arc<LogLimit>,
    peer: Arc<Peer>,
    /// A token for this connection alone, because it is polled with every packet.
    stopping: CancellationToken,
}

impl<E: Endpoint + 'static, F: FastPath> HttpConnection<E, F> {
    async fn serve(self, http: http1::Builder, stream: ClientStream) {
        let Self { app, local, remote, finish_timeout, unfinished, peer, stopping } = self;
        let scheme = stream.scheme();
        let service = service_fn(|mut request: hyper::Request<Incoming>| {
            let answer = if let Some(answer) = app.fast_path(&request, &peer) {
                Either::Left(answer)
            } else {
                request.extensions_mut().insert(Arc::clone(&peer));
                let request = Request::from((request, local.clone(), remote.clone(), scheme.clone()));
                // Boxed, so that the future of a plain get is not as large as the framework's.
                Either::Right(Box::pin(app.get_response(request)))
            };
            answer.map(|response| Ok::<_, Infallible>(hyper::Response::from(response)))
        });
        let mut connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let end = tokio::select! {
            biased;
            end = &mut connection => end,
            () = stopping.cancelled() => {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                let Ok(end) = timeout(finish_timeout, &mut connection).await else {
                    if let Some(left_out) = unfinished.admit() {
                        tracing::warn!(left_out, "a client did not finish its request during the drain");
                    }
                    peer.reset();
                    return;
                };
                end
            }
        };
        let Err(error) = end else { return };
        tracing::debug!(%error, "a connection broke");
        if peer.stalled().is_some() {
            // The response is incomplete. After an ordinary close its client would see an end, and over HTTP/1.0 an end is the only sign
            // that a body is complete.
            peer.reset();
        }
        // A part of a head arrived, and not the rest: answer 408. An idle connection is closed without a response.
        if error.is_timeout()
            && let Some(parts) = connection.into_parts()
            && !parts.read_buf.is_empty()
        {
            parts
                .io
                .inner()
                .send_last(&raw(Problem::new(Code::Timeout, "the request took too long to arrive")));
        }
    }
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
