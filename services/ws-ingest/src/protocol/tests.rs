//! The meaning of each message, and the bytes of its reply.

mod limits;
mod unknown;

use db::{Change, Expiry, Op, Outcome, Rev, Value, WriteOutcome};
use proptest::prelude::*;

use super::*;

const LIMITS: MessageLimits = MessageLimits { key_bytes_max: 512, value_bytes_max: 1024 * 1024 };

/// The instant at which the messages of these tests arrive.
const NOW: u64 = 1_800_000_000_000_000;

fn read(text: &str) -> Result<WriteRequest, RefusedRequest> {
    parse(text, LIMITS, UnknownMembers::Ignored, || NOW)
}

fn accepted(text: &str) -> WriteRequest {
    read(text).unwrap_or_else(|refused| panic!("{text} was refused: {}", refused.reply()))
}

/// The only op of a request.
fn op(request: &WriteRequest) -> &Op {
    let [op] = request.write.ops() else { panic!("one op, not {:?}", request.write) };
    op
}

/// Status, code and reply of a message that must be refused.
fn refused(text: &str) -> (u16, &'static str, String) {
    let refused = read(text).expect_err(text);
    (refused.problem.code.status(), refused.problem.code.as_str(), refused.reply())
}

/// The reply to a message of one op with this `outcome` at revision 9.
fn reply(text: &str, outcome: fn(Option<Rev>) -> Outcome) -> String {
    let request = accepted(text);
    let rev = request.write.shows_rev().then_some(Rev(9));
    written(&request.envelope, &WriteOutcome::One(outcome(rev)))
}

#[test]
fn a_plain_write_is_answered_as_the_original_documents() {
    let text = r#"{"key":"hello","value":"world"}"#;
    assert_eq!(reply(text, Outcome::Created), r#"{"message":"hello created","status":200}"#);
    assert_eq!(reply(text, Outcome::Updated), r#"{"message":"hello updated","status":200}"#);
}

#[test]
fn an_id_goes_back_byte_for_byte_and_brings_the_rev() {
    let text = r#"{"id":1.50e3,"key":"a","value":""}"#;
    assert_eq!(reply(text, Outcome::Created), r#"{"message":"a created","status":200,"id":1.50e3,"rev":9}"#);
    let text = r#"{"id":"\u00e9\/","op":"set","key":"a","value":""}"#;
    assert_eq!(
        reply(text, Outcome::Updated),
        r#"{"message":"a updated","status":200,"id":"\u00e9\/","rev":9}"#
    );
    let text = r#"{"id":null,"ttl":null,"key":"a","value":""}"#;
    assert_eq!(reply(text, Outcome::Updated), r#"{"message":"a updated","status":200}"#);
}

#[test]
fn a_traceparent_is_known_and_changes_no_reply() {
    for traceparent in [r#""00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01""#, r#""""#, "null"] {
        let text = format!(r#"{{"key":"a","traceparent":{traceparent},"value":""}}"#);
        assert_eq!(reply(&text, Outcome::Created), r#"{"message":"a created","status":200}"#);
        let text = format!(r#"{{"id":8,{}"#, &text[1..]);
        assert_eq!(reply(&text, Outcome::Created), r#"{"message":"a created","status":200,"id":8,"rev":9}"#);
        accepted(&format!(r#"{{"traceparent":{traceparent},"op":"batch","ops":[{text}]}}"#));
    }
    assert_eq!(
        refused(r#"{"id":9,"op":"batch","ops":[{"key":"a","value":"","traceparent":{}}]}"#).2,
        r#"{"message":"traceparent must be a string, not an object","status":422,"code":"bad_member","id":9,"key":"a","index":0}"#
    );
}

#[test]
fn a_whole_number_may_have_a_fraction_or_an_exponent() {
    let number = |text: &str| op(&accepted(&format!(r#"{{"key":"a","value":"","if_rev":{text}}}"#))).if_rev;
    for (text, rev) in [
        ("0.0", 0),
        ("-0", 0),
        ("-0.0e5", 0),
        ("0e99999999999999999999", 0),
        ("60.0", 60),
        ("6e1", 60),
        ("0.6E+2", 60),
        ("600.00e-1", 60),
        ("9223372036854775807.000", i64::MAX),
        ("9223372036854775.807e3", i64::MAX),
    ] {
        assert_eq!(number(text), number(&rev.to_string()), "{text}");
    }
    for text in [r#""ttl":60.0"#, r#""ttl":6e1"#, r#""expires_at":1900000000000000.0"#] {
        accepted(&format!(r#"{{"key":"a","value":"",{text}}}"#));
    }
}

#[test]
fn odd_keys_stay_valid_json_in_the_reply() {
    let text = r#"{"key":"a\"\\\u0000\n","value":""}"#;
    assert_eq!(op(&accepted(text)).key.as_str(), "a\"\\\0\n");
    assert_eq!(reply(text, Outcome::Created), r#"{"message":"a\"\\\u0000\n created","status":200}"#);
}

#[test]
fn a_message_that_is_not_one_json_object_is_bad_json() {
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
        r#"{"key":"a","value":"","ops":["\ud800"]}"#,
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
        (r#"{"op":"delete"}"#, "bad_key", "key is missing"),
        (r#"{"op":"delete","key":"a","ttl":1}"#, "bad_ttl", "a delete has no ttl"),
        (r#"{"key":"a","value":"","if_rev":"0"}"#, "bad_if_rev", "if_rev must be a number, not a string"),
        (r#"{"key":"a","value":"","if_rev":-1}"#, "bad_if_rev", "from 0 to 9223372036854775807"),
        (r#"{"key":"a","value":"","if_rev":9223372036854775808}"#, "bad_if_rev", "whole number"),
        (r#"{"key":"a","value":"","if_rev":1.5}"#, "bad_if_rev", "whole number"),
        (r#"{"key":"a","value":"","if_rev":-1.0}"#, "bad_if_rev", "whole number"),
        (r#"{"key":"a","value":"","if_rev":9223372036854775808.0}"#, "bad_if_rev", "whole number"),
        (r#"{"key":"a","value":"","if_rev":10000000000000000000e1}"#, "bad_if_rev", "whole number"),
        (r#"{"key":"a","value":"","if_rev":1e-1}"#, "bad_if_rev", "whole number"),
        (r#"{"key":"a","value":"","if_rev":1e99999999999999999999}"#, "bad_if_rev", "whole number"),
        (r#"{"key":"a","value":"","ttl":0.0}"#, "bad_ttl", "from 1 to 3153600000"),
        (r#"{"key":"a","value":"","ttl":"60"}"#, "bad_ttl", "ttl must be a number, not a string"),
        (r#"{"key":"a","value":"","ttl":0}"#, "bad_ttl", "from 1 to 3153600000"),
        (r#"{"key":"a","value":"","ttl":3153600001}"#, "bad_ttl", "from 1 to 3153600000"),
        (r#"{"key":"a","value":"","ttl":1e12}"#, "bad_ttl", "whole number"),
        (r#"{"key":"a","value":"","expires_at":1800000000000000}"#, "bad_ttl", "not in the future"),
        (r#"{"key":"a","value":"","expires_at":99999999999999999999}"#, "bad_ttl", "whole number"),
        (r#"{"key":"a","value":"","ttl":1,"expires_at":1800000000000001}"#, "bad_ttl", "exclude each other"),
        (r#"{"op":"batch"}"#, "bad_batch", "ops is missing"),
        (r#"{"op":"batch","ops":{}}"#, "bad_batch", "ops must be an array, not an object"),
        (r#"{"op":"batch","ops":[]}"#, "bad_batch", "ops has 0 elements; 1 to 1000 are allowed"),
        (r#"{"op":"batch","if_rev":0,"ops":[]}"#, "bad_batch", "if_rev belongs to the ops"),
        (
            r#"{"traceparent":7,"key":"a","value":""}"#,
            "bad_member",
            "traceparent must be a string, not a number",
        ),
        (
            r#"{"traceparent":[],"op":"batch","ops":[]}"#,
            "bad_member",
            "traceparent must be a string, not an array",
        ),
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
fn a_delete_tells_what_it_did() {
    let text = r#"{"id":8,"op":"delete","key":"a","value":17}"#;
    assert_eq!(op(&accepted(text)).change, Change::Delete);
    assert_eq!(
        reply(text, |_| Outcome::Deleted(Rev(9))),
        r#"{"message":"a deleted","status":200,"id":8,"rev":9}"#
    );
    let nothing = r#"{"message":"No value found for key a","status":404,"id":8}"#;
    assert_eq!(reply(text, |_| Outcome::Absent), nothing);
}

#[test]
fn the_reply_to_a_false_condition_has_the_current_revision() {
    let text = r#"{"id":"x","key":"lock","value":"me","if_rev":0}"#;
    assert_eq!(op(&accepted(text)).if_rev, Some(Rev(0)));
    assert_eq!(
        reply(text, |_| Outcome::Mismatch(Rev(998))),
        r#"{"message":"rev mismatch for key lock","status":412,"code":"rev_mismatch","id":"x","rev":998}"#
    );
    let largest = r#"{"key":"a","value":"","if_rev":9223372036854775807}"#;
    assert_eq!(reply(largest, Outcome::Created), r#"{"message":"a created","status":200,"rev":9}"#);
}

#[test]
fn an_expiry_is_a_number_of_seconds_or_an_instant() {
    let expiry = |members: &str| match op(&accepted(&format!(r#"{{"key":"a","value":"",{members}}}"#))).change
    {
        Change::Set(_, expiry) => expiry,
        Change::Delete => panic!("a set"),
    };
    assert_eq!(expiry(r#""ttl":1"#), Expiry::After(1));
    assert_eq!(expiry(r#""ttl":3153600000"#), Expiry::After(3_153_600_000));
    assert_eq!(expiry(r#""expires_at":1800000000000001"#), Expiry::At(NOW + 1));
    assert_eq!(expiry(r#""ttl":null,"expires_at":null"#), Expiry::Never);
}

#[test]
fn a_batch_is_answered_op_by_op() {
    let text = r#"{"id":9,"op":"batch","ops":[{"key":"a","value":"1"},{"op":"delete","key":"b","id":"in"}]}"#;
    let request = accepted(text);
    assert!(request.write.shows_rev());
    let all = |outcomes: &[Outcome]| written(&request.envelope, &WriteOutcome::All(outcomes.to_vec()));
    assert_eq!(
        all(&[Outcome::Created(Some(Rev(1045))), Outcome::Deleted(Rev(1046))]),
        r#"{"message":"2 ops committed","status":200,"id":9,"rev":1046,"results":[{"message":"a created","status":200,"rev":1045},{"message":"b deleted","status":200,"id":"in","rev":1046}]}"#
    );
    assert_eq!(
        all(&[Outcome::Absent, Outcome::Absent]),
        r#"{"message":"2 ops committed","status":200,"id":9,"results":[{"message":"No value found for key a","status":404},{"message":"No value found for key b","status":404,"id":"in"}]}"#
    );
    assert_eq!(
        written(&request.envelope, &WriteOutcome::Mismatch { index: 1, rev: Rev(7) }),
        r#"{"message":"rev mismatch for key b","status":412,"code":"rev_mismatch","id":9,"rev":7,"key":"b","index":1}"#
    );
}

#[test]
fn the_first_invalid_op_fails_its_batch() {
    for (ops, expected) in [
        (
            r#"{"key":"a","value":""},{"key":"b","value":1}"#,
            r#"{"message":"value must be a string, not a number","status":422,"code":"bad_value","id":9,"key":"b","index":1}"#,
        ),
        (
            r#"{"value":1},{}"#,
            r#"{"message":"key is missing","status":422,"code":"bad_key","id":9,"index":0}"#,
        ),
        (
            r#"{"key":"a","op":"batch","ops":[]}"#,
            r#"{"message":"a batch cannot be inside a batch","status":422,"code":"bad_batch","id":9,"key":"a","index":0}"#,
        ),
        (
            r#"{"key":"a","value":""},{"key":"b","value":""},{"op":"delete","key":"a"}"#,
            r#"{"message":"a batch has each key once","status":422,"code":"bad_batch","id":9,"key":"a","index":2}"#,
        ),
        (
            r#"{"key":"a","value":""},{"key":"a","value":""},{"key":""}"#,
            r#"{"message":"a batch has each key once","status":422,"code":"bad_batch","id":9,"key":"a","index":1}"#,
        ),
        (
            r#"{"key":"a","value":1},{"key":"\ud800"}"#,
            r#"{"message":"value must be a string, not a number","status":422,"code":"bad_value","id":9,"key":"a","index":0}"#,
        ),
        (
            r#"{"key":"a","value":""},null"#,
            r#"{"message":"an op must be an object, not null","status":422,"code":"bad_batch","id":9,"index":1}"#,
        ),
        (
            r#"{"key":"a","value":"","value":""}"#,
            r#"{"message":"not one JSON object: member value stands there twice at line 1 column 33","status":400,"code":"bad_json","id":9,"index":0}"#,
        ),
    ] {
        assert_eq!(refused(&format!(r#"{{"id":9,"op":"batch","ops":[{ops}]}}"#)).2, expected);
    }
    let many = |count: usize| {
        let ops: Vec<String> = (0..count).map(|at| format!(r#"{{"op":"delete","key":"{at}"}}"#)).collect();
        format!(r#"{{"op":"batch","ops":[{}]}}"#, ops.join(","))
    };
    accepted(&many(1000));
    assert!(refused(&many(1001)).2.contains("ops has more than 1000 elements; 1 to 1000 are allowed"));
}

proptest! {
    #[test]
    fn no_text_panics(text in ".*") {
        drop(read(&text));
    }

    #[test]
    fn any_key_and_value_arrive_as_they_were_sent(key in ".{1,128}", value in ".*") {
        prop_assume!(key.len() <= 512);
        let text = serde_json::json!({ "key": key, "value": value }).to_string();
        let request = accepted(&text);
        prop_assert_eq!(op(&request).key.as_str(), &key);
        let stored = Value::new(value, 1 << 20).expect("it fits");
        prop_assert_eq!(&op(&request).change, &Change::Set(stored, Expiry::Never));
        let reply: serde_json::Value = serde_json::from_str(&reply(&text, Outcome::Created)).expect("JSON");
        let expected = format!("{key} created");
        prop_assert_eq!(reply["message"].as_str(), Some(expected.as_str()));
    }

    #[test]
    fn no_damaged_message_panics(at in 0usize..60, byte in any::<char>()) {
        let mut text: Vec<char> = r#"{"id":"7","op":"set","key":"hello","value":"w\u00e9rld"}"#.chars().collect();
        let at = at.min(text.len() - 1);
        text[at] = byte;
        drop(read(&text.into_iter().collect::<String>()));
    }
}
