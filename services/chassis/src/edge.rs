//! The edge: makes every HTTP response conform to the contract, also if the endpoint fails.

mod admission;
mod cors;
mod failure;
pub mod fast_path;
mod host;
mod observer;
pub mod origin;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use http::{HeaderValue, Method, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use opentelemetry::StringValue;
use poem::{Endpoint, IntoResponse as _, PathPattern, Request, Response, Result};
use tracing::{Instrument as _, Span};

use self::admission::{Admitted, Head, admit, check_origin, check_path};
use self::failure::FailureLog;
use self::fast_path::{FastPath, NoFastPath};
use self::host::HostRule;
use self::observer::Observer;
use self::origin::OriginRule;
use crate::access::{Access, Caller};
use crate::peer::Peer;
use crate::problem::Problem;
use crate::process::stop::Stop;
use crate::telemetry::Telemetry;

pub use admission::{HEADER_BYTES_MAX, URI_BYTES_MAX};
pub use observer::Unmeasured;

/// The methods of every path that takes HEAD.
const GET_AND_HEAD: &str = "GET, HEAD";

/// Wraps the endpoint of the public port.
///
/// Errors of the endpoint become `Problem`s. HEAD is answered like GET, without the body, except on paths that take only GET
/// ([`Edge::with_get_only`]). A panic is a 500. Requests that
/// admission or a rate limit refuses never reach the endpoint. The endpoint gets a [`Caller`].
pub fn edge<E: Endpoint>(
    app: E,
    origin: OriginRule,
    access: Access,
    telemetry: &Telemetry,
    stop: Stop,
) -> Edge<E> {
    let hosts = if access.is_restricted() {
        HostRule::Any
    } else {
        HostRule::NoForeignNames(origin.public_hosts.clone())
    };
    let (observer, failures) = (Some(Observer::new(telemetry)), FailureLog::default());
    Edge { app, fast_path: NoFastPath, get_only: &[], hosts, origin, access, observer, failures, stop }
}

/// The edge of the admin port: no page may use it, its requests are not counted, and it serves during the drain. It never asks for
/// a token.
pub(crate) fn admin_edge<E: Endpoint>(app: E, public_hosts: Vec<String>) -> Edge<E> {
    let hosts = HostRule::NoForeignNames(public_hosts);
    let (origin, access, failures) = (OriginRule::default(), Access::default(), FailureLog::default());
    let (observer, stop) = (None, Stop::new());
    Edge { app, fast_path: NoFastPath, get_only: &[], hosts, origin, access, observer, failures, stop }
}

/// An endpoint behind the edge. `F` answers plain requests before they reach the framework.
#[derive(Debug)]
pub struct Edge<E, F = NoFastPath> {
    app: E,
    fast_path: F,
    /// The paths that take no HEAD.
    get_only: &'static [&'static str],
    hosts: HostRule,
    origin: OriginRule,
    access: Access,
    observer: Option<Observer>,
    failures: FailureLog,
    stop: Stop,
}

impl<E> Edge<E> {
    /// The same edge with `fast_path`.
    pub fn with_fast_path<F: FastPath>(self, fast_path: F) -> Edge<E, F> {
        let Self { app, get_only, hosts, origin, access, observer, failures, stop, .. } = self;
        Edge { app, fast_path, get_only, hosts, origin, access, observer, failures, stop }
    }

    /// The same edge, which answers HEAD on these `paths` with 405. Every 405 on them allows GET only, unless the endpoint says otherwise.
    #[must_use]
    pub fn with_get_only(self, paths: &'static [&'static str]) -> Self {
        Self { get_only: paths, ..self }
    }
}

impl<E: Endpoint, F: FastPath> Edge<E, F> {
    /// The response to `request` from the fast path; `None` leaves the request to the framework. `peer` is its connection.
    pub(crate) fn fast_path<'a>(
        &'a self,
        request: &hyper::Request<Incoming>,
        peer: &Arc<Peer>,
    ) -> Option<impl Future<Output = Response> + use<'a, E, F>> {
        let (uri, headers) = (request.uri(), request.headers());
        let observer = self.observer.as_ref().filter(|observer| !observer.exports_spans())?;
        if !request.body().is_end_stream() {
            return None;
        }
        let head = Head { method: request.method(), uri, version: request.version(), headers };
        match admit(head, self.stop.begun(), &self.hosts) {
            Ok(Admitted::Plain) => {}
            Ok(Admitted::Other { .. }) | Err(_) => return None,
        }
        let caller = self.access.caller(headers, Some(peer)).ok()?;
        let answer = self.fast_path.answer(uri.path(), headers, &caller)?;
        let spent = caller.spend(1);
        let started = Instant::now();
        Some(async move {
            let mut response = match spent {
                Ok(()) => self.caught(answer).await.unwrap_or_else(Problem::into_response),
                Err(problem) => problem.into_response(),
            };
            self.finish(&mut response, GET_AND_HEAD, None);
            let route = Some(StringValue::from(F::ROUTE));
            observer.record(&Span::none(), &Method::GET, route, &response, started.elapsed());
            response
        })
    }
}

impl<E: Endpoint, F: FastPath> Endpoint for Edge<E, F> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let Some(observer) = &self.observer else {
            return Ok(self.answer(request).await);
        };
        let started = Instant::now();
        let method = request.method().clone();
        let span = observer.span(&method, request.headers());
        let response = self.answer(request).instrument(span.clone()).await;
        let pattern = response.data::<PathPattern>().map(|pattern| pattern.0.clone());
        let route = pattern.filter(|pattern| !pattern.is_empty()).map(StringValue::from);
        observer.record(&span, &method, route, &response, started.elapsed());
        Ok(response)
    }
}

impl<E: Endpoint, F: FastPath> Edge<E, F> {
    async fn answer(&self, mut request: Request) -> Response {
        let origin = request.headers().get(header::ORIGIN).cloned();
        let get_only = self.get_only.iter().find(|path| **path == request.uri().path());
        let refused = get_only.filter(|_| request.method() == Method::HEAD);
        if request.method() == Method::HEAD {
            // hyper remembers that it was HEAD: it sends the length of the body, and not the body.
            request.set_method(Method::GET);
            // Only a GET opens a WebSocket.
            request.headers_mut().remove(header::UPGRADE);
        }
        let peer = request.extensions().get::<Arc<Peer>>();
        let caller = self.access.caller(request.headers(), peer);
        let mut response = match self.admit(&request, peer, caller.as_ref().ok()) {
            Err(problem) => problem.into_response(),
            Ok(()) if cors::is_preflight(&request) => cors::preflight(),
            Ok(()) if let Some(path) = refused => {
                let mut response = failure::bad_method().into_response();
                response.set_data(PathPattern((*path).into()));
                response
            }
            Ok(()) => {
                request.extensions_mut().insert(caller);
                self.route(request).await
            }
        };
        let methods = if get_only.is_some() { "GET" } else { GET_AND_HEAD };
        self.finish(&mut response, methods, origin.as_ref());
        response
    }

    /// Admits `request` and charges it to its rate limits. A request without a valid token is charged to its connection.
    fn admit(
        &self,
        request: &Request,
        peer: Option<&Arc<Peer>>,
        caller: Option<&Caller>,
    ) -> Result<(), Problem> {
        let (method, uri, version) = (request.method(), request.uri(), request.version());
        let head = Head { method, uri, version, headers: request.headers() };
        match admit(head, self.stop.begun(), &self.hosts)? {
            Admitted::Plain => check_path(request.uri())?,
            Admitted::Other { .. } if caller.is_some_and(Caller::has_header_token) => {}
            Admitted::Other { host } => check_origin(request.headers(), host, &self.origin)?,
        }
        match caller {
            Some(caller) => caller.spend(1),
            None => peer.map_or(Ok(()), |peer| peer.spend(1)),
        }
    }

    async fn route(&self, request: Request) -> Response {
        let call = async { self.app.call(request).await };
        match self.caught(call).await {
            Ok(Ok(response)) => response.into_response(),
            Ok(Err(error)) => self.failures.response(error),
            Err(problem) => problem.into_response(),
        }
    }

    /// Adds the header fields that every response has. `methods` are those that the path takes, unless the endpoint has said so itself.
    fn finish(&self, response: &mut Response, methods: &'static str, origin: Option<&HeaderValue>) {
        let status = response.status();
        let headers = response.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if status == StatusCode::METHOD_NOT_ALLOWED && !headers.contains_key(header::ALLOW) {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        if self.stop.begun() && status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        cors::headers(&self.origin, origin, headers);
    }

    /// The result of `call`, or the problem to answer if it panics.
    async fn caught<T>(&self, call: impl Future<Output = T>) -> Result<T, Problem> {
        AssertUnwindSafe(call).catch_unwind().await.map_err(|panic| self.failures.panicked(panic.as_ref()))
    }
}
