//! Header fields that are parameters of an operation.

use poem::http::{HeaderMap, HeaderValue};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaParamIn, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use crate::http::etag;
use crate::watch::WaitPreference;

/// The fields of `If-None-Match`.
pub(crate) struct IfNoneMatch<'a>(&'a HeaderMap);

/// The preference `wait` in the header `Prefer`, if any.
pub(crate) struct Prefer(pub(crate) Option<WaitPreference>);

/// The cursor in `Last-Event-ID`. Empty: there is none. It is not checked yet, because a cursor that cannot be used is no error.
pub(crate) struct LastEventId(pub(crate) String);

/// A parameter that is read from the header.
trait HeaderParameter<'a>: Sized {
    const EXAMPLE: &'static str;

    fn of(headers: &'a HeaderMap) -> Self;
}

impl IfNoneMatch<'_> {
    /// Whether the client has the version of `tag`, an `ETag` without its quotes.
    pub(crate) fn names(&self, tag: &[u8]) -> bool {
        etag::is_named(self.0, tag)
    }

    /// Whether the client knows that the key has no value: a tag is `"0"`. `*` does not count, because it stands for any value that is there.
    pub(crate) fn names_absence(&self) -> bool {
        let fields = self.0.get_all("if-none-match").iter();
        fields.map(HeaderValue::as_bytes).any(|field| field.trim_ascii() != b"*" && etag::names(field, b"0"))
    }

    /// Whether the request has the header.
    pub(crate) fn is_given(&self) -> bool {
        self.0.contains_key("if-none-match")
    }
}

impl<'a> HeaderParameter<'a> for IfNoneMatch<'a> {
    const EXAMPLE: &'static str = "\"1043\"";

    fn of(headers: &'a HeaderMap) -> Self {
        Self(headers)
    }
}

impl HeaderParameter<'_> for Prefer {
    const EXAMPLE: &'static str = "wait=30";

    fn of(headers: &HeaderMap) -> Self {
        Self(WaitPreference::of(headers))
    }
}

impl HeaderParameter<'_> for LastEventId {
    const EXAMPLE: &'static str = "";

    fn of(headers: &HeaderMap) -> Self {
        let field = headers.get("last-event-id").map_or(&b""[..], HeaderValue::as_bytes);
        // Bytes that are no UTF-8 are a bad cursor, so the stream begins with `reset`.
        Self(String::from_utf8_lossy(field.trim_ascii()).into_owned())
    }
}

/// Implements the extractor of each type.
macro_rules! extractors {
    ($($name:ident $(<$life:lifetime>)?),*) => {$(
        impl<'a> ApiExtractor<'a> for $name $(<$life>)? {
            const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
            type ParamType = ();
            type ParamRawType = ();

            fn param_in() -> Option<MetaParamIn> {
                Some(MetaParamIn::Header)
            }

            fn param_schema_ref() -> Option<MetaSchemaRef> {
                Some(MetaSchemaRef::Inline(Box::new(MetaSchema {
                    example: Some(<Self as HeaderParameter<'_>>::EXAMPLE.into()),
                    ..MetaSchema::new("string")
                })))
            }

            async fn from_request(
                request: &'a Request,
                _: &mut RequestBody,
                _: ExtractParamOptions<()>,
            ) -> poem::Result<Self> {
                Ok(Self::of(request.headers()))
            }
        }
    )*};
}

extractors!(IfNoneMatch<'a>, Prefer, LastEventId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_event_id_that_is_no_text_is_a_bad_cursor_and_not_none() {
        let of = |value: &[u8]| {
            let value = HeaderValue::from_bytes(value).expect("a header value");
            LastEventId::of(&HeaderMap::from_iter([("last-event-id".parse().expect("a name"), value)])).0
        };
        assert_eq!((of(b" AbC "), of(b"")), ("AbC".to_owned(), String::new()));
        assert_eq!(of(b"\xff"), "\u{fffd}");
        assert_eq!(LastEventId::of(&HeaderMap::new()).0, "");
    }
}
