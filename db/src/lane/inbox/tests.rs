//! Who goes first, and who is never overtaken.

use std::time::Duration;

use super::*;
use crate::lane::trial;
use crate::lane::trial::{atomic, name};

/// A write that falls due so many milliseconds from now.
fn due(name: &str, millis: u64) -> Pending {
    trial::due(name, millis).0
}

/// Sends a write; the larger `arrival`, the younger it is.
fn put(outbox: &Outbox, place: Place, name: &str, arrival: u64) {
    outbox.at(place).try_reserve().expect("there is room").send(due(name, 1000 + arrival));
}

fn names(inbox: &mut Inbox) -> Vec<String> {
    std::iter::from_fn(|| inbox.next()).map(|pending| name(&pending)).collect()
}

/// The names of the next writes.
fn next(inbox: &mut Inbox, count: usize) -> Vec<String> {
    (0..count).filter_map(|_| inbox.next()).map(|pending| name(&pending)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_front_goes_ahead_as_long_as_the_back_gets_as_much_done() {
    // The credit of the front is three ops at most.
    let (outbox, mut inbox) = Inbox::new(20, 5);
    for number in 0..9 {
        put(&outbox, Place::Back, &format!("b{number}"), number);
    }
    for number in 0..6 {
        put(&outbox, Place::Front, &format!("f{number}"), 10 + number);
    }
    assert_eq!(outbox.depth().get(), 15);
    inbox.begin_batch();
    assert_eq!(next(&mut inbox, 5), ["f0", "f1", "f2", "b0", "f3"]);
    inbox.begin_batch();
    assert_eq!(next(&mut inbox, 4), ["b1", "f4", "b2", "f5"]);
    inbox.begin_batch();
    assert_eq!(names(&mut inbox), ["b3", "b4", "b5", "b6", "b7", "b8"]);
    assert!(inbox.is_empty());
    assert_eq!(outbox.depth().get(), 0);
}

#[tokio::test(start_paused = true)]
async fn large_writes_of_the_front_do_not_keep_the_back_waiting() {
    // Each write of the front is twice as large as a whole batch.
    let (outbox, mut inbox) = Inbox::new(20, 2);
    for number in 0..5 {
        put(&outbox, Place::Back, &format!("b{number}"), number);
    }
    let large = |number: u64| atomic(&["x"; 4], 2000 + number).0;
    for number in 0..3 {
        outbox.at(Place::Front).try_reserve().expect("there is room").send(large(number));
    }
    inbox.begin_batch();
    assert_eq!(next(&mut inbox, 5), ["xxxx", "b0", "b1", "b2", "b3"], "it owed three");
    inbox.begin_batch();
    assert_eq!(next(&mut inbox, 3), ["xxxx", "b4", "xxxx"]);
}

#[tokio::test(start_paused = true)]
async fn what_came_later_never_goes_before_what_waits_at_the_front() {
    // A batch of two: one at the front goes ahead, the others wait, and one sender's next write is at the back.
    let (outbox, mut inbox) = Inbox::new(10, 2);
    for (age, name) in ["f1", "f2", "f3", "f4"].into_iter().enumerate() {
        put(&outbox, Place::Front, name, age as u64);
    }
    put(&outbox, Place::Back, "after f4", 10);
    let first = due("f1", 0);
    inbox.begin_batch();
    assert_eq!(inbox.peek().map(name).as_deref(), Some("f1"));
    assert_eq!(inbox.count_before_keys_of(std::slice::from_ref(&first)), 0);
    assert_eq!(inbox.count_before_keys_of(&[due("f2", 0)]), 1);
    assert_eq!(inbox.count_before_keys_of(&[due("f4", 0)]), 2, "f3 and f4 are not in the buffer");
    assert_eq!(names(&mut inbox), ["f1", "f2", "f3", "f4", "after f4"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_put_in_before_the_end_comes_out() {
    let (outbox, mut inbox) = Inbox::new(10, 4);
    put(&outbox, Place::Back, "b1", 0);
    assert_eq!(inbox.receive().await, Received::Writes);
    let depth = outbox.depth();
    put(&outbox, Place::Front, "f1", 1);
    assert_eq!(depth.get(), 1);
    drop(outbox);
    assert_eq!(names(&mut inbox), ["b1", "f1"]);
    assert_eq!((inbox.receive().await, depth.get()), (Received::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn what_falls_due_is_taken_out_wherever_it_waits() {
    let (outbox, mut inbox) = Inbox::new(5, 1);
    for (name, millis) in [("b1", 2000), ("b2", 1000), ("b3", 999), ("b4", 3000)] {
        outbox.at(Place::Back).try_reserve().expect("there is room").send(due(name, millis));
    }
    put(&outbox, Place::Front, "f1", 0);
    assert_eq!(
        inbox.deadline(),
        Some(Instant::now() + Duration::from_secs(1)),
        "only the first of each channel is in a buffer"
    );
    tokio::time::advance(Duration::from_millis(1500)).await;
    let late: Vec<String> = inbox.take_late(Instant::now()).iter().map(name).collect();
    assert_eq!(late, ["f1", "b2", "b3"]);
    assert!(inbox.take_late(Instant::now()).is_empty());
    for number in 0..OUT_OF_ORDER_MAX + 8 {
        if outbox.at(Place::Back).try_reserve().is_err() {
            assert!(inbox.take_late(Instant::now()).is_empty());
        }
        put(&outbox, Place::Back, &format!("c{number}"), 5000);
    }
    assert!(inbox.take_late(Instant::now()).is_empty());
    assert_eq!(outbox.depth().get(), 5, "the buffer holds its channel and 256 more: then senders wait");
    assert_eq!(names(&mut inbox)[..3], ["b1", "b4", "c0"]);
}

#[tokio::test(start_paused = true)]
async fn an_older_write_of_the_back_is_found_once_the_credit_is_spent() {
    let (outbox, mut inbox) = Inbox::new(10, 2);
    put(&outbox, Place::Back, "b1", 1);
    outbox.at(Place::Front).try_reserve().expect("there is room").send(atomic(&["x"; 4], 1005).0);
    put(&outbox, Place::Front, "f1", 6);
    inbox.begin_batch();
    assert_eq!(next(&mut inbox, 2), ["xxxx", "b1"]);
    put(&outbox, Place::Back, "b2", 2);
    assert_eq!(names(&mut inbox), ["b2", "f1"]);
}

#[tokio::test(start_paused = true)]
async fn a_write_of_the_back_waits_until_the_front_is_known() {
    // The buffer of the front holds two, and three are older than the one at the back.
    let (outbox, mut inbox) = Inbox::new(10, 2);
    for (arrival, name) in ["f1", "f2", "f3"].into_iter().enumerate() {
        put(&outbox, Place::Front, name, arrival as u64);
    }
    put(&outbox, Place::Back, "b1", 5);
    put(&outbox, Place::Back, "b2", 6);
    assert_eq!(inbox.receive().await, Received::Writes);
    assert_eq!(inbox.count_before_keys_of(&[]), 2, "the third of the front is not in the buffer");
    assert_eq!(names(&mut inbox), ["f1", "f2", "f3", "b1", "b2"]);
}
