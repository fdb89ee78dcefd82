//! The statements of a lane on a server without faults.

use rand::SeedableRng as _;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tracing::Span;

use super::*;
use crate::engine::clock::StoreClock;
use crate::entry::{Op, Outcome, Refusal, Rev, Write, WriteOutcome};
use crate::fence::PARTS_MAX;
use crate::lane::pending::Ticket;
use crate::lane::samples::{config, set, set_and_ask};
use crate::lane::sender::Priority;
use crate::lane::writer::{Submitted, Writer};
use crate::outage::OutageLog;
use crate::scripted::{FaultRates, Sabotage, Script, ScriptedEngine, ScriptedServer};

mod held_keys;

/// A server without faults, and a writer with one lane.
struct Harness {
    server: ScriptedServer,
    writer: Writer,
}

impl Harness {
    async fn start<const ROUND_TRIPS: bool>() -> Self {
        let harness = Self::of::<ROUND_TRIPS>(Duration::from_secs(10));
        sleep(Duration::from_millis(100)).await;
        assert_eq!(harness.sent(), ["connect", "register"]);
        harness
    }

    /// Writes have the time limit `op_timeout`.
    fn of<const ROUND_TRIPS: bool>(op_timeout: Duration) -> Self {
        Self::with::<ROUND_TRIPS>(config(1000, 1 << 20, op_timeout), Sabotage::None)
    }

    /// The lane logs its changes.
    fn logging<const ROUND_TRIPS: bool>(op_timeout: Duration) -> Self {
        let config = WriterConfig { logs_changes: true, ..config(1000, 1 << 20, op_timeout) };
        Self::with::<ROUND_TRIPS>(config, Sabotage::None)
    }

    fn with<const ROUND_TRIPS: bool>(config: WriterConfig, sabotage: Sabotage) -> Self {
        let server = ScriptedServer::new(Script::new(1, FaultRates::default()), !ROUND_TRIPS, sabotage);
        let (engine, tracker) =
            (ScriptedEngine::<ROUND_TRIPS>::new(server.clone(), StoreClock::new()), TaskTracker::new());
        let writer = Writer::start_on(
            &engine,
            &OutageLog::new("test"),
            1,
            config,
            &tracker,
            StdRng::seed_from_u64(1),
            |_| {},
        );
        Self { server, writer }
    }

    /// Writes a key, and waits for the outcome.
    async fn write(&self, name: &str) {
        self.try_write(name).await.expect("nothing goes wrong");
    }

    async fn try_write(&self, name: &str) -> Result<WriteOutcome, Refusal> {
        self.submit(set(name)).await.await
    }

    /// Queues a write.
    async fn submit(&self, write: Write) -> Ticket {
        let deadline = self.writer.deadline();
        let ticket = self.writer.submit(write, Priority::Normal, Span::none(), deadline).await;
        ticket.expect("there is room")
    }

    /// The statements that the lane has sent since the last call.
    fn sent(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.server.state().statements)
    }
}

#[tokio::test(start_paused = true)]
async fn while_writes_keep_coming_the_fence_is_passed_ahead() {
    let harness = Harness::start::<true>().await;
    harness.write("a").await;
    sleep(FENCE_HOLD_MAX).await;
    assert_eq!(harness.sent(), ["fence", "upsert", "commit"], "the first write after a pause");
    for name in ["b", "c"] {
        harness.write(name).await;
    }
    assert_eq!(harness.sent()[..4], ["fence", "upsert", "commit", "fence"]);
    sleep(Duration::from_millis(4)).await;
    harness.write("d").await;
    assert_eq!(harness.sent()[..2], ["upsert", "commit"], "the fence is passed already");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(harness.sent().last(), Some(&"rollback"), "nothing comes any more");
    harness.write("e").await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(harness.sent(), ["sample", "fence", "upsert", "commit"], "the clock is looked at each second");
}

#[tokio::test(start_paused = true)]
async fn where_there_are_no_round_trips_no_fence_is_passed_ahead() {
    let harness = Harness::start::<false>().await;
    for name in ["a", "b", "c"] {
        harness.write(name).await;
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(harness.sent(), ["fence", "upsert", "commit"].repeat(3));
}

#[tokio::test(start_paused = true)]
async fn an_idle_lane_keeps_its_connection_and_leaves_the_time_in_the_store() {
    let harness = Harness::start::<true>().await;
    sleep(Duration::from_secs(25)).await;
    let sent = harness.sent();
    assert!((40..=50).contains(&sent.len()), "each second: {sent:?}");
    assert_eq!(sent, ["sample", "store_time"].repeat(sent.len() / 2));
    harness.write("a").await;
    assert_eq!(harness.sent()[..3], ["fence", "upsert", "commit"], "the same connection, the same id");
}

#[tokio::test(start_paused = true)]
async fn after_hours_without_a_write_a_lane_has_a_new_row() {
    let harness = Harness::start::<true>().await;
    harness.write("a").await;
    for (age, rows) in [(Duration::from_hours(6), 2), (Duration::from_mins(30), 3)] {
        harness.sent();
        sleep(age - Duration::from_mins(1)).await;
        assert!(!harness.sent().contains(&"register"), "younger than {age:?}");
        sleep(Duration::from_secs(90)).await;
        assert!(harness.sent().contains(&"register"), "older than {age:?}");
        assert_eq!(harness.server.state().tables.writers.len(), rows);
        // Nothing was committed under the new id.
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_logs_adds_its_keys_to_the_log_before_each_commit() {
    let harness = Harness::logging::<true>(Duration::from_secs(10));
    sleep(Duration::from_millis(100)).await;
    harness.sent();
    harness.write("a").await;
    assert_eq!(harness.sent()[..4], ["fence", "upsert", "log_changes", "commit"]);
    sleep(Duration::from_millis(100)).await;
    harness.sent();
    // What changes nothing is not logged.
    let write = Write::One(Op { if_rev: Some(Rev(1)), ..set_and_ask("b") });
    let mismatch = harness.submit(write).await.await;
    assert!(matches!(mismatch, Ok(WriteOutcome::One(Outcome::Mismatch(Rev(0))))), "{mismatch:?}");
    assert_eq!(harness.sent()[..3], ["fence", "read_for_update", "commit"]);
}

#[tokio::test(start_paused = true)]
async fn writes_that_come_meanwhile_join_the_transaction() {
    let harness = Harness::start::<true>().await;
    let (first, second) = tokio::join!(
        harness.write("a"),
        // Comes while the fence of the first runs, which takes at least a millisecond with this seed.
        harness.write("b"),
    );
    assert_eq!((first, second), ((), ()));
    assert_eq!(harness.server.state().tables.commits, 1);
}

#[tokio::test(start_paused = true)]
async fn while_the_database_is_away_a_lane_tries_less_and_less_often() {
    let harness = Harness::of::<true>(Duration::from_secs(10));
    harness.server.state().down_until = Instant::now() + Duration::from_secs(30);
    for waits_for_a_write in [false, true] {
        if waits_for_a_write {
            assert_eq!(harness.try_write("a").await, Err(Refusal::Unavailable));
        } else {
            sleep(Duration::from_secs(10)).await;
        }
        // 2, 4, 8 ... 512 ms, and then once a second.
        let tries = harness.sent().len();
        assert!((8..25).contains(&tries), "{tries} tries in 10 s, for a write: {waits_for_a_write}");
    }
    sleep(Duration::from_secs(11)).await;
    harness.write("b").await;
}

#[tokio::test(start_paused = true)]
async fn while_the_database_is_away_a_write_is_refused_at_its_deadline() {
    let harness = Harness::of::<true>(Duration::from_millis(300));
    harness.server.state().down_until = Instant::now() + Duration::from_secs(30);
    sleep(Duration::from_secs(5)).await;
    for _ in 0..3 {
        let begun = Instant::now();
        assert_eq!(harness.try_write("a").await, Err(Refusal::Unavailable));
        assert!((300..303).contains(&begun.elapsed().as_millis()), "after {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn while_new_connections_cannot_write_a_write_is_refused_soon() {
    let harness = Harness::of::<true>(Duration::from_secs(10));
    harness.server.state().refuses_writers = true;
    let begun = Instant::now();
    let mut refused = 0;
    while begun.elapsed() < Duration::from_secs(30) {
        let sent = Instant::now();
        assert_eq!(harness.try_write("a").await, Err(Refusal::Unavailable));
        assert!(sent.elapsed() < Duration::from_millis(1100), "after {:?}", sent.elapsed());
        refused += 1;
    }
    let tries = harness.sent().len();
    assert!(refused >= 30 && tries < 80, "{refused} writes and {tries} tries in 30 s");
    harness.server.state().refuses_writers = false;
    harness.write("b").await;
}

#[tokio::test(start_paused = true)]
async fn writes_that_keep_coming_do_not_hold_up_the_commit() {
    let harness = Harness::start::<true>().await;
    let written = (0..300).map(|number| {
        let harness = &harness;
        async move {
            sleep(Duration::from_millis(number)).await;
            harness.write(&format!("k{number}")).await;
        }
    });
    futures_util::future::join_all(written).await;
    let sent = harness.sent();
    let parts = sent.split(|sent| *sent == "commit");
    let most = parts.map(|sent| sent.iter().filter(|sent| **sent == "upsert").count()).max();
    assert_eq!(most, Some(PARTS_MAX));
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_dies_is_not_ready() {
    let harness =
        Harness::with::<true>(config(1000, 1 << 20, Duration::from_secs(10)), Sabotage::ShortAnswer);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(harness.writer.health().ready(), Ok(()));
    assert_eq!(harness.try_write("a").await, Err(Refusal::OutcomeUnknown));
    assert!(harness.writer.health().ready().is_err_and(|why| why.contains("a bug")));
    let (deadline, write) = (harness.writer.deadline(), set("b"));
    let refused = harness.writer.submit(write, Priority::Normal, Span::none(), deadline).await;
    assert_eq!(refused.err(), Some(Refusal::Unavailable));
}

/// Sends `count` sets of one key in one batch. Returns the number of fences, and the revisions.
async fn revisions_of_one_key(count: usize) -> (usize, Vec<u64>) {
    let harness = Harness::start::<true>().await;
    let submit = |_| {
        let (deadline, write) = (harness.writer.deadline(), Write::One(set_and_ask("k")));
        match harness.writer.try_submit(write, Priority::Normal, Span::none(), deadline) {
            Submitted::Queued(ticket) => ticket,
            Submitted::Returned(..) => panic!("there is room"),
        }
    };
    let outcomes = futures_util::future::join_all((0..count).map(submit)).await;
    let rev = |outcome: Result<WriteOutcome, Refusal>| match outcome {
        Ok(WriteOutcome::One(Outcome::Created(Some(rev)) | Outcome::Updated(Some(rev)))) => rev.0,
        other => panic!("no set that shows its revision: {other:?}"),
    };
    let fences = harness.sent().iter().filter(|sent| **sent == "fence").count();
    assert_eq!(harness.server.state().tables.commits, 1);
    (fences, outcomes.into_iter().map(rev).collect())
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_needs_more_revisions_than_were_reserved_reserves_them() {
    let reserved = usize::try_from(REVS_RESERVED).expect("it is small");
    for (count, expected) in [(reserved, 1), (reserved + 1, 2)] {
        let (fences, revs) = revisions_of_one_key(count).await;
        assert_eq!(fences, expected, "{count} sets");
        assert!(revs.is_sorted_by(|a, b| a + 1 == *b), "{count} sets: {revs:?}");
    }
}
