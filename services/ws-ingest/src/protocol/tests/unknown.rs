//! Unknown members on a socket that refuses them.

use super::*;

/// The reply to a message that must be refused.
fn refused(text: &str) -> String {
    let refused = parse(text, LIMITS, UnknownMembers::Refused, || NOW).expect_err(text);
    assert_eq!(refused.problem.code, Code::BadMember, "{text}");
    refused.reply()
}

/// Why a set with this member is refused.
fn message(member: &str) -> String {
    let text = serde_json::json!({ "key": "a", "value": "", member: 1 }).to_string();
    let reply: serde_json::Value = serde_json::from_str(&refused(&text)).expect("a reply is JSON");
    reply["message"].as_str().expect("a refusal has a message").to_owned()
}

#[test]
fn the_known_member_that_is_meant_is_named() {
    for (member, meant) in [
        ("ifrev", "if_rev"),
        ("if-rev", "if_rev"),
        ("IF_REV", "if_rev"),
        ("TTL", "ttl"),
        ("tll", "ttl"),
        ("Key", "key"),
        ("keys", "key"),
        ("vlaue", "value"),
        ("val", "value"),
        ("expiresAt", "expires_at"),
        ("expires", "expires_at"),
        ("trace_parent", "traceparent"),
    ] {
        assert_eq!(message(member), format!("unknown member {member}; did you mean {meant}?"));
    }
}

#[test]
fn a_member_that_resembles_none_is_answered_with_all_that_are_known() {
    let known = "the known members are id, op, key, value, if_rev, ttl, expires_at, ops, traceparent";
    for member in ["rev", "colour", "", "expires_at_the_end_of_the_day"] {
        assert_eq!(message(member), format!("unknown member {member}; {known}"));
    }
    let long = "x".repeat(5000);
    assert_eq!(message(&long), format!("unknown member {}; {known}", &long[..64]));
}

#[test]
fn the_refusal_has_the_id_and_in_a_batch_the_key_and_the_index() {
    assert_eq!(
        refused(r#"{"ifrev":0,"key":"a","value":"","id":7}"#),
        r#"{"message":"unknown member ifrev; did you mean if_rev?","status":422,"code":"bad_member","id":7}"#
    );
    assert_eq!(
        refused(r#"{"id":9,"op":"batch","ops":[{"key":"a","value":""},{"TTL":1,"key":"b","value":""}]}"#),
        r#"{"message":"unknown member TTL; did you mean ttl?","status":422,"code":"bad_member","id":9,"key":"b","index":1}"#
    );
    assert_eq!(
        refused(r#"{"id":9,"op":"batch","Ops":[]}"#),
        r#"{"message":"unknown member Ops; did you mean ops?","status":422,"code":"bad_member","id":9}"#
    );
}

#[test]
fn every_known_member_is_taken() {
    for text in [
        r#"{"id":1,"op":"set","key":"a","value":"","if_rev":0,"ttl":1,"expires_at":null,"ops":null,"traceparent":""}"#,
        r#"{"id":1,"op":"batch","ops":[{"id":2,"op":"set","key":"a","value":"","if_rev":0,"ttl":1}]}"#,
    ] {
        parse(text, LIMITS, UnknownMembers::Refused, || NOW).expect("it has no unknown member");
    }
}
