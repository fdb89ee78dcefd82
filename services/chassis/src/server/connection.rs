//! One connection: its handshake, then its requests until the client or the process ends them.

use std::future::{poll_fn, ready};
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::Either;
use http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Request};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::edge::Edge;
use crate::edge::fast_path::FastPath;
use crate::peer::Peer;
use crate::problem::{Code, Problem};
use crate::running;
use crate::server::ConnectionLimits;
use crate::server::client_stream::{ClientStream, Transport, prepare};
use crate::server::progress::Progress;
use crate::server::refusals::raw;
use crate::server::tls::Tls;
use crate::telemetry::LogLimit;

/// A connection that was just accepted.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) permit: OwnedSemaphorePermit,
    pub(crate) peer: Arc<Peer>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) tls: Option<Tls>,
    pub(crate) limits: ConnectionLimits,
}

impl Accepted {
    /// The stream from which its requests are read. Over TLS the handshake comes first, and may take as long as the head of a request.
    pub(crate) async fn open(self) -> io::Result<ClientStream> {
        let Self { stream, permit, peer, progress, tls, limits } = self;
        prepare(&stream)?;
        let stream = match tls {
            None => Transport::Plain(stream),
            Some(tls) => {
                Transport::Tls(Box::new(running::timeout(limits.header_timeout, tls.accept(stream)).await??))
            }
        };
        Ok(ClientStream::new(stream, limits.write_timeout, peer, progress, permit))
    }
}

/// A connection on which HTTP requests are served.
pub(crate) struct HttpConnection<E, F> {
    pub(crate) app: Arc<Edge<E, F>>,
    pub(crate) local: LocalAddr,
    pub(crate) remote: RemoteAddr,
    pub(crate) finish_timeout: Duration,
    /// Limits the log lines about clients that do not finish. All connections of the port share it.
    pub(crate) unfinished: Arc<LogLimit>,
    pub(crate) peer: Arc<Peer>,
    pub(crate) progress: Arc<Progress>,
}

impl<E: Endpoint + 'static, F: FastPath> HttpConnection<E, F> {
    pub(crate) async fn serve(self, http: http1::Builder, stream: ClientStream) {
        let Self { app, local, remote, finish_timeout, unfinished, peer, progress } = self;
        let scheme = stream.scheme();
        let service = service_fn(|mut request: hyper::Request<Incoming>| {
            if let Err(evicted) = progress.ask() {
                return Either::Left(ready(Err(evicted)));
            }
            peer.begin_request();
            let answer = if let Some(answer) = app.fast_path(&request, &peer) {
                Either::Left(answer)
            } else {
                request.extensions_mut().insert(Arc::clone(&peer));
                let request = Request::from((request, local.clone(), remote.clone(), scheme.clone()));
                // Boxed, so that the future of a plain get is not as large as the framework's.
                Either::Right(Box::pin(app.get_response(request)))
            };
            Either::Right(answer.map(|response| {
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    progress.upgrade();
                }
                Ok(hyper::Response::from(response))
            }))
        });
        let mut connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut is_last = false;
        let end = loop {
            tokio::select! {
                biased;
                end = &mut connection => break end,
                // No waker is needed: only the connection itself, which was polled just now, learns that its client has left.
                () = poll_fn(|_| if progress.has_left() { Poll::Ready(()) } else { Poll::Pending }), if !is_last => {
                    // No further request can come. An idle connection is closed now, a busy one after its response.
                    is_last = true;
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                }
                () = progress.stopping().cancelled() => {
                    if progress.is_evicted() {
                        return;
                    }
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                    let Ok(end) = timeout(finish_timeout, &mut connection).await else {
                        if let Some(left_out) = unfinished.admit() {
                            tracing::warn!(left_out, "a client did not finish its request during the drain");
                        }
                        peer.reset();
                        return;
                    };
                    break end;
                }
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
