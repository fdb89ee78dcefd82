//! Every reply of the operations: when it is sent, and its status, headers and body.

use bytes::Bytes;
use chassis::edge::Unmeasured;
use chassis::problem::Problem;
use db::Rev;
use poem::http::{HeaderValue, header};
use poem::{Body, IntoResponse, Response};
use poem_openapi::ApiResponse;

use crate::export::ExportStream;
use crate::watch::{WaitPreference, WatchStream};

pub(crate) const JSON: &str = "application/json; charset=utf-8";
pub(crate) const EVENTS: &str = "text/event-stream";
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// The replies to `GET /storage/{key}`.
#[derive(ApiResponse)]
pub(crate) enum EntryReply {
    /// The key has this value. The `ETag` is its revision.
    #[oai(
        status = 200,
        header(name = "ETag", ty = "String", description = "The revision, in quotes: `\"1043\"`"),
        header(
            name = "Cache-Control",
            ty = "String",
            description = "`no-cache`: revalidate before each use"
        )
    )]
    Found(
        EntryBody,
        /// `wait=N`, where the request had to wait
        #[oai(header = "Preference-Applied")]
        Option<String>,
    ),
    /// The client already has the current revision, as `If-None-Match` says.
    #[oai(status = 304)]
    NotModified(
        /// The revision, in quotes: `"1043"`
        #[oai(header = "ETag")]
        String,
        /// `no-cache`: revalidate before each use
        #[oai(header = "Cache-Control")]
        String,
        /// `wait=N`, where the request had to wait
        #[oai(header = "Preference-Applied")]
        Option<String>,
    ),
    /// The key has no value.
    #[oai(status = 404, header(name = "Cache-Control", ty = "String", description = "`no-store`"))]
    Missing(
        MissingBody,
        /// `wait=N`, where the request had to wait
        #[oai(header = "Preference-Applied")]
        Option<String>,
    ),
}

impl EntryReply {
    /// The same reply with the header `Preference-Applied`.
    pub(crate) fn applied(self, preference: WaitPreference) -> Self {
        let applied = Some(preference.applied());
        match self {
            Self::Found(body, _) => Self::Found(body, applied),
            Self::NotModified(tag, cache_control, _) => Self::NotModified(tag, cache_control, applied),
            Self::Missing(body, _) => Self::Missing(body, applied),
        }
    }
}

/// The replies to `GET /storage`, for several keys or for a list.
#[derive(ApiResponse)]
pub(crate) enum EntriesReply {
    /// With `key`: the entries of the keys that have a value, and the keys that have none, each in the order of the request, all
    /// read by one SELECT. Without `key`: a page of the list, as the store was at one instant.
    #[oai(
        status = 200,
        header(
            name = "Cache-Control",
            ty = "String",
            description = "`no-cache`: revalidate before each use"
        )
    )]
    Found(EntriesBody),
}

/// The replies to `GET /export`.
#[derive(ApiResponse)]
pub(crate) enum ExportReply {
    /// One `Line` for each entry, which is a write message. The export is complete only if the body is.
    #[oai(status = 200, header(name = "Cache-Control", ty = "String", description = "`no-store`"))]
    Begun(ExportBody),
}

/// The replies to `GET /watch`.
#[derive(ApiResponse)]
pub(crate) enum WatchReply {
    /// The stream of events. It has no end of its own.
    #[oai(
        status = 200,
        header(name = "Cache-Control", ty = "String", description = "`no-store`"),
        header(
            name = "X-Accel-Buffering",
            ty = "String",
            description = "`no`: proxies pass events on at once"
        )
    )]
    Begun(WatchBody),
    /// `watch_off`: the log of changes is switched off.
    #[oai(status = 501)]
    Off(ProblemBody<501>),
}

/// The error replies to any request.
#[derive(ApiResponse)]
pub(crate) enum ProblemReply {
    /// `bad_path`: the percent-decoded path is not valid UTF-8. `bad_host`: the request has no valid Host, or more than one.
    #[oai(status = 400)]
    BadPath(ProblemBody<400>),
    /// `unauthenticated`: a token is needed, and the request has none or an unknown one.
    #[oai(status = 401, header(name = "WWW-Authenticate", ty = "String", description = "`Bearer`"))]
    Unauthenticated(ProblemBody<401>),
    /// `forbidden`: the token does not grant all of the request, or the origin of the page is not allowed. Without tokens also: the
    /// Host is a name with a dot that is not in `PUBLIC_HOSTS`.
    #[oai(status = 403)]
    Forbidden(ProblemBody<403>),
    /// `timeout`: the request took too long to arrive.
    #[oai(status = 408)]
    Timeout(ProblemBody<408>),
    /// `too_large`: a key is longer than its limit, or the values of a get or a list have more than 16 MiB. The message names the limit and
    /// the size.
    #[oai(status = 413)]
    TooLarge(ProblemBody<413>),
    /// `uri_too_long`: the request target (path and query) has more than 16 KiB.
    #[oai(status = 414)]
    UriTooLong(ProblemBody<414>),
    /// `bad_parameter`: a parameter is unknown, malformed, repeated, not valid UTF-8, or combined with one that excludes it.
    /// `bad_key`: a key is empty. Lists only, `bad_cursor`: `after` is not the `next` of a page with the same prefix.
    #[oai(status = 422)]
    BadParameter(ProblemBody<422>),
    /// `headers_too_large`: the header fields are larger than their limit.
    #[oai(status = 431)]
    HeadersTooLarge(ProblemBody<431>),
    /// `slow_down`: this connection or this token exceeds its rate limit.
    #[oai(
        status = 429,
        header(name = "Retry-After", ty = "String", description = "Seconds to wait before trying again")
    )]
    SlowDown(ProblemBody<429>),
    /// `internal`: a bug of this service, or a damaged row in the database: its message names the key, and that of a list says how to
    /// continue after the row.
    #[oai(status = 500)]
    Internal(ProblemBody<500>),
    /// `unavailable`: the database cannot be reached, or a watch is asked for while a writer logs no changes. `overloaded`: more gets or
    /// lists are waiting than can be answered in time, or too many exports or watches are running. `stopping`: this process is stopping.
    /// The same request may succeed later.
    #[oai(
        status = 503,
        header(name = "Retry-After", ty = "String", description = "Seconds to wait before trying again")
    )]
    Unavailable(ProblemBody<503>),
}

/// The JSON of one entry. Dropping it gives its bytes back to the backlog.
pub(crate) struct EntryBody {
    pub(crate) rev: Rev,
    pub(crate) json: Bytes,
}

/// The JSON of several entries or of a page.
pub(crate) struct EntriesBody(pub(crate) Bytes);

/// The lines of an export.
pub(crate) struct ExportBody(pub(crate) ExportStream);

/// The events of a watch.
pub(crate) struct WatchBody(pub(crate) WatchStream);

/// The JSON of the 404 for a key without a value.
pub(crate) struct MissingBody(pub(crate) Vec<u8>);

/// The JSON of a problem with this status.
pub(crate) struct ProblemBody<const STATUS: u16>(Problem);

/// `"1043"`
pub(crate) fn quoted(rev: Rev) -> String {
    ["\"", itoa::Buffer::new().format(rev.0), "\""].concat()
}

fn json(body: impl Into<Body>, cache_control: &'static str) -> Response {
    response(body, JSON, cache_control)
}

fn response(body: impl Into<Body>, kind: &'static str, cache_control: &'static str) -> Response {
    let mut response = Response::default();
    response.set_body(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache_control));
    response
}

impl IntoResponse for EntryBody {
    fn into_response(self) -> Response {
        let mut response = json(self.json, "no-cache");
        let tag = HeaderValue::try_from(quoted(self.rev)).expect("digits and quotes are a header value");
        response.headers_mut().insert(header::ETAG, tag);
        response
    }
}

impl IntoResponse for EntriesBody {
    fn into_response(self) -> Response {
        json(self.0, "no-cache")
    }
}

impl IntoResponse for ExportBody {
    fn into_response(self) -> Response {
        response(self.0.into_body(), NDJSON, "no-store")
    }
}

impl IntoResponse for WatchBody {
    fn into_response(self) -> Response {
        let mut response = response(self.0.into_body(), EVENTS, "no-store");
        response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
        response.set_data(Unmeasured);
        response
    }
}

impl From<Problem> for ProblemBody<501> {
    fn from(problem: Problem) -> Self {
        assert_eq!(problem.code.status(), 501, "the status of the reply is that of its problem");
        Self(problem)
    }
}

impl IntoResponse for MissingBody {
    fn into_response(self) -> Response {
        json(self.0, "no-store")
    }
}

impl<const STATUS: u16> IntoResponse for ProblemBody<STATUS> {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl From<Problem> for ProblemReply {
    fn from(problem: Problem) -> Self {
        match problem.code.status() {
            400 => Self::BadPath(ProblemBody(problem)),
            401 => Self::Unauthenticated(ProblemBody(problem)),
            403 => Self::Forbidden(ProblemBody(problem)),
            408 => Self::Timeout(ProblemBody(problem)),
            413 => Self::TooLarge(ProblemBody(problem)),
            414 => Self::UriTooLong(ProblemBody(problem)),
            422 => Self::BadParameter(ProblemBody(problem)),
            429 => Self::SlowDown(ProblemBody(problem)),
            431 => Self::HeadersTooLarge(ProblemBody(problem)),
            503 => Self::Unavailable(ProblemBody(problem)),
            _ => Self::Internal(ProblemBody(problem)),
        }
    }
}
