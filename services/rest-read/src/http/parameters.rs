//! The parameters of the operations: their schemas in the specification, and how they are read from a request.

mod header;
mod once;

use std::borrow::Cow;

use chassis::problem::{Code, Problem};
use db::{Key, KeyError};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaParamIn, MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseFromParameter, ParseResult, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use crate::http::parameters::once::query;

pub(crate) use crate::http::parameters::header::{IfNoneMatch, LastEventId, Prefer};
pub(crate) use crate::http::parameters::once::{
    After, Limit, Once, Prefix, Values, WatchAfter, WithSnapshot, only,
};

/// The most keys of one request.
const KEYS_MAX: usize = 100;

/// The key of a path, decoded. Its length is not checked yet.
pub(crate) struct KeyText(pub(crate) String);

/// The distinct values of `key` in a query, in order. They are not checked to be keys yet.
pub(crate) struct KeyTexts(Vec<String>);

impl KeyText {
    pub(crate) fn key(self, bytes_max: usize) -> Result<Key, Problem> {
        Key::new(self.0, bytes_max).map_err(|error| key_problem(error, Code::NoRoute))
    }
}

impl KeyTexts {
    pub(crate) fn keys(self, bytes_max: usize) -> Result<Vec<Key>, Problem> {
        let key = |text| Key::new(text, bytes_max).map_err(|error| key_problem(error, Code::BadKey));
        self.0.into_iter().map(key).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether the query has no `key`.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn parse(request: &Request) -> Result<Self, Problem> {
        let mut keys: Vec<String> = Vec::new();
        for (name, value) in query(request)? {
            if name != "key" || keys.contains(&value) {
                continue;
            }
            if keys.len() == KEYS_MAX {
                return Err(Problem::new(Code::BadParameter, "too many keys: at most 100 are allowed"));
            }
            keys.push(value);
        }
        Ok(Self(keys))
    }
}

/// The refusal of a text that is no key. `empty` is the code of an empty key: an empty key in a path is an unknown path.
fn key_problem(error: KeyError, empty: Code) -> Problem {
    match error {
        KeyError::Empty if empty == Code::NoRoute => Problem::new(empty, "there is nothing at this path"),
        KeyError::Empty => Problem::new(empty, "key must not be empty"),
        KeyError::TooLong { len, max } => {
            Problem::new(Code::TooLarge, format!("key has {len} bytes; at most {max} are allowed"))
        }
    }
}

/// The schema has no `maxLength`, because that counts characters and the limit counts bytes.
fn key_schema() -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(MetaSchema {
        min_length: Some(1),
        example: Some("hello".into()),
        ..MetaSchema::new("string")
    }))
}

impl Type for KeyText {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "key".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        key_schema()
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromParameter for KeyText {
    fn parse_from_parameter(value: &str) -> ParseResult<Self> {
        Ok(Self(value.to_owned()))
    }
}

impl<'a> ApiExtractor<'a> for KeyTexts {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Query)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(MetaSchemaRef::Inline(Box::new(MetaSchema {
            items: Some(Box::new(key_schema())),
            min_items: Some(1),
            example: Some(["a", "b/c"].as_slice().into()),
            ..MetaSchema::new("array")
        })))
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self::parse(request)?)
    }
}
