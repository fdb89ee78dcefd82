//! Who gets into a batch, and who is refused on the way.

use futures_util::FutureExt;

use super::*;
use crate::outbox::{Outbox, Place};
use crate::pending::Ticket;
use crate::trial::{config, due, name};

/// A feed for batches of up to three writes that each have two seconds, and where to put them in.
fn feed() -> (Outbox, Feed) {
    let (outbox, inbox) = Inbox::new(10, 3);
    let state = LaneState::new();
    state.set(Ok(()));
    (outbox, Feed::new(inbox, config(3, 1 << 20, Duration::from_secs(2)), state))
}

fn put(outbox: &Outbox, name: &str, millis: u64) -> Ticket {
    let (pending, ticket) = due(name, millis);
    outbox.at(Place::Back).try_enter().expect("there is room").send(pending);
    ticket
}

fn names(batch: &Batch) -> Vec<String> {
    batch.pending().iter().map(name).collect()
}

#[tokio::test(start_paused = true)]
async fn a_batch_takes_what_is_there_up_to_its_limit() {
    let (outbox, mut feed) = feed();
    assert!(feed.is_empty());
    let _tickets = ["a", "b", "c", "d"].map(|name| put(&outbox, name, 10));
    assert!(!feed.is_empty());
    assert_eq!(names(&feed.batch()), ["a", "b", "c"]);
    assert_eq!(names(&feed.batch()), ["d"]);
    assert_eq!(feed.batch().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_first_attempt_takes_along_what_comes_up_to_a_key_that_is_written() {
    let (outbox, mut feed) = feed();
    let _a = put(&outbox, "a", 10);
    let mut batch = feed.batch();
    let _b = put(&outbox, "b", 10);
    feed.join(&mut batch, 0);
    assert_eq!(names(&batch), ["a"], "before its first attempt a batch is not under way");
    batch.attempt();
    let _more = ["a", "c"].map(|name| put(&outbox, name, 10));
    feed.join(&mut batch, 1);
    assert_eq!(names(&batch), ["a", "b"]);
    feed.join(&mut batch, 0);
    assert_eq!(names(&batch), ["a", "b", "a"], "nothing of it is written yet");
    batch.attempt();
    let mut second = feed.batch();
    second.attempt();
    second.attempt();
    let _d = put(&outbox, "d", 10);
    feed.join(&mut second, 0);
    assert_eq!(names(&second), ["c"], "an attempt carries what the one before it carried, or less");
}

#[tokio::test(start_paused = true)]
async fn who_has_less_time_than_a_commit_takes_is_refused() {
    let (outbox, mut feed) = feed();
    feed.committed(Duration::from_millis(700));
    let mut late = put(&outbox, "late", 700);
    let _in_time = put(&outbox, "in time", 701);
    assert_eq!(names(&feed.batch()), ["in time"]);
    assert_eq!((&mut late).now_or_never(), Some(Err(Refusal::Overloaded)));
    assert_eq!((feed.refused(), feed.refused()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn no_commit_is_so_slow_that_fresh_writes_are_refused() {
    let (outbox, mut feed) = feed();
    feed.committed(Duration::from_mins(1));
    let _ticket = put(&outbox, "fresh", 1001);
    assert_eq!(names(&feed.batch()), ["fresh"], "half of the two seconds that a write has is left");
}

#[tokio::test(start_paused = true)]
async fn what_falls_due_is_refused_while_it_waits() {
    let (outbox, mut feed) = feed();
    let mut tickets = [("a", 1000), ("b", 900), ("c", 1500)].map(|(name, millis)| put(&outbox, name, millis));
    assert_eq!(feed.deadline(), Some(Instant::now() + Duration::from_millis(900)));
    tokio::time::advance(Duration::from_secs(1)).await;
    feed.refuse_late();
    let told = tickets.each_mut().map(FutureExt::now_or_never);
    assert_eq!(told, [Some(Err(Refusal::Overloaded)), Some(Err(Refusal::Overloaded)), None]);
    assert_eq!(feed.refused(), 2);
    assert_eq!(names(&feed.batch()), ["c"]);
}
