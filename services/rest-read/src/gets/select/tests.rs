//! Which row of a SELECT answers which of its gets.

use db::Rev;
use tokio::sync::oneshot::{self, Receiver};

use super::*;
use crate::backlog::charged;

type OutcomeReceiver = Receiver<Result<GetOutcome, ReadError>>;

fn key(text: &str) -> Key {
    Key::new(text.into(), usize::MAX).expect("a valid key")
}

fn row(text: &str, value: &str) -> Entry {
    Entry { key: key(text), value: value.into(), rev: Rev(1) }
}

fn left_out(text: &str, bytes: usize) -> Result<Entry, RowError> {
    Err(RowError::LeftOut { key: text.into(), bytes })
}

fn get(backlog: &Arc<Backlog>, keys: &[&str]) -> (Get, OutcomeReceiver) {
    let (reply, outcome) = oneshot::channel();
    (Get::new(keys.iter().map(|text| key(text)).collect(), backlog.charge(), reply), outcome)
}

fn select(gets: &[&[&str]]) -> (Vec<Key>, Select, Vec<OutcomeReceiver>) {
    select_with(&Backlog::new(usize::MAX), gets)
}

fn select_with(backlog: &Arc<Backlog>, gets: &[&[&str]]) -> (Vec<Key>, Select, Vec<OutcomeReceiver>) {
    let (gets, replies) = gets.iter().map(|keys| get(backlog, keys)).unzip();
    let (keys, select) = Select::new(gets, Arc::clone(backlog));
    (keys, select, replies)
}

/// The values of a reply that has come.
fn values(reply: &mut OutcomeReceiver) -> Vec<Option<String>> {
    let outcome = reply.try_recv().expect("it was answered").expect("it was not refused");
    let GetOutcome::Done(result) = outcome else { panic!("there was no room: {outcome:?}") };
    assert_eq!(result.keys.len(), result.found.len());
    result.found.into_iter().map(|found| found.map(|entry| entry.value)).collect()
}

fn waits(reply: &mut OutcomeReceiver) -> bool {
    reply.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty)
}

#[test]
fn a_key_is_selected_once_however_many_gets_want_it() {
    let (keys, ..) = select(&[&["b"], &["a", "b"], &["b", "c"], &["a"]]);
    assert_eq!(keys, ["a", "b", "c"].map(key));
}

#[test]
fn each_row_is_answered_as_it_comes_and_the_rest_is_absent() {
    let (keys, mut select, mut replies) = select(&[&["b"], &["a"], &["b"], &["none"]]);
    let _ = select.row(&keys, Ok(row("b", "2")));
    assert_eq!(values(&mut replies[0]), [Some("2".to_owned())]);
    assert_eq!(values(&mut replies[2]), [Some("2".to_owned())]);
    assert!(waits(&mut replies[1]) && waits(&mut replies[3]));
    select.finish();
    assert_eq!(values(&mut replies[1]), [None]);
    assert_eq!(values(&mut replies[3]), [None]);
}

#[test]
fn a_multi_get_is_answered_whole_and_in_its_own_order() {
    let (keys, mut select, mut replies) = select(&[&["c", "none", "a"], &["c", "a"]]);
    let _ = select.row(&keys, Ok(row("a", "1")));
    assert!(waits(&mut replies[0]) && waits(&mut replies[1]));
    let _ = select.row(&keys, Ok(row("c", "3")));
    assert_eq!(values(&mut replies[1]), [Some("3".to_owned()), Some("1".to_owned())]);
    assert!(waits(&mut replies[0]), "its third key may still come");
    select.finish();
    assert_eq!(values(&mut replies[0]), [Some("3".to_owned()), None, Some("1".to_owned())]);
}

#[test]
fn a_multi_get_never_mixes_the_rows_of_two_selects() {
    let (keys, mut first, mut replies) = select(&[&["a", "b"], &["a"], &["b"]]);
    let _ = first.row(&keys, Ok(row("a", "old")));
    assert_eq!(values(&mut replies[1]), [Some("old".to_owned())]);
    drop(replies.pop());
    let again = first.retry();
    assert_eq!(again.len(), 1, "an answered or abandoned get is not read again");
    let (keys, mut second) = Select::new(again, Backlog::new(usize::MAX));
    let _ = second.row(&keys, Ok(row("b", "new")));
    second.finish();
    assert_eq!(values(&mut replies[0]), [None, Some("new".to_owned())]);
}

#[test]
fn values_of_more_than_16_mib_are_refused_with_their_size() {
    let mebibyte = "v".repeat(1024 * 1024);
    let names: Vec<String> = (10..27).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (keys, mut select, mut replies) = select(&[&names, &names[..16]]);
    let backlog = Arc::clone(&select.backlog);
    for name in &names {
        let _ = select.row(&keys, Ok(row(name, &mebibyte)));
    }
    let refused = replies[0].try_recv().expect("it was answered").err();
    assert_eq!(refused, Some(ReadError::TooLarge { bytes: 17 * 1024 * 1024 }));
    let kept = REPLY_VALUES_BYTES_MAX..REPLY_VALUES_BYTES_MAX + 16 * 100;
    assert!(kept.contains(&backlog.bytes()), "a refused reply is not kept");
    assert_eq!(values(&mut replies[1]).len(), 16);
    assert_eq!(backlog.bytes(), 0);
}

#[test]
fn a_large_reply_without_room_is_not_kept_and_small_ones_are_sent() {
    let backlog = Backlog::new(100_000);
    let _unread = charged(&backlog, 90_000);
    let (keys, mut select, mut replies) = select_with(&backlog, &[&["a", "b", "c"], &["b"], &["c"]]);
    let large = "v".repeat(30_000);
    for (key, value) in [("a", &*large), ("b", "small"), ("c", &large)] {
        let _ = select.row(&keys, Ok(row(key, value)));
    }
    assert_eq!(values(&mut replies[1]), [Some("small".to_owned())]);
    assert_eq!(backlog.bytes(), 90_000, "a reply without room is not kept");
    let Ok(Ok(GetOutcome::NoRoom(asked, NoRoom { bytes }))) = replies[0].try_recv() else {
        panic!("it had room")
    };
    assert_eq!(asked, ["a", "b", "c"].map(key));
    assert!((60_000..61_000).contains(&bytes), "the whole reply is to be reserved: {bytes}");
    assert!(matches!(replies[2].try_recv(), Ok(Ok(GetOutcome::NoRoom(..)))));
}

#[test]
fn a_value_that_was_left_out_counts_with_its_size() {
    let (keys, mut select, mut replies) = select(&[&["a", "b"], &["b", "c"], &["a", "d"]]);
    assert_eq!(select.value_bytes_max(&keys), Some(REPLY_VALUES_BYTES_MAX / 4), "an even share of a reply");
    assert!(select.row(&keys, left_out("a", REPLY_VALUES_BYTES_MAX)).is_continue());
    let _ = select.row(&keys, Ok(row("b", "1")));
    let _ = select.row(&keys, Ok(row("c", "2")));
    select.finish();
    let too_large = ReadError::TooLarge { bytes: REPLY_VALUES_BYTES_MAX + 1 };
    assert_eq!(replies[0].try_recv().expect("it was answered").err(), Some(too_large));
    assert_eq!(values(&mut replies[1]), [Some("1".to_owned()), Some("2".to_owned())]);
    let Ok(Ok(GetOutcome::NoRoom(keys, NoRoom { bytes }))) = replies[2].try_recv() else {
        panic!("it was answered without its value")
    };
    assert!(keys == ["a", "d"].map(key) && bytes >= REPLY_VALUES_BYTES_MAX, "{keys:?}: {bytes}");
}

#[test]
fn a_select_is_over_once_all_its_gets_are_too_large() {
    let (keys, mut select, mut replies) = select(&[&["a", "b", "c", "d"], &["a", "c", "d"]]);
    assert!(select.row(&keys, left_out("a", REPLY_VALUES_BYTES_MAX)).is_continue(), "not too large");
    assert!(select.row(&keys, Ok(row("b", "1"))).is_continue(), "one of them is");
    assert!(select.row(&keys, Ok(row("c", "1"))).is_break());
    select.finish();
    let bytes = [REPLY_VALUES_BYTES_MAX + 2, REPLY_VALUES_BYTES_MAX + 1];
    for (reply, bytes) in replies.iter_mut().zip(bytes) {
        assert_eq!(reply.try_recv().expect("it was answered").err(), Some(ReadError::TooLarge { bytes }));
    }
}

#[tokio::test]
async fn a_multi_get_with_reserved_room_brings_its_values() {
    let backlog = Backlog::new(usize::MAX);
    let (reply, _outcome) = oneshot::channel();
    let get = Get::new(["a", "b"].map(key).to_vec(), backlog.reserve(100).await, reply);
    assert!(get.is_alone());
    let (keys, select) = Select::new(vec![get], Arc::clone(&backlog));
    assert_eq!(select.value_bytes_max(&keys), Some(REPLY_VALUES_BYTES_MAX));
    let (reply, _outcome) = oneshot::channel();
    let single = Get::new(vec![key("a")], backlog.reserve(100).await, reply);
    assert!(!single.is_alone(), "single gets share a SELECT, however large their values are");
    assert_eq!(Select::new(vec![single], backlog).1.value_bytes_max(&keys), None);
}

#[test]
fn a_failure_for_good_is_told_to_everyone() {
    let (_, select, mut replies) = select(&[&["a"], &["b"]]);
    select.fail();
    for reply in &mut replies {
        assert_eq!(reply.try_recv().expect("it was answered").err(), Some(ReadError::Internal));
    }
}

#[test]
#[should_panic(expected = "a SELECT brings no key that it was not asked for")]
fn a_row_that_nobody_asked_for_is_not_overlooked() {
    let (keys, mut select, _) = select(&[&["a"]]);
    let _ = select.row(&keys, Ok(row("b", "1")));
}

#[test]
#[should_panic(expected = "a SELECT brought a key twice")]
fn a_second_row_of_a_key_does_not_count_as_the_row_of_another() {
    let (keys, mut select, _replies) = select(&[&["a", "b"]]);
    let _ = select.row(&keys, Ok(row("a", "1")));
    let _ = select.row(&keys, Ok(row("a", "2")));
}

#[test]
#[should_panic(expected = "a get that has all rows gets no other")]
fn an_answered_get_gets_no_other_row() {
    let (keys, mut select, _replies) = select(&[&["a"]]);
    let _ = select.row(&keys, Ok(row("a", "1")));
    let _ = select.row(&keys, Ok(row("a", "2")));
}

#[test]
fn no_get_is_given_the_key_that_checks_a_connection() {
    let (_, mut select, _) = select(&[]);
    let _ = select.row(&[key("probe")], Ok(row("probe", "1")));
    select.finish();
}
