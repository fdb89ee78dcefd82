//! Limits of keys and values, and which outcomes show revisions.

use super::*;

#[test]
fn a_key_has_one_to_512_bytes_however_the_limit_is_configured() {
    assert_eq!(Key::new(String::new(), 512), Err(KeyError::Empty));
    assert!(Key::new("k".repeat(512), 512).is_ok());
    let too_long = Err(KeyError::TooLong { len: 513, max: 512 });
    assert_eq!(Key::new("k".repeat(513), usize::MAX), too_long);
    let lower = Err(KeyError::TooLong { len: 4, max: 3 });
    assert_eq!(Key::new("é é".replace(' ', ""), 3), lower);
}

#[test]
fn a_value_may_be_empty_and_has_at_most_a_mebibyte() {
    assert!(Value::new(String::new(), VALUE_BYTES_MAX).is_ok());
    let too_long = ValueTooLong { len: 1_048_577, max: 1_048_576 };
    assert_eq!(Value::new("v".repeat(1_048_577), usize::MAX), Err(too_long));
}

fn op(change: Change, if_rev: Option<Rev>, asks_rev: bool) -> Op {
    Op { key: Key::new("k".into(), 512).expect("short"), change, if_rev, asks_rev }
}

fn set(expiry: Expiry) -> Change {
    Change::Set(Value::new("v".into(), 512).expect("short"), expiry)
}

#[test]
fn only_a_set_without_condition_and_expiry_hides_its_revision() {
    let plain = op(set(Expiry::Never), None, false);
    assert!(!Write::One(plain.clone()).shows_rev());
    for shows in [
        op(Change::Delete, None, false),
        op(set(Expiry::After(1)), None, false),
        op(set(Expiry::At(1)), None, false),
        op(set(Expiry::Never), Some(Rev(0)), false),
        op(set(Expiry::Never), None, true),
    ] {
        assert!(Write::One(shows.clone()).shows_rev(), "{shows:?}");
    }
    assert!(Write::Atomic(vec![plain]).shows_rev(), "an atomic write shows all of its revisions");
}

#[test]
fn an_outcome_has_the_revision_that_the_op_took() {
    assert_eq!(Outcome::Created(Some(Rev(1))).rev(), Some(Rev(1)));
    assert_eq!(Outcome::Updated(Some(Rev(2))).rev(), Some(Rev(2)));
    assert_eq!(Outcome::Updated(None).rev(), None);
    assert_eq!(Outcome::Deleted(Rev(3)).rev(), Some(Rev(3)));
    assert_eq!(Outcome::Absent.rev(), None);
    assert_eq!(Outcome::Mismatch(Rev(4)).rev(), None, "it took none");
}

#[test]
fn a_write_weighs_its_keys_and_values_and_what_its_replies_need() {
    let key = |name: &str| Key::new(name.into(), 512).expect("short");
    let long = Value::new("v".repeat(1000), 1000).expect("it fits");
    let set = Op { key: key("four"), ..op(Change::Set(long, Expiry::Never), None, false) };
    let delete = Op { key: key("seventy"), ..op(Change::Delete, None, false) };
    assert_eq!(Write::One(set.clone()).bytes(), 4 + 1000 + 256);
    assert_eq!(Write::Atomic(vec![set, delete]).bytes(), 4 + 1000 + 256 + 7 + 256);
}

#[test]
fn a_revision_is_shown_as_its_number() {
    assert_eq!(Rev(1_800_000_000_000_000).to_string(), "1800000000000000");
}
