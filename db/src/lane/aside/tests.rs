//! Which writes wait, and which go.

use super::*;
use crate::lane::pending::Ticket;
use crate::lane::samples::{atomic, due, name};

fn key(name: &str) -> Key {
    Key::new(name.to_owned(), 512).expect("a short key")
}

fn names(writes: &[PendingWrite]) -> Vec<String> {
    writes.iter().map(name).collect()
}

/// An empty set with room for `writes` writes, and a place for tickets.
fn aside(writes: usize) -> (SetAside, Vec<Ticket>) {
    (SetAside::new(writes, 1 << 20), Vec::new())
}

fn push(aside: &mut SetAside, tickets: &mut Vec<Ticket>, (pending, ticket): (PendingWrite, Ticket)) {
    tickets.push(ticket);
    assert!(aside.has_room(&pending.write));
    aside.push(pending);
}

#[tokio::test(start_paused = true)]
async fn a_write_waits_while_one_of_its_keys_is_held() {
    let (mut aside, mut tickets) = aside(10);
    let (single, of_both) = (due("a", 1), atomic(&["b", "a"], 1));
    assert!(!aside.holds(&single.0.write));
    aside.found_locked(&key("a"));
    assert!(aside.holds(&single.0.write) && aside.holds(&of_both.0.write));
    assert!(!aside.holds(&due("b", 1).0.write));
    push(&mut aside, &mut tickets, single);
    push(&mut aside, &mut tickets, of_both);
    assert!(!aside.holds(&due("b", 1).0.write), "an atomic write does not hold its other keys");
    assert_eq!(names(&aside.take_free(|_| true)), [""; 0]);
    aside.found_unlocked(&key("a"));
    assert_eq!(names(&aside.take_free(|_| true)), ["a", "ba"]);
    assert!(aside.is_empty() && aside.has_no_writes());
}

#[tokio::test(start_paused = true)]
async fn while_a_write_waits_later_writes_of_its_key_stay_behind_it() {
    let (mut aside, mut tickets) = aside(10);
    aside.found_locked(&key("a"));
    for millis in [3, 4] {
        push(&mut aside, &mut tickets, due("a", millis));
    }
    // These two were in the batch that met the lock.
    let older = [due("a", 1), due("a", 2)].map(|(pending, ticket)| {
        tickets.push(ticket);
        pending
    });
    aside.put_back(older.into());
    aside.found_unlocked(&key("a"));
    let mut room = 3;
    let mut fits = |_: &PendingWrite| {
        room -= 1;
        room >= 0
    };
    let first = aside.take_free(&mut fits);
    let deadlines: Vec<Instant> = first.iter().map(|pending| pending.deadline).collect();
    assert!(deadlines.len() == 3 && deadlines.is_sorted());
    assert!(aside.holds(&due("a", 5).0.write), "one still waits, so a new one must not overtake it");
    assert_eq!(aside.take_free(|_| true).len(), 1);
    assert!(!aside.holds(&due("a", 5).0.write));
}

#[tokio::test(start_paused = true)]
async fn an_atomic_write_waits_for_one_locked_key_after_the_other() {
    let (mut aside, mut tickets) = aside(10);
    aside.found_locked(&key("a"));
    aside.found_locked(&key("b"));
    push(&mut aside, &mut tickets, atomic(&["a", "b"], 1));
    for name in ["a", "b"] {
        assert_eq!(aside.take_free(|_| true).len(), 0);
        aside.found_unlocked(&key(name));
    }
    assert_eq!(aside.take_free(|_| true).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_locked_key_is_looked_at_again_after_5_to_100_ms() {
    let (mut aside, mut tickets) = aside(10);
    let begun = Instant::now();
    let mut waits = Vec::new();
    aside.found_locked(&key("a"));
    push(&mut aside, &mut tickets, due("a", 10_000));
    for _ in 0..8 {
        assert_eq!(aside.keys_to_check(), [], "not yet");
        let next = aside.next_try().expect("a write waits");
        waits.push((next - Instant::now()).as_millis());
        tokio::time::sleep_until(next).await;
        assert_eq!(aside.keys_to_check(), [key("a")]);
        aside.found_locked(&key("a"));
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 100, 100, 100]);
    assert_eq!(aside.deadline(), Some(begun + Duration::from_secs(10)));
}

#[tokio::test(start_paused = true)]
async fn no_more_writes_wait_than_there_is_room_for() {
    let (mut full, mut tickets) = aside(2);
    full.found_locked(&key("a"));
    for _ in 0..2 {
        push(&mut full, &mut tickets, due("a", 1));
    }
    let (third, _ticket) = due("a", 1);
    assert!(!full.has_room(&third.write), "there is room for two");
    full.put_back(vec![third]);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(
        full.take_late(Instant::now()).len(),
        3,
        "a write that was in a batch has a place in any case"
    );
    assert!(full.has_no_writes());
    let mut small = SetAside::new(10, 300);
    small.found_locked(&key("a"));
    push(&mut small, &mut tickets, due("a", 1));
    assert!(!small.has_room(&due("a", 1).0.write), "two deletes have 514 bytes");
    let mut tiny = SetAside::new(10, 100);
    tiny.found_locked(&key("a"));
    assert!(tiny.has_room(&due("a", 1).0.write), "a larger write than all may have can wait alone");
    push(&mut tiny, &mut tickets, due("a", 1));
    assert!(!tiny.has_room(&due("a", 1).0.write));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_cannot_be_written_is_tried_by_itself() {
    let (mut aside, mut tickets) = aside(10);
    assert!(aside.found_unwritable(&key("a")) && !aside.found_unwritable(&key("a")));
    aside.found_unlocked(&key("a"));
    assert!(aside.holds(&due("a", 1).0.write), "to be free of locks is not enough");
    for write in [due("a", 9000), due("a", 9000), atomic(&["a", "b"], 9000), due("a", 9000)] {
        push(&mut aside, &mut tickets, write);
    }
    assert_eq!(names(&aside.take_trial(|_| true)), [""; 0], "not yet");
    tokio::time::advance(2 * UNWRITABLE_MIN).await;
    assert_eq!(names(&aside.take_trial(|_| true)), ["a", "a"]);
    assert_eq!(names(&aside.take_trial(|_| true)), ["ab"]);
    assert_eq!(names(&aside.take_trial(|_| true)), ["a"]);
    tokio::time::advance(REMEMBERED_FOR).await;
    aside.take_late(Instant::now());
    assert!(aside.is_empty(), "after a while it is forgotten");
}

#[tokio::test(start_paused = true)]
async fn attempts_look_for_locks_while_one_is_held_for_long() {
    let (mut aside, mut tickets) = aside(10);
    aside.found_locked(&key("a"));
    push(&mut aside, &mut tickets, due("a", 90_000));
    assert!(!aside.checks_locks(), "other lanes hold locks, too, but not for long");
    tokio::time::advance(LONG_LOCK_MIN).await;
    aside.found_locked(&key("a"));
    assert!(aside.checks_locks());
    tokio::time::advance(LOCK_CHECKS_FOR).await;
    assert!(!aside.checks_locks());
}

#[tokio::test(start_paused = true)]
async fn a_locked_key_is_remembered_after_its_writes_are_refused() {
    let (mut aside, mut tickets) = aside(10);
    aside.found_locked(&key("a"));
    push(&mut aside, &mut tickets, due("a", 1));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(aside.take_late(Instant::now()).len(), 1);
    assert_eq!((aside.keys_to_check(), aside.next_try()), (Vec::new(), None), "nothing waits for it");
    assert!(aside.holds(&due("a", 1).0.write));
    push(&mut aside, &mut tickets, due("a", 1));
    assert_eq!(aside.keys_to_check(), [key("a")], "the next write of it is looked at without a wait");
}

/// The next trial of `aside`.
fn trial(aside: &mut SetAside) -> Vec<String> {
    names(&aside.take_trial(|_| true))
}

#[tokio::test(start_paused = true)]
async fn suspects_are_tried_in_parts_whose_size_follows_the_results() {
    let (mut aside, mut tickets) = aside(10);
    let mut suspects = Vec::new();
    for (pending, ticket) in ["c", "a", "b", "a", "d", "e"].map(|key| due(key, 1)) {
        tickets.push(ticket);
        suspects.push(pending);
    }
    aside.suspect(suspects, 2);
    assert!(aside.holds(&due("d", 2).0.write), "a later write stays behind");
    let two = aside.take_trial(|_| true);
    assert_eq!(names(&two), ["a", "a", "b"], "single writes of a key belong together");
    aside.suspect(two, 1);
    assert_eq!(trial(&mut aside), ["a", "a"]);
    assert!(aside.found_unwritable(&key("a")));
    assert_eq!(trial(&mut aside), ["b"], "after a failure the size stays");
    aside.trial_passed();
    aside.found_free(&key("b"));
    assert_eq!(trial(&mut aside), ["c", "d"], "after a success it doubles");
    aside.trial_passed();
    for name in ["c", "d"] {
        aside.found_free(&key(name));
    }
    assert_eq!(trial(&mut aside), ["e"]);
    aside.found_free(&key("e"));
    assert!(
        aside.has_no_writes() && aside.holds(&due("a", 1).0.write),
        "only what failed alone is remembered"
    );
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_gets_no_trial_is_forgotten_with_its_last_write() {
    let (mut aside, _tickets) = aside(10);
    let (pending, _ticket) = due("a", 1);
    aside.suspect(vec![pending], 1);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(aside.take_late(Instant::now()).len(), 1);
    assert!(aside.is_empty());
}

#[tokio::test(start_paused = true)]
async fn each_suspected_atomic_write_is_tried_by_itself() {
    let (mut aside, mut tickets) = aside(10);
    let mut suspects = Vec::new();
    for (pending, ticket) in [atomic(&["a", "b"], 1), due("a", 1), due("a", 1), atomic(&["x", "a"], 1)] {
        tickets.push(ticket);
        suspects.push(pending);
    }
    aside.suspect(suspects, 1);
    for expected in [&["ab"][..], &["a", "a"], &["xa"], &[]] {
        assert_eq!(trial(&mut aside), expected);
    }
}
