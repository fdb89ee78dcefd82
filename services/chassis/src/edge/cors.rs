//! CORS headers, for the configured origins only.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Request, Response};

use super::origin::OriginRule;

/// The header fields that a page may send, beside those that need no preflight. A page that reads a stream by itself sends the fields that a
/// browser would send for it: `Last-Event-ID` and `Cache-Control`.
const ALLOWED_FIELDS: &str = "Authorization, If-None-Match, Last-Event-ID, Prefer, Cache-Control";

/// The header fields of a response that a page may read, beside those that it may read anyway.
const EXPOSED_FIELDS: &str = "ETag, Retry-After, Preference-Applied";

/// Whether `request` is a preflight: a browser asks what a page of another origin may send.
pub(crate) fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && request.headers().contains_key(header::ORIGIN)
}

/// The response to a preflight of an admitted origin.
pub(crate) fn preflight() -> Response {
    Response::builder()
        .status(StatusCode::NO_CONTENT)
        .header(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD")
        .header(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_FIELDS)
        .header(header::ACCESS_CONTROL_MAX_AGE, "600")
        .finish()
}

/// Lets a page of a configured origin read the response. `Vary` tells caches that the response depends on the origin.
pub(crate) fn headers(rule: &OriginRule, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    if rule.allowed.is_empty() {
        return;
    }
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin
        && origin.to_str().is_ok_and(|origin| rule.lists(origin))
    {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_FIELDS));
    }
}
