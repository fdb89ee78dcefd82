//! Telemetry of each HTTP request: its duration always, a span if spans are exported.

use std::time::Duration;

use http::{HeaderMap, Method};
use opentelemetry::metrics::Histogram;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{KeyValue, StringValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use poem::Response;
use tracing::{Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::telemetry::Telemetry;

/// Bucket boundaries. Most requests take less than a millisecond: the usual boundaries would put them all in one bucket.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// A mark that an endpoint sets as data of a response. The histogram of durations leaves this response out; its span stays. It is for
/// streams, and for responses that waited because their clients wished so.
#[derive(Debug, Clone, Copy)]
pub struct Unmeasured;

/// The instruments of one HTTP port.
#[derive(Debug)]
pub(crate) struct Observer {
    duration: Histogram<f64>,
    spans: bool,
}

impl Observer {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        let duration = telemetry
            .meter()
            .f64_histogram("http.server.request.duration")
            .with_description("Time from the head of a request to the head of its response, by route pattern")
            .with_unit("s")
            .with_boundaries(SECONDS.to_vec())
            .build();
        Self { duration, spans: telemetry.exports_spans() }
    }

    pub(crate) fn exports_spans(&self) -> bool {
        self.spans
    }

    /// The span of a request, as a child of the span that the client sent, if it sent one.
    pub(crate) fn span(&self, method: &Method, headers: &HeaderMap) -> Span {
        if !self.spans {
            return Span::none();
        }
        let span = tracing::info_span!(
            "request",
            otel.kind = "server",
            http.request.method = known(method),
            http.route = field::Empty,
            http.response.status_code = field::Empty,
        );
        let parent = TraceContextPropagator::new().extract(&Headers(headers));
        // It fails only if no layer exports the span.
        let _ = span.set_parent(parent);
        span
    }

    /// Records a response: in its span, and in the histogram unless it is [`Unmeasured`]. `route` is the pattern, never the path: a path
    /// contains a key.
    pub(crate) fn record(
        &self,
        span: &Span,
        method: &Method,
        route: Option<StringValue>,
        response: &Response,
        took: Duration,
    ) {
        let (method, status) = (known(method), i64::from(response.status().as_u16()));
        if !span.is_none() {
            let name = route.as_ref().map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
            // The span has begun: setting its `otel.name` field would have no effect.
            span.context().span().update_name(name);
            span.record("http.route", route.as_ref().map(StringValue::as_str));
            // Signed, because the span exporter writes unsigned numbers as text.
            span.record("http.response.status_code", status);
        }
        if response.data::<Unmeasured>().is_some() {
            return;
        }
        let method = KeyValue::new("http.request.method", method);
        let status = KeyValue::new("http.response.status_code", status);
        let seconds = took.as_secs_f64();
        if let Some(route) = route {
            let route = KeyValue::new("http.route", route);
            self.duration.record(seconds, &[method, status, route]);
        } else {
            self.duration.record(seconds, &[method, status]);
        }
    }
}

/// The label of a method. A client may invent methods, so unknown ones share one label.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
