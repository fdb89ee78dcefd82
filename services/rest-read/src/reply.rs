//! Every reply of the read side, as it is sent and as the specification documents it.

use bytes::Bytes;
use chassis::problem::{Code, Problem};
use db::Rev;
use poem::http::{HeaderValue, header};
use poem::{IntoResponse, Response};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{Example, ToJSON, Type};
use poem_openapi::{ApiResponse, Object};

const JSON: &str = "application/json; charset=utf-8";

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

/// What `GET /storage?key=a&key=b` answers.
#[derive(ApiResponse)]
pub(crate) enum EntriesReply {
    /// The entries of the keys that have a value, in the order asked, and the keys that have none. All of them as
    /// one SELECT saw them.
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

/// What any request may be answered instead.
#[derive(ApiResponse)]
pub(crate) enum Refused {
    /// `bad_path`: the path is not valid UTF-8 once it is percent-decoded.
    #[oai(status = 400)]
    BadPath(ProblemBody<400>),
    /// `forbidden`: a page of an origin that is not allowed asked.
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
    /// `bad_parameter`: a parameter is missing, not supported or not valid UTF-8; `bad_key`: an empty key.
    #[oai(status = 422)]
    BadParameter(ProblemBody<422>),
    /// `headers_too_large`: the header fields are over their limit.
    #[oai(status = 431)]
    HeadersTooLarge(ProblemBody<431>),
    /// `internal`: a bug of this service.
    #[oai(status = 500)]
    Internal(ProblemBody<500>),
    /// `unavailable`: the database cannot be reached; `overloaded`: more gets are waiting than can be answered in
    /// time; `stopping`: this process is ending. All may work when tried again.
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

/// The JSON of several entries.
pub(crate) struct EntriesBody(pub(crate) Bytes);

/// The JSON that says that a key has no value.
pub(crate) struct MissingBody(pub(crate) Vec<u8>);

/// The JSON of a problem with this status.
pub(crate) struct ProblemBody<const STATUS: u16>(Problem);

/// An entry
#[derive(Object)]
#[oai(rename = "Entry", example)]
struct EntrySchema {
    /// The key as it was asked
    key: String,
    /// Its value
    value: String,
    /// Always empty
    message: String,
    /// Always 200
    status: u16,
}

/// The 404 of a key that has no value
#[derive(Object)]
#[oai(rename = "Missing", example)]
struct MissingSchema {
    /// `No value found for key ` and the key
    message: String,
    /// Always 404
    status: u16,
}

/// Several entries
#[derive(Object)]
#[oai(rename = "Entries", example)]
struct EntriesSchema {
    /// The keys that have a value, in the order asked
    items: Vec<ItemSchema>,
    /// The keys that have none, in the order asked
    missing: Vec<String>,
    /// Always empty
    message: String,
    /// Always 200
    status: u16,
}

/// One of several entries
#[derive(Object)]
#[oai(rename = "Item")]
struct ItemSchema {
    /// The key as it was asked
    key: String,
    /// Its value
    value: String,
    /// Its revision: grows with every write of the key
    rev: u64,
}

/// Why a request was not answered as asked
#[derive(Object)]
#[oai(rename = "Problem")]
struct ProblemSchema {
    /// A sentence for humans
    message: String,
    /// The HTTP status
    status: u16,
    /// What kind of problem it is, for programs; these never change
    code: String,
}

/// `"1043"`
pub(crate) fn quoted(rev: Rev) -> String {
    ["\"", itoa::Buffer::new().format(rev.0), "\""].concat()
}

/// A 200 or 404 with this JSON.
fn json(body: impl Into<poem::Body>, cache_control: &'static str) -> Response {
    let mut response = Response::default();
    response.set_body(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
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

macro_rules! documented {
    ($($body:ty as $schema:ty),*) => {
        $(impl Payload for $body {
            const CONTENT_TYPE: &'static str = JSON;

            fn schema_ref() -> MetaSchemaRef {
                <$schema as Type>::schema_ref()
            }

            fn register(registry: &mut Registry) {
                <$schema as Type>::register(registry);
            }
        })*
    };
}

documented!(EntryBody as EntrySchema, MissingBody as MissingSchema, EntriesBody as EntriesSchema);

impl<const STATUS: u16> Payload for ProblemBody<STATUS> {
    const CONTENT_TYPE: &'static str = JSON;

    fn schema_ref() -> MetaSchemaRef {
        let (code, message) = example(STATUS);
        let (status, code, message) = (code.status(), code.as_str().to_owned(), message.to_owned());
        let example = ProblemSchema { message, status, code }.to_json();
        let all_of = vec![ProblemSchema::schema_ref()];
        MetaSchemaRef::Inline(Box::new(MetaSchema { all_of, example, ..MetaSchema::ANY }))
    }

    fn register(registry: &mut Registry) {
        ProblemSchema::register(registry);
    }
}

/// A problem of this status, for the specification.
fn example(status: u16) -> (Code, &'static str) {
    match status {
        400 => (Code::BadPath, "the path is not valid UTF-8"),
        403 => (Code::Forbidden, "origin https://example.org is not allowed"),
        408 => (Code::Timeout, "the request took too long to arrive"),
        413 => (Code::TooLarge, "key has 513 bytes, at most 512 are allowed"),
        414 => (Code::UriTooLong, "the request target has 20000 bytes, at most 16384 are allowed"),
        422 => (Code::BadParameter, "no key was asked for: name each as ?key=a&key=b"),
        431 => (Code::HeadersTooLarge, "the header fields have more than 16384 bytes"),
        503 => (Code::Unavailable, "the database cannot be reached"),
        _ => (Code::Internal, "internal error"),
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        match problem.code.status() {
            400 => Self::BadPath(ProblemBody(problem)),
            403 => Self::Forbidden(ProblemBody(problem)),
            408 => Self::Timeout(ProblemBody(problem)),
            413 => Self::TooLarge(ProblemBody(problem)),
            414 => Self::UriTooLong(ProblemBody(problem)),
            422 => Self::BadParameter(ProblemBody(problem)),
            431 => Self::HeadersTooLarge(ProblemBody(problem)),
            503 => Self::Unavailable(ProblemBody(problem)),
            _ => Self::Internal(ProblemBody(problem)),
        }
    }
}

impl Example for EntrySchema {
    fn example() -> Self {
        Self { key: "hello".into(), value: "world".into(), message: String::new(), status: 200 }
    }
}

impl Example for MissingSchema {
    fn example() -> Self {
        Self { message: "No value found for key hello".into(), status: 404 }
    }
}

impl Example for EntriesSchema {
    fn example() -> Self {
        let a = ItemSchema { key: "a".into(), value: "x".into(), rev: 12 };
        Self { items: vec![a], missing: vec!["b/c".into()], message: String::new(), status: 200 }
    }
}
