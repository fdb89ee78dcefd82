//! Who goes first, and who is never overtaken.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::trial::{self, name};

/// A write that falls due so many milliseconds from now.
fn due(name: &str, millis: u64) -> Pending {
    trial::due(name, millis).0
}

/// Sends a write; the larger `arrival`, the younger it is.
fn put(outbox: &Outbox, place: Place, name: &str, arrival: u64) {
    outbox.at(place).try_enter().expect("there is room").send(due(name, 1000 + arrival));
}

fn names(inbox: &mut Inbox) -> Vec<String> {
    std::iter::from_fn(|| inbox.next()).map(|pending| name(&pending)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_front_goes_ahead_for_half_of_a_batch_and_then_the_oldest() {
    let (outbox, mut inbox) = Inbox::new(10, 5);
    for (age, name) in ["b1", "b2", "b3", "b4"].into_iter().enumerate() {
        put(&outbox, Place::Back, name, age as u64);
    }
    for (age, name) in ["f1", "f2", "f3", "f4", "f5"].into_iter().enumerate() {
        put(&outbox, Place::Front, name, 10 + age as u64);
    }
    put(&outbox, Place::Back, "b5", 20);
    assert_eq!(outbox.depth().get(), 10);
    inbox.begin_batch();
    let first: Vec<String> = (0..5).filter_map(|_| inbox.next()).map(|pending| name(&pending)).collect();
    assert_eq!(first, ["f1", "f2", "f3", "b1", "b2"]);
    inbox.begin_batch();
    assert_eq!(names(&mut inbox), ["f4", "f5", "b3", "b4", "b5"]);
    assert!(inbox.is_empty());
    assert_eq!(outbox.depth().get(), 0);
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
        outbox.at(Place::Back).try_enter().expect("there is room").send(due(name, millis));
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
    for name in ["b5", "b6", "b7", "b8", "b9"] {
        put(&outbox, Place::Back, name, 5000);
    }
    assert!(inbox.take_late(Instant::now()).is_empty());
    assert_eq!(outbox.depth().get(), 2, "a buffer never holds more than its channel can");
    assert_eq!(names(&mut inbox), ["b1", "b4", "b5", "b6", "b7", "b8", "b9"]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_is_not_overtaken() {
    let (outbox, mut inbox) = Inbox::new(1, 1);
    let outbox = Arc::new(outbox);
    put(&outbox, Place::Back, "first", 0);
    assert!(outbox.at(Place::Back).try_enter().is_none(), "the queue is full");
    let waiting = |name: &'static str, age: u64| {
        let outbox = Arc::clone(&outbox);
        async move {
            let pending = due(name, 1000 + age);
            outbox
                .at(Place::Back)
                .enter(async |queue| queue.reserve().await.expect("the inbox is there").send(pending))
                .await;
        }
    };
    let second = tokio::spawn(waiting("second", 1));
    tokio::task::yield_now().await;
    let given_up = tokio::spawn(waiting("given up", 2));
    let third = tokio::spawn(waiting("third", 3));
    tokio::task::yield_now().await;
    given_up.abort();
    assert_eq!(inbox.next().as_ref().map(name).as_deref(), Some("first"));
    // There is room now, but it belongs to the one who waits, even before that one has run.
    assert!(outbox.at(Place::Back).try_enter().is_none());
    second.await.expect("it got in");
    assert_eq!(inbox.next().as_ref().map(name).as_deref(), Some("second"));
    third.await.expect("it got in");
    assert_eq!(inbox.next().as_ref().map(name).as_deref(), Some("third"));
    assert!(outbox.at(Place::Back).try_enter().is_some(), "nobody waits any more");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_something_else_than_room_is_not_overtaken_either() {
    let (outbox, mut inbox) = Inbox::new(5, 5);
    let (outbox, bytes) = (Arc::new(outbox), Arc::new(tokio::sync::Notify::new()));
    let waits = {
        let (outbox, bytes) = (Arc::clone(&outbox), Arc::clone(&bytes));
        tokio::spawn(async move {
            let enter = async |queue: &mpsc::Sender<Pending>| {
                bytes.notified().await;
                queue.reserve().await.expect("the inbox is there").send(due("first", 1000));
            };
            outbox.at(Place::Back).enter(enter).await;
        })
    };
    tokio::task::yield_now().await;
    assert!(outbox.at(Place::Back).try_enter().is_none(), "the channel has room, but somebody waits");
    assert!(outbox.at(Place::Front).try_enter().is_some(), "nobody waits there");
    bytes.notify_one();
    waits.await.expect("it got in");
    put(&outbox, Place::Back, "second", 1);
    assert_eq!(names(&mut inbox), ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn an_older_write_of_the_back_is_found_once_the_quota_is_spent() {
    let (outbox, mut inbox) = Inbox::new(10, 2);
    put(&outbox, Place::Front, "f1", 1);
    put(&outbox, Place::Front, "f2", 2);
    inbox.begin_batch();
    assert_eq!(inbox.next().as_ref().map(name).as_deref(), Some("f1"));
    put(&outbox, Place::Back, "b0", 0);
    assert_eq!(names(&mut inbox), ["b0", "f2"]);
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
