//! Problems: every way a request can fail, as the client sees it (a stable code, a status, one sentence).

use poem::Response;
use poem::error::ResponseError;
use poem::http::{HeaderValue, StatusCode, header};

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $status:literal $text:literal,)*) => {
        /// The stable code of an error. Codes are only ever added.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $code,)*
        }

        impl Code {
            /// Every code there is.
            pub const ALL: &[Self] = &[$(Self::$code,)*];

            /// The HTTP status of the code, on the socket and over HTTP alike.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$code => $status,)*
                }
            }

            /// The code as text, as in a reply.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => $text,)*
                }
            }
        }
    };
}

codes! {
    /// The message is not one JSON object, or has a member twice or a lone surrogate.
    BadJson = 400 "bad_json",
    /// A binary message where text is expected.
    BadFrame = 400 "bad_frame",
    /// The path is not UTF-8.
    BadPath = 400 "bad_path",
    /// The request has no valid `Host`, or more than one.
    BadHost = 400 "bad_host",
    /// A token is needed, and there is none or an unknown one.
    Unauthenticated = 401 "unauthenticated",
    /// A key outside the token's prefixes, an origin that is not allowed, or a host that may be rebound.
    Forbidden = 403 "forbidden",
    /// The path is unknown.
    NoRoute = 404 "no_route",
    /// The path does not support this method.
    BadMethod = 405 "bad_method",
    /// The request took too long to arrive.
    Timeout = 408 "timeout",
    /// The request target is over its limit.
    UriTooLong = 414 "uri_too_long",
    /// The header fields are over their limit.
    HeadersTooLarge = 431 "headers_too_large",
    /// The condition of the write is false.
    RevMismatch = 412 "rev_mismatch",
    /// A key, a value or a reply over its limit.
    TooLarge = 413 "too_large",
    /// `key` is missing, empty or not a string.
    BadKey = 422 "bad_key",
    /// `value` is missing or not a string.
    BadValue = 422 "bad_value",
    /// `op` is not a string.
    BadOp = 422 "bad_op",
    /// `op` is not an operation of this service.
    UnknownOp = 422 "unknown_op",
    /// `id` is neither a short string nor a number.
    BadId = 422 "bad_id",
    /// `ttl` or `expires_at` is of a wrong type or range.
    BadTtl = 422 "bad_ttl",
    /// `if_rev` is of a wrong type or range.
    BadIfRev = 422 "bad_if_rev",
    /// The batch as a whole is invalid.
    BadBatch = 422 "bad_batch",
    /// With the subprotocol: an unknown member. Without it: more unknown members than are ignored.
    BadMember = 422 "bad_member",
    /// A query or path parameter is missing, of a wrong type or range.
    BadParameter = 422 "bad_parameter",
    /// The cursor was not made by this service for this request.
    BadCursor = 422 "bad_cursor",
    /// A plain request to the socket's path.
    UpgradeRequired = 426 "upgrade_required",
    /// A configured rate limit is exceeded.
    SlowDown = 429 "slow_down",
    /// A bug of this service; nothing was applied.
    Internal = 500 "internal",
    /// Changes are not logged, so they cannot be watched.
    WatchOff = 501 "watch_off",
    /// The database cannot be reached or refuses; nothing was applied.
    Unavailable = 503 "unavailable",
    /// More work than this process takes on; nothing was applied.
    Overloaded = 503 "overloaded",
    /// The process is draining; nothing was applied.
    Stopping = 503 "stopping",
    /// A COMMIT was sent and its answer never came: the write may be applied or not.
    OutcomeUnknown = 504 "outcome_unknown",
}

/// An error reply. Usable with `?` in an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// What kind of error it is.
    pub code: Code,
    /// One sentence for a human. Never SQL, a stack trace or a path of the server.
    pub message: String,
}

impl Problem {
    /// A problem with this code and this sentence.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The JSON of the reply: `{"message":"…","status":N,"code":"…"}`, the same on the socket and over HTTP.
    #[must_use]
    pub fn body(&self) -> String {
        let message = serde_json::Value::from(self.message.as_str());
        let (status, code) = (self.code.status(), self.code.as_str());
        format!(r#"{{"message":{message},"status":{status},"code":"{code}"}}"#)
    }

    /// The response over HTTP. A 429 or 503 has `Retry-After`, a 401 has `WWW-Authenticate`.
    #[must_use]
    pub fn into_response(self) -> Response {
        let mut response = Response::builder().status(self.status()).body(self.body());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(self.code.status(), 429 | 503) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.code == Code::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).expect("every code has a valid status")
    }

    fn as_response(&self) -> Response {
        self.clone().into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_the_members_in_the_contracts_order() {
        let problem = Problem::new(Code::BadKey, "key is a \"number\"\n");
        assert_eq!(problem.body(), r#"{"message":"key is a \"number\"\n","status":422,"code":"bad_key"}"#);
    }

    #[tokio::test]
    async fn a_503_says_when_to_try_again_and_is_never_cached() {
        let response = Problem::new(Code::Overloaded, "busy").into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.header("retry-after"), Some("1"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(response.content_type(), Some("application/json; charset=utf-8"));
        let body = response.into_body().into_string().await.expect("in memory");
        assert_eq!(body, r#"{"message":"busy","status":503,"code":"overloaded"}"#);
        let response = Problem::new(Code::Internal, "oops").into_response();
        assert_eq!(response.header("retry-after"), None);
    }
}
