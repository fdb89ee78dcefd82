//! The JSON bodies of the read side, byte for byte: members in a fixed order, no blanks.

use db::{Entry, Key, Rev};

/// How many bytes of a body are written before other tasks have a turn. The bodies of multi-gets are large enough to keep a thread
/// busy for a long time.
const TURN_BYTES: usize = 64 * 1024;

/// Bytes reserved for the fixed parts of a body.
const FRAME: usize = 64;

/// The most bytes that `entry` takes in a body.
pub(crate) fn weight(entry: &Entry) -> usize {
    string_weight(entry.key.as_str()) + string_weight(&entry.value) + FRAME
}

/// The bytes that a key and a value of these lengths take in a body, if nothing in them is escaped.
pub(crate) fn weight_at_least(key_bytes: usize, value_bytes: usize) -> usize {
    value_bytes.saturating_add(key_bytes + FRAME)
}

/// `{"key":…,"value":…,"message":"","status":200}`
pub(crate) fn entry(entry: &Entry) -> Vec<u8> {
    let mut body = Vec::with_capacity(entry.key.as_str().len() + entry.value.len() + FRAME);
    body.extend_from_slice(br#"{"key":"#);
    string(&mut body, entry.key.as_str());
    body.extend_from_slice(br#","value":"#);
    string(&mut body, &entry.value);
    body.extend_from_slice(br#","message":"","status":200}"#);
    body
}

/// `{"message":"No value found for key …","status":404}`
pub(crate) fn missing(key: &Key) -> Vec<u8> {
    let mut body = Vec::with_capacity(key.as_str().len() + FRAME);
    body.extend_from_slice(br#"{"message":"No value found for key "#);
    let opening = body.len();
    string(&mut body, key.as_str());
    // The key continues the string that the sentence began.
    body.remove(opening);
    body.extend_from_slice(br#","status":404}"#);
    body
}

/// `{"items":[{"key":…,"value":…,"rev":…},…],"missing":[…],"message":"","status":200}`
pub(crate) async fn entries<'a>(
    found: impl Iterator<Item = &'a Entry>,
    missing: impl Iterator<Item = &'a Key>,
) -> Vec<u8> {
    let mut body = list();
    let mut turn_end = TURN_BYTES;
    for (at, Entry { key, value, rev }) in found.enumerate() {
        item(&mut body, at, key.as_str(), Some(value), *rev);
        if body.len() >= turn_end {
            tokio::task::yield_now().await;
            turn_end = body.len() + TURN_BYTES;
        }
    }
    body.extend_from_slice(br#"],"missing":["#);
    for (at, key) in missing.enumerate() {
        if at > 0 {
            body.push(b',');
        }
        string(&mut body, key.as_str());
    }
    body.extend_from_slice(br#"],"message":"","status":200}"#);
    body
}

/// The beginning of a list: `{"items":[`
pub(crate) fn list() -> Vec<u8> {
    br#"{"items":["#.to_vec()
}

/// `{"key":…,"value":…,"rev":…}`, the item at `at` of a list. Without a value: `{"key":…,"rev":…}`.
pub(crate) fn item(body: &mut Vec<u8>, at: usize, key: &str, value: Option<&str>, Rev(rev): Rev) {
    body.extend_from_slice(if at == 0 { br#"{"key":"# } else { br#",{"key":"# });
    string(body, key);
    if let Some(value) = value {
        body.extend_from_slice(br#","value":"#);
        string(body, value);
    }
    body.extend_from_slice(br#","rev":"#);
    body.extend_from_slice(itoa::Buffer::new().format(rev).as_bytes());
    body.push(b'}');
}

/// The end of a list: `],"next":…,"message":"","status":200}`.
pub(crate) fn end_list(body: &mut Vec<u8>, next: Option<&str>) {
    body.extend_from_slice(br#"],"next":"#);
    match next {
        Some(next) => string(body, next),
        None => body.extend_from_slice(b"null"),
    }
    body.extend_from_slice(br#","message":"","status":200}"#);
}

/// A line of an export, which is a write message: `{"key":…,"value":…}`, with `,"expires_at":…` if it expires.
pub(crate) fn line(body: &mut Vec<u8>, key: &str, value: &str, expires_at: Option<u64>) {
    body.extend_from_slice(br#"{"key":"#);
    string(body, key);
    body.extend_from_slice(br#","value":"#);
    string(body, value);
    if let Some(expires_at) = expires_at {
        body.extend_from_slice(br#","expires_at":"#);
        body.extend_from_slice(itoa::Buffer::new().format(expires_at).as_bytes());
    }
    body.extend_from_slice(b"}\n");
}

/// The most bytes of `text` as a JSON string without its quotes: a control character takes up to six, a quote or backslash two.
fn string_weight(text: &str) -> usize {
    let count = |is: fn(u8) -> bool| text.bytes().filter(|byte| is(*byte)).count();
    text.len() + 5 * count(|byte| byte < b' ') + count(|byte| matches!(byte, b'"' | b'\\'))
}

/// `text` as a JSON string, quotes included.
pub(crate) fn string(body: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(body, text).expect("memory can always be written");
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// The body of a small multi-get.
    fn entries<'a>(
        found: impl Iterator<Item = &'a Entry>,
        missing: impl Iterator<Item = &'a Key>,
    ) -> Vec<u8> {
        super::entries(found, missing).now_or_never().expect("it takes one turn")
    }

    fn an_entry(key: &str, value: &str, rev: u64) -> Entry {
        Entry { key: a_key(key), value: value.into(), rev: Rev(rev) }
    }

    fn a_key(key: &str) -> Key {
        Key::new(key.into(), 512).expect("a short key")
    }

    fn text(body: Vec<u8>) -> String {
        String::from_utf8(body).expect("JSON is text")
    }

    #[test]
    fn an_entry_is_exactly_what_the_contract_says() {
        assert_eq!(
            text(entry(&an_entry("hello", "world", 3))),
            r#"{"key":"hello","value":"world","message":"","status":200}"#
        );
        assert_eq!(
            text(entry(&an_entry("a\"b\\/", "\0\n\u{1f600}é\u{7f}", 3))),
            "{\"key\":\"a\\\"b\\\\/\",\"value\":\"\\u0000\\n\u{1f600}é\u{7f}\",\"message\":\"\",\"status\":200}"
        );
    }

    #[test]
    fn no_entry_takes_more_than_its_weight() {
        for text in ["", "plain", "\0\n\u{1f}\"\\\u{7f}", "é\u{1f600}"] {
            let an_entry = an_entry(&format!("k{text}"), &text.repeat(1000), u64::MAX);
            let written = entries([&an_entry].into_iter(), [].into_iter()).len().max(entry(&an_entry).len());
            // A list has 39 bytes of its own.
            assert!((written..written + 3 * written).contains(&(weight(&an_entry) + 39)), "{text:?}");
        }
    }

    #[test]
    fn a_missing_key_is_named_in_the_sentence() {
        assert_eq!(
            text(missing(&a_key("hello"))),
            r#"{"message":"No value found for key hello","status":404}"#
        );
        assert_eq!(
            text(missing(&a_key("a\"\n"))),
            r#"{"message":"No value found for key a\"\n","status":404}"#
        );
    }

    #[test]
    fn many_entries_come_in_the_order_given() {
        let (b, a, gone) = (an_entry("b", "x", 12), an_entry("a", "", u64::MAX), [a_key("b/c"), a_key("\"")]);
        assert_eq!(
            text(entries([&b, &a].into_iter(), gone.iter())),
            r#"{"items":[{"key":"b","value":"x","rev":12},{"key":"a","value":"","rev":18446744073709551615}],"missing":["b/c","\""],"message":"","status":200}"#
        );
        assert_eq!(
            text(entries([].into_iter(), [].into_iter())),
            r#"{"items":[],"missing":[],"message":"","status":200}"#
        );
    }

    #[test]
    fn a_large_body_lets_other_tasks_have_their_turns() {
        let large = an_entry("k", &"v".repeat(TURN_BYTES), 1);
        let found = [&large, &large, &large];
        let mut writing = std::pin::pin!(super::entries(found.into_iter(), [].into_iter()));
        let turns = std::iter::from_fn(|| writing.as_mut().now_or_never().is_none().then_some(()));
        assert_eq!(turns.count(), 3, "after each value");
    }

    #[test]
    fn a_page_says_where_the_list_goes_on() {
        let mut body = list();
        item(&mut body, 0, "user/1", Some("x"), Rev(12));
        item(&mut body, 1, "\"", Some(""), Rev(u64::MAX));
        item(&mut body, 2, "z", None, Rev(1));
        let mut last = body.clone();
        end_list(&mut body, Some("bmV4dA"));
        let items = r#"{"items":[{"key":"user/1","value":"x","rev":12},{"key":"\"","value":"","rev":18446744073709551615},{"key":"z","rev":1}],"#;
        assert_eq!(text(body), format!(r#"{items}"next":"bmV4dA","message":"","status":200}}"#));
        end_list(&mut last, None);
        assert_eq!(text(last), format!(r#"{items}"next":null,"message":"","status":200}}"#));
    }

    #[test]
    fn a_line_is_a_write() {
        let mut body = Vec::new();
        line(&mut body, "a", "1\n2", None);
        line(&mut body, "b", "", Some(1_795_517_777_251_129));
        let expected = "{\"key\":\"a\",\"value\":\"1\\n2\"}\n{\"key\":\"b\",\"value\":\"\",\"expires_at\":1795517777251129}\n";
        assert_eq!(text(body), expected);
    }
}
