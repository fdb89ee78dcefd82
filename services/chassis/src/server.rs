//! The accept loop over hyper: it bounds what one client, and all of them together, can hold.

mod client_stream;
mod refusals;
pub mod tls;

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::Either;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Addr, Endpoint, Request};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::edge::Edge;
use crate::edge::fast_path::Express;
use crate::peer::Line;
use crate::problem::{Code, Problem};
use crate::process::stop::Stop;
use crate::server::client_stream::{Stream, Wire, prepare};
use crate::server::refusals::{Refusals, raw};
use crate::server::tls::Tls;

/// Where hyper gives up on a request's head and answers a bare 431. The edge refuses smaller ones in JSON.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bounds of one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; an upgraded socket counts until it is dropped.
    pub connections_max: usize,
    /// Time for a request's header to arrive, and for the next one on an idle connection.
    pub header_timeout: Duration,
    /// Time a write may wait for a client that does not read.
    pub write_timeout: Duration,
    /// Time a connection gets to finish its request once the drain began.
    pub drain_timeout: Duration,
    /// Requests, and ops of an upgraded socket, that one connection may ask for in a second; 0 = as many as it can.
    pub ops_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            header_timeout: Duration::from_secs(5),
            // Past the 10 s after which the write service itself closes a socket that is not read.
            write_timeout: Duration::from_secs(11),
            drain_timeout: Duration::from_millis(11_250),
            ops_per_second: 0,
        }
    }
}

/// Opens a port; port 0 picks a free one, which `local_addr` tells.
///
/// # Errors
/// When the address cannot be had; the error names it.
pub async fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(addr).await;
    listener.map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}")))
}

/// Prints the one line that tells, on stdout, that the ports are open and which ones they are.
///
/// # Errors
/// When a port is not known any more or stdout is gone.
pub fn announce(
    (service, version): (&str, &str),
    public: &TcpListener,
    admin: &TcpListener,
    tls: Option<&Tls>,
) -> io::Result<()> {
    let (public, admin) = (public.local_addr()?, admin.local_addr()?);
    let mut stdout = io::stdout();
    let scheme = if tls.is_some() { "https" } else { "http" };
    writeln!(stdout, "{service} {version} · public {scheme}://{public} · admin http://{admin}")?;
    stdout.flush()
}

/// Serves `app`, over TLS if there is a certificate, until `stop` begins; then closes the port, lets each connection finish the request under way, and
/// returns when all HTTP connections have ended. Sockets that were upgraded are the service's to end. Dropping the
/// future closes the port and leaves the open connections to the runtime.
pub async fn serve<E, X>(
    listener: TcpListener,
    tls: Option<Tls>,
    app: Edge<E, X>,
    limits: &Limits,
    stop: &Stop,
) where
    E: Endpoint + 'static,
    X: Express,
{
    let app = Arc::new(app);
    let local = listener.local_addr();
    let local = local.map_or_else(|_| LocalAddr::default(), |addr| LocalAddr(addr.into()));
    let http = http(limits);
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let mut refusals = Refusals::new(limits.connections_max, tls.is_none());
    let connections = TaskTracker::new();
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = stop.wait() => break,
            accepted = accept(&listener) => accepted,
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            refusals.refuse(stream, &connections);
            continue;
        };
        let line = Arc::new(Line::new(limits.ops_per_second));
        let conversation = Conversation {
            app: Arc::clone(&app),
            local: local.clone(),
            remote: RemoteAddr(Addr::from(peer)),
            drain_timeout: limits.drain_timeout,
            line: Arc::clone(&line),
            stopping: stop.token(),
        };
        let opening = Opening { stream, place, line, tls: tls.clone(), limits: limits.clone() };
        let http = http.clone();
        connections.spawn(async move {
            match opening.wire().await {
                Ok(wire) => conversation.hold(http, wire).await,
                Err(error) => tracing::debug!(%error, "a connection was gone before it began"),
            }
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

fn http(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // Without a timer the header timeout never fires.
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        // A client that has sent all it will still gets its answers.
        .half_close(true)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    http
}

/// Accepts the next connection, whatever happens to the ones before it.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                // Out of descriptors or memory: trying again at once would only spin.
                tracing::error!(%error, "cannot accept connections");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Whether accepting failed because this one client went away.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// A connection before its first request.
struct Opening {
    stream: TcpStream,
    place: OwnedSemaphorePermit,
    line: Arc<Line>,
    tls: Option<Tls>,
    limits: Limits,
}

impl Opening {
    /// The stream that requests come over: with TLS, after its handshake, for which there is as much time as for a header.
    async fn wire(self) -> io::Result<Wire> {
        let Self { stream, place, line, tls, limits } = self;
        prepare(&stream)?;
        let stream = match tls {
            None => Stream::Plain(stream),
            Some(tls) => Stream::Tls(Box::new(timeout(limits.header_timeout, tls.accept(stream)).await??)),
        };
        Ok(Wire::new(stream, limits.write_timeout, line, place))
    }
}

/// One client's connection.
struct Conversation<E, X> {
    app: Arc<Edge<E, X>>,
    local: LocalAddr,
    remote: RemoteAddr,
    drain_timeout: Duration,
    line: Arc<Line>,
    /// Of its own, because it is polled with every packet.
    stopping: CancellationToken,
}

impl<E: Endpoint + 'static, X: Express> Conversation<E, X> {
    async fn hold(self, http: http1::Builder, wire: Wire) {
        let Self { app, local, remote, drain_timeout, line, stopping } = self;
        let scheme = wire.scheme();
        let service = service_fn(|mut request: hyper::Request<Incoming>| {
            let answer = if let Some(express) = app.express(&request, &line) {
                Either::Left(express)
            } else {
                request.extensions_mut().insert(Arc::clone(&line));
                let request = Request::from((request, local.clone(), remote.clone(), scheme.clone()));
                // Boxed, so that a plain get does not carry the framework's large future.
                Either::Right(Box::pin(app.get_response(request)))
            };
            answer.map(|response| Ok::<_, Infallible>(hyper::Response::from(response)))
        });
        let mut connection = http.serve_connection(TokioIo::new(wire), service).with_upgrades();
        let end = tokio::select! {
            biased;
            end = &mut connection => end,
            () = stopping.cancelled() => {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                let Ok(end) = timeout(drain_timeout, &mut connection).await else {
                    tracing::warn!("a client did not finish its request during the drain");
                    return;
                };
                end
            }
        };
        let Err(error) = end else { return };
        tracing::debug!(%error, "a connection broke");
        // Half a head arrived and the rest did not: say so. An idle connection is closed without a word.
        if error.is_timeout()
            && let Some(parts) = connection.into_parts()
            && !parts.read_buf.is_empty()
        {
            parts.io.inner().say(&raw(Problem::new(Code::Timeout, "the request took too long to arrive")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_descriptors_is_not_one_clients_fault() {
        let too_many_open_files = io::Error::from_raw_os_error(24);
        assert!(!is_the_clients(&too_many_open_files));
        assert!(is_the_clients(&io::ErrorKind::ConnectionAborted.into()));
    }
}
