//! The schema of every body in the specification, with an example.
//!
//! Integers are signed, because generators know only the formats `int32` and `int64`. They would use 32 bits for `uint64`.

use std::borrow::Cow;

use chassis::problem::Code;
use poem_openapi::Object;
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{Example, ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use serde_json::Value;

use crate::cursor;
use crate::http::reply::{
    EVENTS, EntriesBody, EntryBody, ExportBody, JSON, MissingBody, NDJSON, ProblemBody, WatchBody,
};

/// An entry
#[derive(Object)]
#[oai(rename = "Entry", example)]
struct EntrySchema {
    /// The key as requested
    key: String,
    /// Its value
    value: String,
    /// Always empty
    message: String,
    /// Always 200
    status: i32,
}

/// The 404 for a key without a value
#[derive(Object)]
#[oai(rename = "Missing", example)]
struct MissingSchema {
    /// `No value found for key ` and the key
    message: String,
    /// Always 404
    status: i32,
}

/// Several entries
#[derive(Object)]
#[oai(rename = "Entries", example)]
struct EntriesSchema {
    /// The keys that have a value, in the order of the request
    items: Vec<ItemSchema>,
    /// The keys that have no value, in the order of the request
    missing: Vec<String>,
    /// Always empty
    message: String,
    /// Always 200
    status: i32,
}

/// One of several entries
#[derive(Object)]
#[oai(rename = "Item")]
struct ItemSchema {
    /// The key
    key: String,
    /// Its value
    value: String,
    /// Its revision, which grows with every write of the key
    rev: i64,
}

/// An item of a page
#[derive(Object)]
#[oai(rename = "PageItem")]
struct PageItemSchema {
    /// The key
    key: String,
    /// Its value. Absent with `values=false`
    value: Option<String>,
    /// Its revision, which grows with every write of the key
    rev: i64,
}

/// An error
#[derive(Object)]
#[oai(rename = "Problem")]
struct ProblemSchema {
    /// A sentence for humans
    message: String,
    /// The HTTP status
    status: i32,
    /// The kind of problem, for programs. Codes never change
    code: String,
}

/// A page of a list
#[derive(Object)]
#[oai(rename = "Page", example)]
struct PageSchema {
    /// The entries of the page, in byte order of their keys. There may be none
    items: Vec<PageItemSchema>,
    /// The cursor to send as `after` of the next request. Null on the last page
    next: Next,
    /// Always empty
    message: String,
    /// Always 200
    status: i32,
}

/// A line of an export, which is a write message
#[derive(Object)]
#[oai(rename = "Line", example)]
struct LineSchema {
    /// The key
    key: String,
    /// Its value
    value: String,
    /// When the entry expires, in microseconds since 1970-01-01 UTC. Absent if it does not expire
    expires_at: Option<i64>,
}

/// A member that is always present and may be null.
struct Next(Option<String>);

impl Type for Next {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "next".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema { nullable: true, ..MetaSchema::new("string") }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ToJSON for Next {
    fn to_json(&self) -> Option<Value> {
        Some(self.0.as_deref().into())
    }
}

impl ParseFromJSON for Next {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        Option::parse_from_json(value).map(Self).map_err(ParseError::propagate)
    }
}

/// Gives a body its content type and its schema.
macro_rules! documented {
    ($($body:ty as $schema:ty, $kind:expr;)*) => {
        $(impl Payload for $body {
            const CONTENT_TYPE: &'static str = $kind;

            fn schema_ref() -> MetaSchemaRef {
                <$schema as Type>::schema_ref()
            }

            fn register(registry: &mut Registry) {
                <$schema as Type>::register(registry);
            }
        })*
    };
}

documented! {
    EntryBody as EntrySchema, JSON;
    MissingBody as MissingSchema, JSON;
}

impl Payload for ExportBody {
    const CONTENT_TYPE: &'static str = NDJSON;

    /// The schema is bytes. With the schema of a line, generated clients would parse the whole body as one line.
    fn schema_ref() -> MetaSchemaRef {
        let example = LineSchema::example().to_json().map(|line| format!("{line}\n").into());
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            example,
            ..MetaSchema::new_with_format("string", "binary")
        }))
    }

    fn register(registry: &mut Registry) {
        LineSchema::register(registry);
    }
}

impl Payload for WatchBody {
    const CONTENT_TYPE: &'static str = EVENTS;

    fn schema_ref() -> MetaSchemaRef {
        let example = "event: put\ndata: {\"key\":\"hello\",\"value\":\"world\",\"rev\":12}\n\n";
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            example: Some(example.into()),
            ..MetaSchema::new_with_format("string", "binary")
        }))
    }

    fn register(_registry: &mut Registry) {}
}

impl Payload for EntriesBody {
    const CONTENT_TYPE: &'static str = JSON;

    fn schema_ref() -> MetaSchemaRef {
        let one_of = vec![EntriesSchema::schema_ref(), PageSchema::schema_ref()];
        let example = PageSchema::example().to_json();
        MetaSchemaRef::Inline(Box::new(MetaSchema { one_of, example, ..MetaSchema::ANY }))
    }

    fn register(registry: &mut Registry) {
        EntriesSchema::register(registry);
        PageSchema::register(registry);
    }
}

impl<const STATUS: u16> Payload for ProblemBody<STATUS> {
    const CONTENT_TYPE: &'static str = JSON;

    fn schema_ref() -> MetaSchemaRef {
        let (code, message) = example(STATUS);
        let (status, code, message) = (code.status().into(), code.as_str().to_owned(), message.to_owned());
        let example = ProblemSchema { message, status, code }.to_json();
        let all_of = vec![ProblemSchema::schema_ref()];
        MetaSchemaRef::Inline(Box::new(MetaSchema { all_of, example, ..MetaSchema::ANY }))
    }

    fn register(registry: &mut Registry) {
        ProblemSchema::register(registry);
    }
}

/// An example of a problem with this status.
fn example(status: u16) -> (Code, &'static str) {
    match status {
        400 => (Code::BadPath, "the path is not valid UTF-8"),
        401 => (Code::Unauthenticated, "this token is not known"),
        403 => (Code::Forbidden, "this token may not read here"),
        408 => (Code::Timeout, "the request took too long to arrive"),
        413 => (Code::TooLarge, "key has 513 bytes; at most 512 are allowed"),
        414 => (Code::UriTooLong, "the request target has 20000 bytes, at most 16384 are allowed"),
        422 => (Code::BadParameter, "limit must be a whole number from 1 to 1000"),
        429 => (Code::SlowDown, "more than 100 ops a second for this token; nothing was done"),
        431 => (Code::HeadersTooLarge, "the header fields have more than 16384 bytes"),
        501 => {
            (Code::WatchOff, "changes are not logged, so they cannot be watched: CHANGES_RETENTION_S is 0")
        }
        503 => (Code::Unavailable, "the database cannot be reached"),
        _ => (Code::Internal, "internal error"),
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

impl Example for PageSchema {
    fn example() -> Self {
        let item = PageItemSchema { key: "user/1".into(), value: Some("x".into()), rev: 12 };
        let next = Next(Some(cursor::encode("user/", "user/1")));
        Self { items: vec![item], next, message: String::new(), status: 200 }
    }
}

impl Example for LineSchema {
    fn example() -> Self {
        Self { key: "hello".into(), value: "world".into(), expires_at: Some(1_795_517_777_251_129) }
    }
}
