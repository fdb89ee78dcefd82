//! Which write goes first, and which is never overtaken.

use std::time::Duration;

use super::*;
use crate::lane::samples;
use crate::lane::samples::{atomic, name};

/// A write with a deadline in `millis` milliseconds.
fn due(name: &str, millis: u64) -> PendingWrite {
    samples::due(name, millis).0
}

/// Sends a write. The larger `arrival` is, the younger the write.
fn put(sender: &QueueSender, priority: Priority, name: &str, arrival: u64) {
    sender.channel(priority).try_reserve().expect("there is room").send(due(name, 1000 + arrival));
}

fn names(receiver: &mut QueueReceiver) -> Vec<String> {
    std::iter::from_fn(|| receiver.next()).map(|pending| name(&pending)).collect()
}

/// The names of the next writes.
fn next(receiver: &mut QueueReceiver, count: usize) -> Vec<String> {
    (0..count).filter_map(|_| receiver.next()).map(|pending| name(&pending)).collect()
}

#[tokio::test(start_paused = true)]
async fn high_priority_gets_at_most_half_of_the_work() {
    // The credit is at most three ops.
    let (sender, mut receiver) = QueueReceiver::new(20, 5);
    for number in 0..9 {
        put(&sender, Priority::Normal, &format!("b{number}"), number);
    }
    for number in 0..6 {
        put(&sender, Priority::High, &format!("f{number}"), 10 + number);
    }
    assert_eq!(sender.depth().get(), 15);
    receiver.begin_batch();
    assert_eq!(next(&mut receiver, 5), ["f0", "f1", "f2", "b0", "f3"]);
    receiver.begin_batch();
    assert_eq!(next(&mut receiver, 4), ["b1", "f4", "b2", "f5"]);
    receiver.begin_batch();
    assert_eq!(names(&mut receiver), ["b3", "b4", "b5", "b6", "b7", "b8"]);
    assert!(receiver.is_empty());
    assert_eq!(sender.depth().get(), 0);
}

#[tokio::test(start_paused = true)]
async fn large_writes_of_high_priority_do_not_keep_others_waiting() {
    // Each write of high priority is twice as large as a whole batch.
    let (sender, mut receiver) = QueueReceiver::new(20, 2);
    for number in 0..5 {
        put(&sender, Priority::Normal, &format!("b{number}"), number);
    }
    let large = |number: u64| atomic(&["x"; 4], 2000 + number).0;
    for number in 0..3 {
        sender.channel(Priority::High).try_reserve().expect("there is room").send(large(number));
    }
    receiver.begin_batch();
    assert_eq!(next(&mut receiver, 5), ["xxxx", "b0", "b1", "b2", "b3"], "it owed three");
    receiver.begin_batch();
    assert_eq!(next(&mut receiver, 3), ["xxxx", "b4", "xxxx"]);
}

#[tokio::test(start_paused = true)]
async fn a_later_write_never_overtakes_a_waiting_write_of_high_priority() {
    // A batch of two: one write of high priority goes ahead, the others wait, and the next write of a sender has normal priority.
    let (sender, mut receiver) = QueueReceiver::new(10, 2);
    for (age, name) in ["f1", "f2", "f3", "f4"].into_iter().enumerate() {
        put(&sender, Priority::High, name, age as u64);
    }
    put(&sender, Priority::Normal, "after f4", 10);
    let first = due("f1", 0);
    receiver.begin_batch();
    assert_eq!(receiver.peek().map(name).as_deref(), Some("f1"));
    assert_eq!(receiver.count_before_keys_of(std::slice::from_ref(&first)), 0);
    assert_eq!(receiver.count_before_keys_of(&[due("f2", 0)]), 1);
    assert_eq!(receiver.count_before_keys_of(&[due("f4", 0)]), 2, "f3 and f4 are not in the buffer");
    assert_eq!(names(&mut receiver), ["f1", "f2", "f3", "f4", "after f4"]);
}

#[tokio::test(start_paused = true)]
async fn a_closed_queue_still_gives_out_its_writes() {
    let (sender, mut receiver) = QueueReceiver::new(10, 4);
    put(&sender, Priority::Normal, "b1", 0);
    assert_eq!(receiver.receive().await, ReceiveResult::Writes);
    let depth = sender.depth();
    put(&sender, Priority::High, "f1", 1);
    assert_eq!(depth.get(), 1);
    drop(sender);
    assert_eq!(names(&mut receiver), ["b1", "f1"]);
    assert_eq!((receiver.receive().await, depth.get()), (ReceiveResult::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn an_overdue_write_is_taken_out_wherever_it_waits() {
    let (sender, mut receiver) = QueueReceiver::new(5, 1);
    for (name, millis) in [("b1", 2000), ("b2", 1000), ("b3", 999), ("b4", 3000)] {
        sender.channel(Priority::Normal).try_reserve().expect("there is room").send(due(name, millis));
    }
    put(&sender, Priority::High, "f1", 0);
    assert_eq!(
        receiver.deadline(),
        Some(Instant::now() + Duration::from_secs(1)),
        "only the first of each channel is in a buffer"
    );
    tokio::time::advance(Duration::from_millis(1500)).await;
    let late: Vec<String> = receiver.take_late(Instant::now()).iter().map(name).collect();
    assert_eq!(late, ["f1", "b2", "b3"]);
    assert!(receiver.take_late(Instant::now()).is_empty());
    for number in 0..OUT_OF_ORDER_MAX + 8 {
        if sender.channel(Priority::Normal).try_reserve().is_err() {
            assert!(receiver.take_late(Instant::now()).is_empty());
        }
        put(&sender, Priority::Normal, &format!("c{number}"), 5000);
    }
    assert!(receiver.take_late(Instant::now()).is_empty());
    assert_eq!(sender.depth().get(), 5, "the buffer holds its channel and 256 more: then senders wait");
    assert_eq!(names(&mut receiver)[..3], ["b1", "b4", "c0"]);
}

#[tokio::test(start_paused = true)]
async fn an_older_write_of_normal_priority_is_found_once_the_credit_is_spent() {
    let (sender, mut receiver) = QueueReceiver::new(10, 2);
    put(&sender, Priority::Normal, "b1", 1);
    sender.channel(Priority::High).try_reserve().expect("there is room").send(atomic(&["x"; 4], 1005).0);
    put(&sender, Priority::High, "f1", 6);
    receiver.begin_batch();
    assert_eq!(next(&mut receiver, 2), ["xxxx", "b1"]);
    put(&sender, Priority::Normal, "b2", 2);
    assert_eq!(names(&mut receiver), ["b2", "f1"]);
}

#[tokio::test(start_paused = true)]
async fn a_write_of_normal_priority_waits_until_high_priority_is_known() {
    // The buffer of high priority holds two, and three writes are older than the one of normal priority.
    let (sender, mut receiver) = QueueReceiver::new(10, 2);
    for (arrival, name) in ["f1", "f2", "f3"].into_iter().enumerate() {
        put(&sender, Priority::High, name, arrival as u64);
    }
    put(&sender, Priority::Normal, "b1", 5);
    put(&sender, Priority::Normal, "b2", 6);
    assert_eq!(receiver.receive().await, ReceiveResult::Writes);
    assert_eq!(receiver.count_before_keys_of(&[]), 2, "the third of high priority is not in the buffer");
    assert_eq!(names(&mut receiver), ["f1", "f2", "f3", "b1", "b2"]);
}
