//! The JSON bodies of the read side, byte for byte: the members, their order, no blanks.

use db::{Entry, Key, Rev};

/// Room for the fixed parts of a body.
const FRAME: usize = 64;

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
    // The key goes on inside the sentence's string.
    body.remove(opening);
    body.extend_from_slice(br#","status":404}"#);
    body
}

/// `{"items":[{"key":…,"value":…,"rev":…},…],"missing":[…],"message":"","status":200}`
pub(crate) fn entries<'a>(
    found: impl Iterator<Item = &'a Entry>,
    missing: impl Iterator<Item = &'a Key>,
) -> Vec<u8> {
    let mut body = br#"{"items":["#.to_vec();
    for (at, Entry { key, value, rev: Rev(rev) }) in found.enumerate() {
        body.extend_from_slice(if at == 0 { br#"{"key":"# } else { br#",{"key":"# });
        string(&mut body, key.as_str());
        body.extend_from_slice(br#","value":"#);
        string(&mut body, value);
        body.extend_from_slice(format!(r#","rev":{rev}}}"#).as_bytes());
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

/// `text` as a JSON string, quotes included.
fn string(body: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(body, text).expect("memory can always be written");
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
