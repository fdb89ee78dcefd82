//! Which writes get into a batch, and which are refused.

use futures_util::FutureExt;

use super::*;
use crate::lane::pending::Ticket;
use crate::lane::samples::{config, due, name};
use crate::lane::sender::{Priority, QueueSender};
use crate::outage::OutageLog;

/// A batcher for batches of up to three writes with two seconds each, and the sender of its queue.
fn feed() -> (QueueSender, Batcher) {
    let (sender, receiver) = QueueReceiver::new(10, 3);
    let state = LaneState::new(OutageLog::new("test"));
    state.set(Ok(()));
    (sender, Batcher::new(receiver, config(3, 1 << 20, Duration::from_secs(2)), state))
}

fn put(sender: &QueueSender, name: &str, millis: u64) -> Ticket {
    let (pending, ticket) = due(name, millis);
    sender.channel(Priority::Normal).try_reserve().expect("there is room").send(pending);
    ticket
}

fn names(batch: &Batch) -> Vec<String> {
    batch.pending().iter().map(name).collect()
}

#[tokio::test(start_paused = true)]
async fn a_batch_takes_waiting_writes_up_to_its_limit() {
    let (sender, mut batcher) = feed();
    assert!(batcher.is_empty());
    let _tickets = ["a", "b", "c", "d"].map(|name| put(&sender, name, 10));
    assert!(!batcher.is_empty());
    assert_eq!(names(&batcher.next_batch()), ["a", "b", "c"]);
    assert_eq!(names(&batcher.next_batch()), ["d"]);
    assert_eq!(batcher.next_batch().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_first_attempt_takes_new_writes_up_to_a_key_that_is_written() {
    let (sender, mut batcher) = feed();
    let _a = put(&sender, "a", 10);
    let mut batch = batcher.next_batch();
    let _b = put(&sender, "b", 10);
    batcher.add_waiting(&mut batch, 0);
    assert_eq!(names(&batch), ["a"], "before its first attempt a batch takes no more writes");
    batch.begin_attempt();
    let _more = ["a", "c"].map(|name| put(&sender, name, 10));
    batcher.add_waiting(&mut batch, 1);
    assert_eq!(names(&batch), ["a", "b"]);
    batcher.add_waiting(&mut batch, 0);
    assert_eq!(names(&batch), ["a", "b", "a"], "nothing of it is written yet");
    batch.begin_attempt();
    let mut second = batcher.next_batch();
    second.begin_attempt();
    second.begin_attempt();
    let _d = put(&sender, "d", 10);
    batcher.add_waiting(&mut second, 0);
    assert_eq!(names(&second), ["c"], "an attempt carries what the one before it carried, or less");
}

#[tokio::test(start_paused = true)]
async fn a_write_with_less_time_than_a_commit_takes_is_refused() {
    let (sender, mut batcher) = feed();
    batcher.committed(Duration::from_millis(700));
    let mut late = put(&sender, "late", 700);
    let _in_time = put(&sender, "in time", 701);
    assert_eq!(names(&batcher.next_batch()), ["in time"]);
    assert_eq!((&mut late).now_or_never(), Some(Err(Refusal::Overloaded)));
    assert_eq!((batcher.take_refused(), batcher.take_refused()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn no_commit_is_so_slow_that_fresh_writes_are_refused() {
    let (sender, mut batcher) = feed();
    batcher.committed(Duration::from_mins(1));
    let _ticket = put(&sender, "fresh", 1001);
    assert_eq!(names(&batcher.next_batch()), ["fresh"], "half of the two seconds that a write has is left");
}

#[tokio::test(start_paused = true)]
async fn an_overdue_write_is_refused_while_it_waits() {
    let (sender, mut batcher) = feed();
    let mut tickets = [("a", 1000), ("b", 900), ("c", 1500)].map(|(name, millis)| put(&sender, name, millis));
    assert_eq!(batcher.deadline(), Some(Instant::now() + Duration::from_millis(900)));
    tokio::time::advance(Duration::from_secs(1)).await;
    batcher.refuse_late();
    let results = tickets.each_mut().map(FutureExt::now_or_never);
    assert_eq!(results, [Some(Err(Refusal::Overloaded)), Some(Err(Refusal::Overloaded)), None]);
    assert_eq!(batcher.take_refused(), 2);
    assert_eq!(names(&batcher.next_batch()), ["c"]);
}

fn key(name: &str) -> Key {
    Key::new(name.to_owned(), 512).expect("a short key")
}

#[tokio::test(start_paused = true)]
async fn writes_of_a_locked_key_leave_the_batch_and_later_ones_wait_behind_them() {
    let (sender, mut batcher) = feed();
    let _tickets = [("a", 11), ("b", 11), ("a", 12)].map(|(name, millis)| put(&sender, name, millis));
    let mut batch = batcher.next_batch();
    batcher.note_locks(&mut batch, &[key("a"), key("b")], &[key("a")]);
    assert_eq!(names(&batch), ["b"]);
    let _more = [("a", 13), ("c", 13)].map(|(name, millis)| put(&sender, name, millis));
    assert_eq!(names(&batcher.next_batch()), ["c"]);
    assert!(batcher.is_empty() && !batcher.is_aside_due(true), "not yet");
    assert_eq!(
        batcher.deadline(),
        Some(Instant::now() + Duration::from_millis(11)),
        "those that are set aside count"
    );
    tokio::time::advance(Duration::from_millis(5)).await;
    assert!(
        batcher.is_aside_due(true) && !batcher.is_aside_due(false),
        "without a connection there is no look"
    );
    let (mut batch, _new) = (batcher.next_batch(), put(&sender, "a", 14));
    batch.begin_attempt();
    assert_eq!((batch.len(), batcher.keys_to_check(&batch)), (0, vec![key("a")]));
    batcher.note_locks(&mut batch, &[key("a")], &[]);
    batcher.add_free(&mut batch);
    batcher.add_waiting(&mut batch, 0);
    let deadlines: Vec<Instant> = batch.pending().iter().map(|pending| pending.deadline).collect();
    assert_eq!(
        (names(&batch), deadlines.is_sorted()),
        (vec!["a".into(); 3], true),
        "as many as fit, in order"
    );
    assert_eq!(names(&batcher.next_batch()), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn the_parts_of_a_batch_that_failed_are_tried_in_turn_with_the_queue() {
    let (sender, mut batcher) = feed();
    let mut tickets = ["a", "b", "c"].map(|name| put(&sender, name, 1000));
    let mut batch = batcher.next_batch();
    batch.begin_attempt();
    assert!(batcher.take_apart(&mut batch, &HashSet::new()));
    assert_eq!((batch.len(), batcher.is_aside_due(true)), (0, true));
    assert_eq!(batcher.deadline(), Some(Instant::now() + Duration::from_secs(1)));
    let _new = ["d", "b", "e", "f", "g"].map(|name| put(&sender, name, 2000));
    let mut trial = batcher.next_batch();
    trial.begin_attempt();
    batcher.add_waiting(&mut trial, 0);
    assert_eq!(names(&trial), ["a"], "nothing joins");
    assert!(!batcher.take_apart(&mut trial, &HashSet::new()), "there is one key");
    batcher.refuse_unwritable(&mut trial, &Error::Internal("a test".into()));
    assert_eq!((&mut tickets[0]).now_or_never(), Some(Err(Refusal::Unwritable)));
    assert_eq!(names(&batcher.next_batch()), ["d", "e", "f"], "the queue has its turn");
    let trial = batcher.next_batch();
    assert_eq!(names(&trial), ["b", "b"], "a later write of the key has joined");
    batcher.note_committed(&trial);
    assert_eq!(names(&batcher.next_batch()), ["g"]);
    assert_eq!(names(&batcher.next_batch()), ["c"]);
    let mut again = [put(&sender, "a", 3000), put(&sender, "a", 3000)];
    assert_eq!(batcher.next_batch().len(), 0, "what failed is set aside");
    tokio::time::advance(Duration::from_millis(50)).await;
    let mut alone = batcher.next_batch();
    assert_eq!(names(&alone), ["a", "a"]);
    batcher.refuse_unwritable(&mut alone, &Error::Internal("a test".into()));
    let refused = Some(Err(Refusal::Unwritable));
    assert_eq!(again.each_mut().map(FutureExt::now_or_never), [refused.clone(), refused]);
    assert_eq!(batcher.take_refused(), 0, "the batch counts them");
}

#[tokio::test(start_paused = true)]
async fn only_the_suspects_of_a_batch_are_set_aside_if_some_are_known() {
    let (sender, mut batcher) = feed();
    let _tickets = ["a", "b", "c"].map(|name| put(&sender, name, 1000));
    let mut batch = batcher.next_batch();
    assert!(batcher.take_apart(&mut batch, &HashSet::from([key("c"), key("d")])));
    assert_eq!(names(&batch), ["a", "b"]);
    assert_eq!(names(&batcher.next_batch()), ["c"]);
}
