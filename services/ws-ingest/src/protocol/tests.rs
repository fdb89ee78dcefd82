//! What each message means, byte for byte.

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { key_bytes_max: 512, value_bytes_max: 1024 * 1024 };

fn accepted(text: &str) -> Write {
    parse(text, LIMITS).unwrap_or_else(|refused| panic!("{text} was refused: {}", refused.reply()))
}

/// Status, code and reply of a message that must be refused.
fn refused(text: &str) -> (u16, &'static str, String) {
    let refused = parse(text, LIMITS).expect_err(text);
    (refused.problem.code.status(), refused.problem.code.as_str(), refused.reply())
}

fn reply(text: &str, created: bool, rev: u64) -> String {
    let write = accepted(text);
    let rev = write.set.shows_rev.then_some(db::Rev(rev));
    written(&write.envelope, Outcome { created, rev })
}

#[test]
fn a_plain_write_is_answered_as_the_original_documents() {
    let text = r#"{"key":"hello","value":"world"}"#;
    assert_eq!(reply(text, true, 1), r#"{"message":"hello created","status":200}"#);
    assert_eq!(reply(text, false, 2), r#"{"message":"hello updated","status":200}"#);
}

#[test]
fn an_id_goes_back_byte_for_byte_and_brings_the_rev() {
    let text = r#"{"id":1.50e3,"key":"a","value":""}"#;
    assert_eq!(reply(text, true, 9), r#"{"message":"a created","status":200,"id":1.50e3,"rev":9}"#);
    let text = r#"{"id":"\u00e9\/","op":"set","key":"a","value":""}"#;
    assert_eq!(reply(text, false, 9), r#"{"message":"a updated","status":200,"id":"\u00e9\/","rev":9}"#);
    let text = r#"{"id":null,"ttl":null,"key":"a","value":""}"#;
    assert_eq!(reply(text, false, 9), r#"{"message":"a updated","status":200}"#);
}

#[test]
fn odd_keys_stay_valid_json_in_the_reply() {
    let text = r#"{"key":"a\"\\\u0000\n","value":""}"#;
    assert_eq!(accepted(text).set.key.as_str(), "a\"\\\0\n");
    assert_eq!(reply(text, true, 1), r#"{"message":"a\"\\\u0000\n created","status":200}"#);
}

#[test]
fn what_is_not_one_json_object_is_bad_json() {
    for text in [
        "",
        "hello",
        "[]",
        "{}{}",
        "null",
        r#"{"key":"a""#,
        r#"{"key":"a","key":"b","value":""}"#,
        r#"{"key":"a","k\u0065y":"b","value":""}"#,
        r#"{"key":"a","value":"","x":1,"x":2}"#,
        r#"{"key":"\ud800","value":""}"#,
        r#"{"key":"a","value":"\uDC00x"}"#,
        r#"{"key":"a","value":"","x":["\ud800"]}"#,
        "{\"key\":\"a\nb\",\"value\":\"\"}",
    ] {
        let (status, code, reply) = refused(text);
        assert_eq!((status, code), (400, "bad_json"), "{text}");
        assert!(reply.starts_with(r#"{"message":"not one JSON object: "#), "{reply}");
        assert!(reply.ends_with(r#","status":400,"code":"bad_json"}"#), "{reply}");
    }
}

#[test]
fn a_member_missing_or_of_a_wrong_type_is_named() {
    for (text, code, word) in [
        (r#"{"value":""}"#, "bad_key", "key is missing"),
        (r#"{"key":"","value":""}"#, "bad_key", "empty"),
        (r#"{"key":null,"value":""}"#, "bad_key", "not null"),
        (r#"{"key":1,"value":""}"#, "bad_key", "not a number"),
        (r#"{"key":["a"],"value":""}"#, "bad_key", "not an array"),
        (r#"{"key":"a"}"#, "bad_value", "value is missing"),
        (r#"{"key":"a","value":-1.5}"#, "bad_value", "not a number"),
        (r#"{"key":"a","value":1e999}"#, "bad_value", "not a number"),
        (r#"{"key":"a","value":true}"#, "bad_value", "not a boolean"),
        (r#"{"key":"a","value":{}}"#, "bad_value", "not an object"),
        (r#"{"key":"a","value":null}"#, "bad_value", "not null"),
        (r#"{"id":[],"key":"a","value":""}"#, "bad_id", "not an array"),
        (r#"{"op":1,"key":"a","value":""}"#, "bad_op", "not a number"),
        (r#"{"op":"get","key":"a","value":""}"#, "unknown_op", "get"),
        (r#"{"op":"delete","key":"a"}"#, "unknown_op", "delete"),
        (r#"{"op":"batch","ops":[]}"#, "unknown_op", "batch"),
        (r#"{"key":"a","value":"","if_rev":0}"#, "bad_if_rev", "if_rev"),
        (r#"{"key":"a","value":"","ttl":60}"#, "bad_ttl", "ttl"),
        (r#"{"key":"a","value":"","expires_at":1}"#, "bad_ttl", "expires_at"),
    ] {
        let (status, got, reply) = refused(text);
        assert_eq!((status, got), (422, code), "{text}");
        assert!(reply.contains(word), "{reply} should contain {word:?}");
    }
}

#[test]
fn a_refusal_carries_the_id_if_that_is_valid() {
    let (.., reply) = refused(r#"{"id":"x","key":"","value":""}"#);
    assert_eq!(reply, r#"{"message":"key must not be empty","status":422,"code":"bad_key","id":"x"}"#);
    let long = format!(r#"{{"id":"{}","key":"a","value":""}}"#, "i".repeat(127));
    let (_, code, reply) = refused(&long);
    assert_eq!(code, "bad_id");
    assert!(!reply.contains("\"id\""), "{reply}");
}

#[test]
fn what_is_too_large_is_told_with_limit_and_size() {
    let key = format!(r#"{{"key":"{}","value":""}}"#, "é".repeat(257));
    let (status, code, reply) = refused(&key);
    assert_eq!((status, code), (413, "too_large"));
    assert!(reply.contains("key has 514 bytes; at most 512 are allowed"), "{reply}");
    let value = format!(r#"{{"key":"k","value":"{}"}}"#, "v".repeat(1_048_577));
    assert!(refused(&value).2.contains("1048577"));
    let largest = format!(r#"{{"key":"{}","value":"{}"}}"#, "k".repeat(512), "v".repeat(1_048_576));
    accepted(&largest);
}

proptest! {
    #[test]
    fn no_text_panics(text in ".*") {
        drop(parse(&text, LIMITS));
    }

    #[test]
    fn any_key_and_value_arrive_as_they_were_sent(key in ".{1,128}", value in ".*") {
        prop_assume!(key.len() <= 512);
        let text = serde_json::json!({ "key": key, "value": value }).to_string();
        let write = accepted(&text);
        prop_assert_eq!(write.set.key.as_str(), &key);
        prop_assert_eq!(write.set.value.as_str(), &value);
        let reply: serde_json::Value = serde_json::from_str(&reply(&text, true, 1)).expect("JSON");
        let expected = format!("{key} created");
        prop_assert_eq!(reply["message"].as_str(), Some(expected.as_str()));
    }

    #[test]
    fn no_damaged_message_panics(at in 0usize..60, byte in any::<char>()) {
        let mut text: Vec<char> = r#"{"id":"7","op":"set","key":"hello","value":"w\u00e9rld"}"#.chars().collect();
        let at = at.min(text.len() - 1);
        text[at] = byte;
        drop(parse(&text.into_iter().collect::<String>(), LIMITS));
    }
}
