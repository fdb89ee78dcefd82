//! What is too much in a message.

use super::*;

/// `count` members that are not known, each with a comma.
fn unknown(count: usize) -> String {
    (0..count).map(|at| format!(r#""x{at}":{at},"#)).collect::<Vec<_>>().concat()
}

#[test]
fn unknown_members_are_ignored_up_to_a_limit() {
    accepted(&format!(r#"{{{}"key":"a","traceparent":"","value":""}}"#, unknown(64)));
    // After the first one over the limit, only known members are looked for: an error there does not matter.
    for end in [r#""key":"a","value":""}"#, "nonsense"] {
        assert_eq!(
            refused(&format!(r#"{{"id":7,{}{end}"#, unknown(65))).2,
            r#"{"message":"member x64 is one unknown member too many; an object may have at most 64 unknown members","status":422,"code":"bad_member","id":7}"#
        );
    }
    let id_last = format!(r#"{{{}"key":"a","value":"","id":[1],"id":8}}"#, unknown(65));
    assert!(refused(&id_last).2.ends_with(r#""code":"bad_member"}"#), "an id that is not valid");
    let id_last = format!(r#"{{{}"key":"a","value":"","id":8}}"#, unknown(65));
    assert!(refused(&id_last).2.ends_with(r#""code":"bad_member","id":8}"#), "{}", refused(&id_last).2);
    let twice = format!(r#"{{{}"x3":0,"key":"a","value":""}}"#, unknown(64));
    assert_eq!(refused(&twice).1, "bad_json", "a member that is there twice is not one more");
    let ops = format!(
        r#"{{"id":9,"op":"batch","ops":[{{"key":"a",{0}"value":""}},{{"key":"b",{1}"value":""}}]}}"#,
        unknown(64),
        unknown(65)
    );
    assert_eq!(
        refused(&ops).2,
        r#"{"message":"member x64 is one unknown member too many; an object may have at most 64 unknown members","status":422,"code":"bad_member","id":9,"key":"b","index":1}"#
    );
}

#[test]
fn a_batch_ends_at_one_op_too_many() {
    // After it there may be anything: the error of the op is not found.
    let ops = format!(r#"{{"op":"batch","ops":[{}{{"key":"a","key":"b"}}]}}"#, "0,".repeat(1000));
    assert_eq!(
        refused(&ops).2,
        r#"{"message":"ops has more than 1000 elements; 1 to 1000 are allowed","status":422,"code":"bad_batch"}"#
    );
}

#[test]
fn a_refusal_of_a_long_key_or_value_names_limit_and_size() {
    let key = format!(r#"{{"key":"{}","value":""}}"#, "é".repeat(257));
    let (status, code, reply) = refused(&key);
    assert_eq!((status, code), (413, "too_large"));
    assert!(reply.contains("key has 514 bytes; at most 512 are allowed"), "{reply}");
    let value = format!(r#"{{"key":"k","value":"{}"}}"#, "v".repeat(1_048_577));
    assert!(refused(&value).2.contains("1048577"));
    let largest = format!(r#"{{"key":"{}","value":"{}"}}"#, "k".repeat(512), "v".repeat(1_048_576));
    accepted(&largest);
}
