//! The limits of a batch, and the outcomes of its writes.

use futures_util::FutureExt;

use super::*;
use crate::entry::{Outcome, Rev};
use crate::lane::pending::Ticket;
use crate::lane::samples::{atomic, config, due};

const SECOND: Duration = Duration::from_secs(1);

/// A batch of deletes with deadlines after `due_after` milliseconds, and their tickets.
fn batch(due_after: &[u64]) -> (Batch, Vec<Ticket>) {
    let mut batch = Batch::new();
    let add = |millis: &u64| {
        let (pending, ticket) = due("k", *millis);
        batch.add(pending);
        ticket
    };
    let tickets = due_after.iter().map(add).collect();
    (batch, tickets)
}

fn absent(number: usize) -> Vec<WriteOutcome> {
    vec![WriteOutcome::One(Outcome::Absent); number]
}

/// The result of each of `tickets`, if there is one.
fn results(tickets: &mut [Ticket]) -> Vec<Option<Result<WriteOutcome, Refusal>>> {
    tickets.iter_mut().map(FutureExt::now_or_never).collect()
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_room_up_to_its_ops_and_its_bytes() {
    // A delete of "k" is one op of 257 bytes.
    let (three, _tickets) = batch(&[1, 1, 1]);
    let (one, _ticket) = due("k", 1);
    let (two, _ticket) = atomic(&["a", "b"], 1);
    for (ops, bytes, is_full, has_room_for_one, has_room_for_two) in [
        (3, 10_000, true, false, false),
        (4, 10_000, false, true, false),
        (5, 10_000, false, true, true),
        (9, 3 * 257, true, false, false),
        (9, 3 * 257 + 1, false, false, false),
        (9, 4 * 257 - 1, false, false, false),
        (9, 4 * 257, false, true, false),
        (9, 5 * 257, false, true, true),
    ] {
        let config = config(ops, bytes, SECOND);
        let found = (
            three.is_full(&config),
            three.has_room(&one.write, &config),
            three.has_room(&two.write, &config),
        );
        assert_eq!(found, (is_full, has_room_for_one, has_room_for_two), "{ops} ops, {bytes} bytes");
    }
    assert!(Batch::new().has_room(&two.write, &config(1, 1, SECOND)), "the first always fits");
}

#[tokio::test(start_paused = true)]
async fn an_overdue_write_is_unknown_only_after_a_commit_was_sent() {
    for (commit_sent, expected) in [(false, Refusal::Overloaded), (true, Refusal::OutcomeUnknown)] {
        let (mut batch, mut tickets) = batch(&[2, 1, 3]);
        assert_eq!(batch.deadline(), Some(Instant::now() + Duration::from_millis(1)));
        assert!(!batch.is_late());
        if commit_sent {
            batch.record_outcomes(0, absent(3));
            batch.mark_commit_sent();
        }
        tokio::time::advance(Duration::from_millis(2)).await;
        assert!(batch.is_late());
        batch.refuse_late(Refusal::Overloaded);
        assert_eq!(results(&mut tickets), [Some(Err(expected)), Some(Err(expected)), None]);
        assert_eq!((batch.len(), batch.is_late()), (1, false));
    }
}

#[tokio::test(start_paused = true)]
async fn the_units_of_a_batch_are_single_keys_and_atomic_writes() {
    let units = |writes: Vec<(PendingWrite, Ticket)>| {
        let mut batch = Batch::new();
        for (pending, _) in writes {
            batch.add(pending);
        }
        batch.units()
    };
    assert_eq!(units(["c", "a", "b", "a", "d", "c"].map(|key| due(key, 1)).into()), 4);
    assert_eq!(units(vec![atomic(&["a", "b"], 1), atomic(&["a", "c"], 1), due("a", 1), due("a", 1)]), 3);
    assert_eq!(units(Vec::new()), 0);
}

#[tokio::test]
#[should_panic(expected = "carries every write of its batch")]
async fn a_write_that_leaves_behind_commit_is_a_fault() {
    let (mut batch, _tickets) = batch(&[1]);
    batch.record_outcomes(0, absent(1));
    batch.mark_commit_sent();
    batch.take_out(|_| true);
}

#[tokio::test]
#[should_panic(expected = "only the fence tells")]
async fn a_write_in_a_commit_that_is_refused_as_not_applied_is_a_fault() {
    let (mut batch, _tickets) = batch(&[1]);
    batch.record_outcomes(0, absent(1));
    batch.mark_commit_sent();
    batch.refuse_all(Refusal::Unwritable);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_void_leaves_no_outcome_behind() {
    let (mut batch, mut tickets) = batch(&[1, 1]);
    batch.record_outcomes(0, absent(2));
    batch.mark_commit_sent();
    assert!(batch.commit_sent());
    batch.clear_outcomes();
    assert!(!batch.commit_sent());
    let again =
        vec![WriteOutcome::One(Outcome::Deleted(Rev(7))), WriteOutcome::One(Outcome::Deleted(Rev(8)))];
    batch.record_outcomes(0, again.clone());
    batch.acknowledge();
    assert_eq!(results(&mut tickets), [Some(Ok(again[0].clone())), Some(Ok(again[1].clone()))]);
}

#[tokio::test(start_paused = true)]
async fn outcomes_of_later_parts_follow_those_of_the_first() {
    let (mut batch, mut tickets) = batch(&[1]);
    batch.record_outcomes(0, absent(1));
    let (pending, ticket) = due("k", 1);
    tickets.push(ticket);
    batch.add(pending);
    assert_eq!(batch.writes_from(1).count(), 1);
    batch.record_outcomes(1, vec![WriteOutcome::One(Outcome::Deleted(Rev(7)))]);
    batch.acknowledge();
    let expected =
        [Outcome::Absent, Outcome::Deleted(Rev(7))].map(|outcome| Some(Ok(WriteOutcome::One(outcome))));
    assert_eq!(results(&mut tickets), expected);
}

#[tokio::test(start_paused = true)]
async fn a_report_counts_every_answer() {
    let (mut batch, mut tickets) = batch(&[1, 5, 5, 5]);
    assert!(!batch.is_first_attempt());
    batch.begin_attempt();
    assert!(batch.is_first_attempt());
    batch.begin_attempt();
    assert!(!batch.is_first_attempt());
    tokio::time::advance(Duration::from_millis(3)).await;
    batch.refuse_late(Refusal::Unavailable);
    batch.record_outcomes(0, absent(3));
    batch.acknowledge();
    let report = batch.report(10);
    assert_eq!((report.committed, report.refused, report.attempts), (3, 11, 2));
    assert_eq!(report.elapsed, Duration::from_millis(3));
    assert_eq!(results(&mut tickets)[0], Some(Err(Refusal::Unavailable)));
}

#[tokio::test(start_paused = true)]
async fn writes_of_a_lost_batch_are_unknown() {
    let (mut batch, mut tickets) = batch(&[1, 1]);
    batch.refuse_all(Refusal::OutcomeUnknown);
    assert_eq!(
        results(&mut tickets),
        [Some(Err(Refusal::OutcomeUnknown)), Some(Err(Refusal::OutcomeUnknown))]
    );
    assert_eq!(batch.report(0).refused, 2);
}

#[tokio::test]
#[should_panic(expected = "a plan has an outcome for each of its writes")]
async fn a_plan_that_settles_too_little_is_a_fault() {
    batch(&[1, 1]).0.record_outcomes(0, absent(1));
}

#[tokio::test]
#[should_panic(expected = "outcomes are known before COMMIT")]
async fn a_commit_without_outcomes_is_a_fault() {
    batch(&[1]).0.mark_commit_sent();
}

#[tokio::test]
#[should_panic(expected = "carries every write of its batch")]
async fn a_write_that_joins_behind_commit_is_a_fault() {
    let (mut batch, _tickets) = batch(&[1]);
    batch.record_outcomes(0, absent(1));
    batch.mark_commit_sent();
    batch.add(due("k", 1).0);
}

#[tokio::test]
#[should_panic(expected = "has an outcome for each write")]
async fn an_acknowledgement_without_an_outcome_is_a_fault() {
    batch(&[1]).0.acknowledge();
}

#[tokio::test]
#[should_panic(expected = "a batch is finished when each of its writes is")]
async fn a_batch_that_leaves_writes_unanswered_is_a_fault() {
    batch(&[1]).0.report(0);
}
