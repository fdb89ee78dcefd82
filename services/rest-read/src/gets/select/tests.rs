//! What a SELECT's rows mean for those who share it.

use db::Rev;
use tokio::sync::oneshot::{self, Receiver};

use super::*;
use crate::backlog::charged;

type Reply = Receiver<Result<Read, LookupError>>;

fn key(text: &str) -> Key {
    Key::new(text.into(), usize::MAX).expect("a valid key")
}

fn row(text: &str, value: &str) -> Entry {
    Entry { key: key(text), value: value.into(), rev: Rev(1) }
}

fn ask(backlog: &Arc<Backlog>, keys: &[&str]) -> (Ask, Reply) {
    let (reply, answer) = oneshot::channel();
    (Ask::new(keys.iter().map(|text| key(text)).collect(), backlog.charge(), reply), answer)
}

fn batch(asks: &[&[&str]]) -> (Vec<Key>, Batch, Vec<Reply>) {
    batch_with(&Backlog::new(usize::MAX), asks)
}

fn batch_with(backlog: &Arc<Backlog>, asks: &[&[&str]]) -> (Vec<Key>, Batch, Vec<Reply>) {
    let (asks, replies) = asks.iter().map(|keys| ask(backlog, keys)).unzip();
    let (keys, batch) = Batch::new(asks, Arc::clone(backlog));
    (keys, batch, replies)
}

/// The values of an answer that has come.
fn values(reply: &mut Reply) -> Vec<Option<String>> {
    let read = reply.try_recv().expect("it was answered").expect("it was not refused");
    let Read::Answer(answer) = read else { panic!("there was no room: {read:?}") };
    assert_eq!(answer.keys.len(), answer.found.len());
    answer.found.into_iter().map(|found| found.map(|entry| entry.value)).collect()
}

fn waits(reply: &mut Reply) -> bool {
    reply.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty)
}

#[test]
fn a_key_is_selected_once_however_many_want_it() {
    let (keys, ..) = batch(&[&["b"], &["a", "b"], &["b", "c"], &["a"]]);
    assert_eq!(keys, ["a", "b", "c"].map(key));
}

#[test]
fn each_row_is_answered_as_it_comes_and_the_rest_is_absent() {
    let (keys, mut batch, mut replies) = batch(&[&["b"], &["a"], &["b"], &["none"]]);
    batch.row(&keys, row("b", "2"));
    assert_eq!(values(&mut replies[0]), [Some("2".to_owned())]);
    assert_eq!(values(&mut replies[2]), [Some("2".to_owned())]);
    assert!(waits(&mut replies[1]) && waits(&mut replies[3]));
    batch.finish();
    assert_eq!(values(&mut replies[1]), [None]);
    assert_eq!(values(&mut replies[3]), [None]);
}

#[test]
fn a_multi_get_is_answered_whole_and_in_its_own_order() {
    let (keys, mut batch, mut replies) = batch(&[&["c", "none", "a"], &["c", "a"]]);
    batch.row(&keys, row("a", "1"));
    assert!(waits(&mut replies[0]) && waits(&mut replies[1]));
    batch.row(&keys, row("c", "3"));
    assert_eq!(values(&mut replies[1]), [Some("3".to_owned()), Some("1".to_owned())]);
    assert!(waits(&mut replies[0]), "its third key may still come");
    batch.finish();
    assert_eq!(values(&mut replies[0]), [Some("3".to_owned()), None, Some("1".to_owned())]);
}

#[test]
fn a_multi_get_never_mixes_the_rows_of_two_selects() {
    let (keys, mut first, mut replies) = batch(&[&["a", "b"], &["a"], &["b"]]);
    first.row(&keys, row("a", "old"));
    assert_eq!(values(&mut replies[1]), [Some("old".to_owned())]);
    drop(replies.pop());
    let again = first.retry();
    assert_eq!(again.len(), 1, "who was answered or left is not asked for again");
    let (keys, mut second) = Batch::new(again, Backlog::new(usize::MAX));
    second.row(&keys, row("b", "new"));
    second.finish();
    assert_eq!(values(&mut replies[0]), [None, Some("new".to_owned())]);
}

#[test]
fn values_of_more_than_16_mib_are_refused_with_their_size() {
    let mebibyte = "v".repeat(1024 * 1024);
    let names: Vec<String> = (10..27).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (keys, mut batch, mut replies) = batch(&[&names, &names[..16]]);
    let backlog = Arc::clone(&batch.backlog);
    for name in &names {
        batch.row(&keys, row(name, &mebibyte));
    }
    let refused = replies[0].try_recv().expect("it was answered").err();
    assert_eq!(refused, Some(LookupError::TooLarge { bytes: 17 * 1024 * 1024 }));
    let kept = ANSWER_BYTES_MAX..ANSWER_BYTES_MAX + 16 * 100;
    assert!(kept.contains(&backlog.bytes()), "what is refused is not kept");
    assert_eq!(values(&mut replies[1]).len(), 16);
    assert_eq!(backlog.bytes(), 0);
}

#[test]
fn a_large_answer_without_room_is_not_kept_and_small_ones_are_answered() {
    let backlog = Backlog::new(100_000);
    let _unread = charged(&backlog, 90_000);
    let (keys, mut batch, mut replies) = batch_with(&backlog, &[&["a", "b", "c"], &["b"], &["c"]]);
    let large = "v".repeat(30_000);
    for (key, value) in [("a", &*large), ("b", "small"), ("c", &large)] {
        batch.row(&keys, row(key, value));
    }
    assert_eq!(values(&mut replies[1]), [Some("small".to_owned())]);
    assert_eq!(backlog.bytes(), 90_000, "nothing is kept for who finds no room");
    let Ok(Ok(Read::NoRoom(asked, NoRoom { bytes }))) = replies[0].try_recv() else { panic!("it had room") };
    assert_eq!(asked, ["a", "b", "c"].map(key));
    assert!((60_000..61_000).contains(&bytes), "all of it is reserved for: {bytes}");
    assert!(matches!(replies[2].try_recv(), Ok(Ok(Read::NoRoom(..)))));
}

#[test]
fn a_failure_for_good_is_told_to_everyone() {
    let (_, batch, mut replies) = batch(&[&["a"], &["b"]]);
    batch.fail();
    for reply in &mut replies {
        assert_eq!(reply.try_recv().expect("it was answered").err(), Some(LookupError::Internal));
    }
}

#[test]
#[should_panic(expected = "a SELECT brings no key that it was not asked for")]
fn a_row_that_nobody_asked_for_is_not_overlooked() {
    let (keys, mut batch, _) = batch(&[&["a"]]);
    batch.row(&keys, row("b", "1"));
}

#[test]
#[should_panic(expected = "a SELECT brought a key twice")]
fn a_second_row_of_a_key_does_not_stand_for_that_of_another() {
    let (keys, mut batch, _replies) = batch(&[&["a", "b"]]);
    batch.row(&keys, row("a", "1"));
    batch.row(&keys, row("a", "2"));
}

#[test]
#[should_panic(expected = "who has all rows gets no other")]
fn who_was_answered_gets_no_other_row() {
    let (keys, mut batch, _replies) = batch(&[&["a"]]);
    batch.row(&keys, row("a", "1"));
    batch.row(&keys, row("a", "2"));
}

#[test]
fn nobody_is_given_the_key_that_tries_a_connection() {
    let (_, mut batch, _) = batch(&[]);
    batch.row(&[key("probe")], row("probe", "1"));
    batch.finish();
}
