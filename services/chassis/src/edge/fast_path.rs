//! The fast path: answers the plain requests that are most of the load without the framework.
//!
//! Routing, extracting and boxing take two fifths of the instructions of a small GET. The framework still defines what every
//! request means: a [`FastPath`] answers exactly as the framework would, or leaves the request to it.

use std::future::Ready;

use http::HeaderMap;
use poem::Response;

use crate::access::Caller;

/// Answers plain GETs: admitted, without a query, a body or an `Origin`.
pub trait FastPath: Send + Sync + 'static {
    /// The pattern of the paths that it answers, as telemetry names it.
    const ROUTE: &'static str;

    /// The response, to be awaited. `None` leaves the request to the framework. The result must be `None` if `caller` may not
    /// make the request. `path` is percent-encoded UTF-8. Only the future may panic.
    fn answer<'a>(
        &'a self,
        path: &str,
        headers: &HeaderMap,
        caller: &Caller,
    ) -> Option<impl Future<Output = Response> + Send + use<'a, Self>>;
}

/// A fast path that leaves every request to the framework.
#[derive(Debug, Clone, Copy)]
pub struct NoFastPath;

impl FastPath for NoFastPath {
    const ROUTE: &'static str = "";

    fn answer<'a>(
        &'a self,
        _: &str,
        _: &HeaderMap,
        _: &Caller,
    ) -> Option<impl Future<Output = Response> + Send + use<'a>> {
        None::<Ready<Response>>
    }
}
