//! Every reply of the read side: when it is given, and as it is sent.

use bytes::Bytes;
use chassis::problem::Problem;
use db::Rev;
use poem::http::{HeaderValue, header};
use poem::{Body, IntoResponse, Response};
use poem_openapi::ApiResponse;

use crate::export::Lines;

pub(crate) const JSON: &str = "application/json; charset=utf-8";
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// What `GET /storage/{key}` answers.
#[derive(ApiResponse)]
pub(crate) enum EntryReply {
    /// The key has this value. The revision is the `ETag`.
    #[oai(
        status = 200,
        header(name = "ETag", ty = "String", description = "The revision, in quotes: `\"1043\"`"),
        header(
            name = "Cache-Control",
            ty = "String",
            description = "`no-cache`: to be revalidated before each use"
        )
    )]
    Found(EntryBody),
    /// The client has the current version already (`If-None-Match`).
    #[oai(status = 304)]
    NotModified(
        /// The revision, in quotes: `"1043"`
        #[oai(header = "ETag")]
        String,
        /// `no-cache`: to be revalidated before each use
        #[oai(header = "Cache-Control")]
        String,
    ),
    /// The key has no value.
    #[oai(status = 404, header(name = "Cache-Control", ty = "String", description = "`no-store`"))]
    Missing(MissingBody),
}

/// What `GET /storage` answers, by name or as a list.
#[derive(ApiResponse)]
pub(crate) enum EntriesReply {
    /// With `key`: the entries of the keys that have a value, in the order asked, and the keys that have none, as one SELECT
    /// saw them. Otherwise: a page of the list, as the store was at one instant.
    #[oai(
        status = 200,
        header(
            name = "Cache-Control",
            ty = "String",
            description = "`no-cache`: to be revalidated before each use"
        )
    )]
    Found(EntriesBody),
}

/// What `GET /export` answers.
#[derive(ApiResponse)]
pub(crate) enum ExportReply {
    /// One line for each entry, each a write; complete only if the body is.
    #[oai(status = 200, header(name = "Cache-Control", ty = "String", description = "`no-store`"))]
    Begun(ExportBody),
}

/// What any request may be answered instead.
#[derive(ApiResponse)]
pub(crate) enum Refused {
    /// `bad_path`: the path is not valid UTF-8 once it is percent-decoded.
    #[oai(status = 400)]
    BadPath(ProblemBody<400>),
    /// `unauthenticated`: a token is needed, and there is none or one that is not known.
    #[oai(status = 401, header(name = "WWW-Authenticate", ty = "String", description = "`Bearer`"))]
    Unauthenticated(ProblemBody<401>),
    /// `forbidden`: the token does not grant all that was asked for, or a page of an origin that is not allowed asked.
    #[oai(status = 403)]
    Forbidden(ProblemBody<403>),
    /// `timeout`: the request took too long to arrive.
    #[oai(status = 408)]
    Timeout(ProblemBody<408>),
    /// `too_large`: a key over its limit, or more than 16 MiB of values. The message names the limit and the size.
    #[oai(status = 413)]
    TooLarge(ProblemBody<413>),
    /// `uri_too_long`: the request target is over its limit.
    #[oai(status = 414)]
    UriTooLong(ProblemBody<414>),
    /// `bad_parameter`: a parameter is malformed, given twice or together with one it does not go with, or not valid UTF-8;
    /// `bad_key`: an empty key; `bad_cursor`: `after` is not the `next` of a page with this prefix.
    #[oai(status = 422)]
    BadParameter(ProblemBody<422>),
    /// `headers_too_large`: the header fields are over their limit.
    #[oai(status = 431)]
    HeadersTooLarge(ProblemBody<431>),
    /// `slow_down`: more requests than this connection or this token may send in a second.
    #[oai(
        status = 429,
        header(name = "Retry-After", ty = "String", description = "Seconds to wait before trying again")
    )]
    SlowDown(ProblemBody<429>),
    /// `internal`: a bug of this service.
    #[oai(status = 500)]
    Internal(ProblemBody<500>),
    /// `unavailable`: the database cannot be reached; `overloaded`: more is asked than can be answered in time, or as many
    /// exports as are allowed are under way; `stopping`: this process is ending. All may work when tried again.
    #[oai(
        status = 503,
        header(name = "Retry-After", ty = "String", description = "Seconds to wait before trying again")
    )]
    Unavailable(ProblemBody<503>),
}

/// The JSON of one entry. What it weighs in the backlog is given back when it is dropped.
pub(crate) struct EntryBody {
    pub(crate) rev: Rev,
    pub(crate) json: Bytes,
}

/// The JSON of several entries, asked by name or as a page.
pub(crate) struct EntriesBody(pub(crate) Bytes);

/// The lines of an export, as they come.
pub(crate) struct ExportBody(pub(crate) Lines);

/// The JSON that says that a key has no value.
pub(crate) struct MissingBody(pub(crate) Vec<u8>);

/// The JSON of a problem with this status.
pub(crate) struct ProblemBody<const STATUS: u16>(Problem);

/// `"1043"`
pub(crate) fn quoted(rev: Rev) -> String {
    ["\"", itoa::Buffer::new().format(rev.0), "\""].concat()
}

/// A 200 or 404 with this JSON.
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

impl From<Problem> for Refused {
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
