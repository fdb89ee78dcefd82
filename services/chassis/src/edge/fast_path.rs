//! The way around the framework, for the plain requests that are most of the load.
//!
//! Routing, extracting and boxing take two fifths of the instructions of a small GET. The framework still defines what
//! every request means: an [`Express`] answers as it would, or leaves the request to it.

use std::future::Ready;
use std::sync::Arc;

use http::HeaderMap;
use poem::Response;

use crate::access::Grant;
use crate::peer::Line;

/// Answers plain GETs: without a query, a body or an `Origin`, within the limits of the edge.
pub trait Express: Send + Sync + 'static {
    /// The pattern of the paths it answers, as telemetry names it.
    const ROUTE: &'static str;

    /// The answer, to be awaited; `None` = the framework is to answer. `path` is as it was sent: percent-encoded, and
    /// left to the framework if that is not UTF-8, because who decodes a path need not do it twice. What `grant` does not
    /// allow is left to it too. `line` is where the answer goes. Only the future may panic.
    fn answer<'a>(
        &'a self,
        path: &str,
        headers: &HeaderMap,
        grant: &Grant,
        line: &Arc<Line>,
    ) -> Option<impl Future<Output = Response> + Send + use<'a, Self>>;
}

/// Leaves everything to the framework.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl Express for Nothing {
    const ROUTE: &'static str = "";

    fn answer<'a>(
        &'a self,
        _: &str,
        _: &HeaderMap,
        _: &Grant,
        _: &Arc<Line>,
    ) -> Option<impl Future<Output = Response> + Send + use<'a>> {
        None::<Ready<Response>>
    }
}
