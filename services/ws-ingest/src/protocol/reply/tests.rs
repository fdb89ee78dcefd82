//! Which replies show a revision, and that no message gets the outcome of another.

use super::*;
use crate::protocol::{MessageLimits, UnknownMembers, WriteRequest, parse};

fn request(text: &str) -> WriteRequest {
    let limits = MessageLimits { key_bytes_max: 512, value_bytes_max: 512 };
    parse(text, limits, UnknownMembers::Ignored, || 0)
        .unwrap_or_else(|refused| panic!("{text} was refused: {}", refused.reply()))
}

const ONE: &str = r#"{"key":"a","value":""}"#;
const BATCH: &str = r#"{"op":"batch","ops":[{"key":"a","value":""},{"key":"b","value":""}]}"#;

#[test]
#[should_panic(expected = "a message of one op got the outcome of a batch")]
fn one_op_does_not_get_the_outcomes_of_a_batch() {
    let _ = written(&request(ONE).envelope, &WriteOutcome::All(vec![Outcome::Absent]));
}

#[test]
#[should_panic(expected = "a message of one op got the outcome of a batch")]
fn one_op_does_not_get_the_failure_of_a_batch() {
    let _ = written(&request(ONE).envelope, &WriteOutcome::Mismatch { index: 0, rev: Rev(1) });
}

#[test]
#[should_panic(expected = "a batch got the outcome of a message of one op")]
fn a_batch_does_not_get_the_outcome_of_one_op() {
    let _ = written(&request(BATCH).envelope, &WriteOutcome::One(Outcome::Absent));
}

#[test]
#[should_panic(expected = "every op of a batch has one outcome")]
fn a_batch_does_not_get_the_outcomes_of_another() {
    let _ = written(&request(BATCH).envelope, &WriteOutcome::All(vec![Outcome::Absent]));
}

#[test]
fn every_member_beside_key_and_value_brings_the_revision() {
    let shows = |members: &str| request(&format!(r#"{{"key":"a","value":""{members}}}"#)).write.shows_rev();
    for none in ["", r#","id":null"#, r#","op":null,"if_rev":null,"ttl":null,"ops":null"#, r#","other":1"#] {
        assert!(!shows(none), "{none}");
    }
    for member in [
        r#","id":0"#,
        r#","op":"set""#,
        r#","op":"delete""#,
        r#","if_rev":0"#,
        r#","ttl":1"#,
        r#","expires_at":1"#,
        r#","ops":[]"#,
    ] {
        assert!(shows(member), "{member}");
    }
    assert!(request(BATCH).write.shows_rev());
}
