//! The one place that makes every HTTP response what the contract says, whatever the endpoint did.

mod cors;
mod failure;
pub mod fast_path;
mod observer;
pub mod origin;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use opentelemetry::StringValue;
use percent_encoding::percent_decode_str;
use poem::{Endpoint, IntoResponse as _, PathPattern, Request, Response, Result};
use tracing::{Instrument as _, Span};

use crate::access::{Access, Holder};
use crate::edge::cors;
use crate::edge::failure::{error_response, panicked};
use crate::edge::fast_path::{Express, Nothing};
use crate::edge::observer::Observer;
use crate::edge::origin::OriginRule;
use crate::peer::Line;
use crate::problem::{Code, Problem};
use crate::process::stop::Stop;
use crate::telemetry::Telemetry;

/// The longest request target, in bytes.
pub const URI_BYTES_MAX: usize = 16 * 1024;
/// All header names and values of a request together, in bytes.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Wraps the endpoint of the public port.
///
/// Its errors become `Problem`s; HEAD is GET without the body; a path or query that is not UTF-8, a page of another
/// origin, what is over a rate, and any request after `stop` began are refused before they are routed; a panic is a 500.
/// Endpoints learn from a [`Holder`] what the sender may do.
pub fn edge<E: Endpoint>(
    app: E,
    origin: OriginRule,
    access: Access,
    telemetry: &Telemetry,
    stop: Stop,
) -> Edge<E> {
    Edge { app, express: Nothing, origin, access, observer: Some(Observer::new(telemetry)), stop }
}

/// The same for the admin port: no page may use it, its requests are not counted, it answers during the drain.
pub(crate) fn admin_edge<E: Endpoint>(app: E) -> Edge<E> {
    let (origin, access) = (OriginRule::default(), Access::default());
    Edge { app, express: Nothing, origin, access, observer: None, stop: Stop::new() }
}

/// What a port serves: an app behind the edge. `X` answers plain requests before they reach the framework.
#[derive(Debug)]
pub struct Edge<E, X = Nothing> {
    app: E,
    express: X,
    origin: OriginRule,
    access: Access,
    observer: Option<Observer>,
    stop: Stop,
}

impl<E> Edge<E> {
    /// The same edge, where `express` answers what it can.
    pub fn with_express<X: Express>(self, express: X) -> Edge<E, X> {
        let Self { app, origin, access, observer, stop, .. } = self;
        Edge { app, express, origin, access, observer, stop }
    }
}

impl<E: Endpoint, X: Express> Edge<E, X> {
    /// The answer to `request` if it is one that needs no framework: plain enough that of what [`Edge::answer`]
    /// refuses only a path that is not UTF-8 is left, which no express answers. `line` is its connection.
    pub(crate) fn express<'a>(
        &'a self,
        request: &hyper::Request<Incoming>,
        line: &Arc<Line>,
    ) -> Option<impl Future<Output = Response> + use<'a, E, X>> {
        let (uri, headers) = (request.uri(), request.headers());
        let observer = self.observer.as_ref().filter(|observer| !observer.exports_spans())?;
        let is_plain = request.method() == Method::GET
            && uri.query().is_none()
            && uri.path().len() <= URI_BYTES_MAX
            && !headers.contains_key(header::ORIGIN)
            && header_bytes(headers) <= HEADER_BYTES_MAX
            && request.body().is_end_stream()
            && !self.stop.begun();
        if !is_plain {
            return None;
        }
        let Holder(grant) = self.access.holder(headers).ok()?;
        let answer = self.express.answer(uri.path(), headers, &grant, line)?;
        let spent = line.spend(1).and_then(|()| grant.spend(1));
        let started = Instant::now();
        Some(async move {
            let mut response = match spent {
                Ok(()) => caught(answer).await.unwrap_or_else(Problem::into_response),
                Err(problem) => problem.into_response(),
            };
            self.finish(&mut response, None);
            let route = Some(StringValue::from(X::ROUTE));
            let status = response.status().as_u16();
            observer.record(&Span::none(), &Method::GET, route, status, started.elapsed());
            response
        })
    }
}

impl<E: Endpoint, X: Express> Endpoint for Edge<E, X> {
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
        observer.record(&span, &method, route, response.status().as_u16(), started.elapsed());
        Ok(response)
    }
}

impl<E: Endpoint, X: Express> Edge<E, X> {
    async fn answer(&self, mut request: Request) -> Response {
        let origin = request.headers().get(header::ORIGIN).cloned();
        if request.method() == Method::HEAD {
            // hyper knows what was asked: it sends the length of this body, and not the body.
            request.set_method(Method::GET);
            // Only a GET opens a WebSocket.
            request.headers_mut().remove(header::UPGRADE);
        }
        let holder = self.access.holder(request.headers());
        let mut response = match self.admit(&request, origin.as_ref(), holder.as_ref().ok()) {
            Err(problem) => problem.into_response(),
            Ok(()) if cors::is_preflight(&request) => cors::preflight(),
            Ok(()) => {
                request.extensions_mut().insert(holder);
                self.route(request).await
            }
        };
        self.finish(&mut response, origin.as_ref());
        response
    }

    /// What can be refused without knowing the route.
    fn admit(
        &self,
        request: &Request,
        origin: Option<&HeaderValue>,
        holder: Option<&Holder>,
    ) -> Result<(), Problem> {
        let refuse = |code, message: &str| Err(Problem::new(code, message));
        let (uri, headers) = (request.uri(), request.headers());
        if self.stop.begun() {
            return refuse(Code::Stopping, "the service is stopping");
        }
        let target = uri.path().len() + uri.query().map_or(0, str::len);
        if target > URI_BYTES_MAX {
            let message =
                format!("the request target has {target} bytes, at most {URI_BYTES_MAX} are allowed");
            return Err(Problem::new(Code::UriTooLong, message));
        }
        if header_bytes(headers) > HEADER_BYTES_MAX {
            let message = format!("the header fields have more than {HEADER_BYTES_MAX} bytes");
            return Err(Problem::new(Code::HeadersTooLarge, message));
        }
        if !uri.path().starts_with('/') {
            // CONNECT and `OPTIONS *` name no path; the router cannot take them.
            return refuse(Code::BadMethod, "this method is not supported");
        }
        if !is_utf8(uri.path()) {
            return refuse(Code::BadPath, "the path is not valid UTF-8");
        }
        if !uri.query().is_none_or(is_utf8) {
            return refuse(Code::BadParameter, "the query is not valid UTF-8");
        }
        // A value that is not text is no listed origin either.
        let text = |value: &'_ HeaderValue| value.to_str().unwrap_or_default().to_owned();
        if let Some(origin) = origin.map(text) {
            let host = headers.get(header::HOST).map(text);
            self.origin.check(Some(&origin), host.as_deref())?;
        }
        if let Some(line) = request.extensions().get::<Arc<Line>>() {
            line.spend(1)?;
        }
        holder.map_or(Ok(()), |Holder(grant)| grant.spend(1))
    }

    async fn route(&self, request: Request) -> Response {
        let call = async { self.app.call(request).await };
        match caught(call).await {
            Ok(Ok(response)) => response.into_response(),
            Ok(Err(error)) => error_response(error),
            Err(problem) => problem.into_response(),
        }
    }

    fn finish(&self, response: &mut Response, origin: Option<&HeaderValue>) {
        let status = response.status();
        let headers = response.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if status == StatusCode::METHOD_NOT_ALLOWED && !headers.contains_key(header::ALLOW) {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if self.stop.begun() && status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        cors::headers(&self.origin, origin, headers);
    }
}

/// What `call` answers, unless it panics.
async fn caught<T>(call: impl Future<Output = T>) -> Result<T, Problem> {
    AssertUnwindSafe(call).catch_unwind().await.map_err(|panic| panicked(panic.as_ref()))
}

/// Percent-decodes to UTF-8. What is not encoded is UTF-8 already: hyper checked.
fn is_utf8(text: &str) -> bool {
    !text.contains('%') || percent_decode_str(text).decode_utf8().is_ok()
}

fn header_bytes(headers: &HeaderMap) -> usize {
    let bytes = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    headers.iter().map(bytes).sum()
}
