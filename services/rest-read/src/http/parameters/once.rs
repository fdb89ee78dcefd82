//! Optional query parameters that must not be repeated.

use chassis::problem::{Code, Problem};
use db::{KEY_BYTES_MAX, Range};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaParamIn, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use crate::cursor;

/// The largest `limit`.
const ITEMS_MAX: usize = 1000;
/// The default of `limit`.
const ITEMS_DEFAULT: usize = 100;

/// A parameter, if the query has it.
pub(crate) struct Once<T>(pub(crate) Option<T>);

/// The prefix of keys.
#[derive(Default)]
pub(crate) struct Prefix(pub(crate) String);

/// The most items of a page, from 1 to [`ITEMS_MAX`].
pub(crate) struct Limit(pub(crate) usize);

/// The cursor of a page. It belongs to one prefix, and is not checked yet.
pub(crate) struct After(String);

/// Whether the items of a list have their values.
pub(crate) struct Values(pub(crate) bool);

/// The cursor of a watch. It is not checked yet, because a cursor that cannot be used is no error.
#[derive(Default)]
pub(crate) struct WatchAfter(pub(crate) String);

/// Whether a watch begins with what is there.
pub(crate) struct WithSnapshot(pub(crate) bool);

/// A parameter of the query.
pub(crate) trait Parameter: Sized {
    const NAME: &'static str;

    fn schema() -> MetaSchema;

    fn parse(text: String) -> Result<Self, Problem>;
}

impl Parameter for Prefix {
    const NAME: &'static str = "prefix";

    fn schema() -> MetaSchema {
        MetaSchema { example: Some("user/".into()), ..MetaSchema::new("string") }
    }

    fn parse(text: String) -> Result<Self, Problem> {
        let bytes = text.len();
        if bytes > KEY_BYTES_MAX {
            let message = format!("prefix has {bytes} bytes; at most {KEY_BYTES_MAX} are allowed");
            return Err(Problem::new(Code::BadParameter, message));
        }
        Ok(Self(text))
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(ITEMS_DEFAULT)
    }
}

impl Parameter for Limit {
    const NAME: &'static str = "limit";

    fn schema() -> MetaSchema {
        MetaSchema {
            minimum: Some(1.0),
            maximum: Some(1000.0),
            example: Some(ITEMS_DEFAULT.into()),
            // No `default`: generated clients would also send it together with `key`, which is refused.
            ..MetaSchema::new_with_format("integer", "int32")
        }
    }

    fn parse(text: String) -> Result<Self, Problem> {
        let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let fits = number.filter(|number| (1..=ITEMS_MAX).contains(number));
        let refused = || {
            Problem::new(Code::BadParameter, format!("limit must be a whole number from 1 to {ITEMS_MAX}"))
        };
        fits.map(Self).ok_or_else(refused)
    }
}

impl Parameter for After {
    const NAME: &'static str = "after";

    fn schema() -> MetaSchema {
        MetaSchema { example: Some(cursor::encode("user/", "user/1").into()), ..MetaSchema::new("string") }
    }

    fn parse(text: String) -> Result<Self, Problem> {
        Ok(Self(text))
    }
}

impl Default for Values {
    fn default() -> Self {
        Self(true)
    }
}

impl Parameter for Values {
    const NAME: &'static str = "values";

    fn schema() -> MetaSchema {
        // No `default`, for the same reason as in `Limit`.
        MetaSchema { example: Some(false.into()), ..MetaSchema::new("boolean") }
    }

    fn parse(text: String) -> Result<Self, Problem> {
        boolean(Self::NAME, &text).map(Self)
    }
}

impl Default for WithSnapshot {
    fn default() -> Self {
        Self(true)
    }
}

impl Parameter for WithSnapshot {
    const NAME: &'static str = "snapshot";

    fn schema() -> MetaSchema {
        MetaSchema { example: Some(false.into()), ..MetaSchema::new("boolean") }
    }

    fn parse(text: String) -> Result<Self, Problem> {
        boolean(Self::NAME, &text).map(Self)
    }
}

impl Parameter for WatchAfter {
    const NAME: &'static str = "after";

    fn schema() -> MetaSchema {
        MetaSchema { example: Some("".into()), ..MetaSchema::new("string") }
    }

    fn parse(text: String) -> Result<Self, Problem> {
        Ok(Self(text))
    }
}

fn boolean(name: &str, text: &str) -> Result<bool, Problem> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Problem::new(Code::BadParameter, format!("{name} must be true or false"))),
    }
}

impl After {
    /// The part of `range` that follows this cursor.
    pub(crate) fn range(&self, range: Range) -> Result<Range, Problem> {
        let key = cursor::decode(range.prefix(), &self.0).ok_or_else(|| {
            Problem::new(Code::BadCursor, "after must be the next cursor of a page with the same prefix")
        })?;
        Ok(range.after(key))
    }
}

impl<'a, T: Parameter> ApiExtractor<'a> for Once<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Query)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(MetaSchemaRef::Inline(Box::new(T::schema())))
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let mut values = query(request)?.into_iter().filter(|(name, _)| name == T::NAME);
        let value = values.next().map(|(_, text)| T::parse(text)).transpose()?;
        if values.next().is_some() {
            let message = format!("{} must not be given twice", T::NAME);
            return Err(Problem::new(Code::BadParameter, message).into());
        }
        Ok(Self(value))
    }
}

/// The parameters of the query, decoded, in order.
pub(crate) fn query(request: &Request) -> Result<Vec<(String, String)>, Problem> {
    request.params().map_err(|_| Problem::new(Code::BadParameter, "the query cannot be decoded"))
}

/// Refuses a query with a parameter that is not in `names`: a misspelt filter must not widen the result.
pub(crate) fn only(request: &Request, names: &[&str]) -> Result<(), Problem> {
    match query(request)?.iter().find(|(name, _)| !names.contains(&name.as_str())) {
        Some((name, _)) => {
            let message = format!("unknown parameter {name}; allowed: {}", names.join(", "));
            Err(Problem::new(Code::BadParameter, message))
        }
        None => Ok(()),
    }
}
