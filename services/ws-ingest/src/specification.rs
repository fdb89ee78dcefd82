//! Serves the `AsyncAPI` specification of the socket.

use http::{HeaderValue, header};
use poem::endpoint::make_sync;
use poem::{Endpoint, Response};

/// The specification. The end-to-end tests replay every example in it.
const DOCUMENT: &str = include_str!("../../../openapi/ws-ingest.asyncapi.yaml");

/// The endpoint of the specification.
pub(crate) fn document() -> impl Endpoint<Output = Response> {
    make_sync(|_| {
        let mut response = Response::builder().body(DOCUMENT);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chassis::problem::Code;

    use super::*;

    /// Whether a reply on the socket can carry `code`.
    fn on_the_socket(code: Code) -> bool {
        match code {
            Code::BadJson
            | Code::BadFrame
            | Code::RevMismatch
            | Code::TooLarge
            | Code::BadKey
            | Code::BadValue
            | Code::BadOp
            | Code::UnknownOp
            | Code::BadId
            | Code::BadTtl
            | Code::BadIfRev
            | Code::BadBatch
            | Code::BadMember
            | Code::Forbidden
            | Code::SlowDown
            | Code::Internal
            | Code::Unavailable
            | Code::Overloaded
            | Code::OutcomeUnknown => true,
            // Only over HTTP: requests and handshakes.
            Code::BadPath
            | Code::BadHost
            | Code::Unauthenticated
            | Code::NoRoute
            | Code::BadMethod
            | Code::Timeout
            | Code::UriTooLong
            | Code::HeadersTooLarge
            | Code::BadParameter
            | Code::BadCursor
            | Code::UpgradeRequired
            | Code::WatchOff
            | Code::Stopping => false,
        }
    }

    #[test]
    fn every_code_of_the_socket_has_an_example_with_its_status() {
        let shown: BTreeSet<_> = DOCUMENT
            .match_indices(r#","code":""#)
            .map(|(at, mark)| {
                let (code, _) = DOCUMENT[at + mark.len()..].split_once('"').expect("a string ends");
                let (_, status) = DOCUMENT[..at].rsplit_once(r#""status":"#).expect("a status comes first");
                (status.to_owned(), code)
            })
            .collect();
        let known = Code::ALL.iter().filter(|code| on_the_socket(**code));
        let known: BTreeSet<_> = known.map(|code| (code.status().to_string(), code.as_str())).collect();
        assert_eq!(shown, known);
    }
}
