//! Accepts the handshake of a socket, in every form that RFC 9110 allows.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use tokio_tungstenite::tungstenite::handshake::server::create_response;

/// The header fields of the response that accepts a handshake. `None`: the request is not a valid handshake.
///
/// The WebSocket library reads only the first `Connection` line, and an `Upgrade` line that holds nothing else. A client or a proxy
/// may send several lines, and lists in each. So the library gets the two fields in their simplest form.
pub(super) fn accept(method: &Method, version: Version, headers: &HeaderMap) -> Option<HeaderMap> {
    if !lists_token(headers, &header::CONNECTION, "upgrade")
        || !lists_token(headers, &header::UPGRADE, "websocket")
    {
        return None;
    }
    let mut handshake = http::Request::new(());
    *handshake.method_mut() = method.clone();
    *handshake.version_mut() = version;
    *handshake.headers_mut() = headers.clone();
    handshake.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    handshake.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    Some(create_response(&handshake).ok()?.into_parts().0.headers)
}

/// Whether one of the lines of a field lists `token`, in any case.
fn lists_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    // Compared as bytes, because other elements of a line may not be text.
    let lines = headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
    let mut elements = lines.flat_map(|line| line.split(|byte| *byte == b','));
    elements.any(|element| element.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_accepted(fields: &[(HeaderName, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        for (name, value) in fields {
            headers.append(name, value.parse().expect("a header value"));
        }
        let Some(answer) = accept(&Method::GET, Version::HTTP_11, &headers) else { return false };
        assert_eq!(
            answer[header::SEC_WEBSOCKET_ACCEPT],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            "RFC 6455, section 1.3"
        );
        assert_eq!(
            (&answer[header::CONNECTION], &answer[header::UPGRADE]),
            (&"Upgrade".parse().expect("text"), &"websocket".parse().expect("text"))
        );
        true
    }

    #[test]
    fn both_fields_may_have_several_lines_and_lists_in_any_case() {
        let (connection, upgrade) = (header::CONNECTION, header::UPGRADE);
        let fields = |connections: &[&'static str], upgrades: &[&'static str]| {
            let connections = connections.iter().map(|value| (connection.clone(), *value));
            connections.chain(upgrades.iter().map(|value| (upgrade.clone(), *value))).collect::<Vec<_>>()
        };
        for (connections, upgrades, accepted) in [
            (&["Upgrade"][..], &["websocket"][..], true),
            (&["keep-alive, Upgrade"], &["websocket"], true),
            (&["keep-alive", "Upgrade"], &["websocket"], true),
            (&["UPGRADE"], &["WebSocket, foo"], true),
            (&["Upgrade"], &["h2c, websocket"], true),
            (&["Upgrade"], &["h2c", "\tWEBSOCKET "], true),
            (&["keep-alive,,upgrade"], &["h2c,websocket"], true),
            (&["é, Upgrade"], &["websocket"], true),
            (&["keep-alive"], &["websocket"], false),
            (&[], &["websocket"], false),
            (&["Upgrade"], &["h2c"], false),
            (&["Upgrade"], &[], false),
            (&["Upgrade"], &["websocket2, web socket"], false),
            (&["keep-alive Upgrade"], &["websocket"], false),
        ] {
            assert_eq!(is_accepted(&fields(connections, upgrades)), accepted, "{connections:?} {upgrades:?}");
        }
    }
}
