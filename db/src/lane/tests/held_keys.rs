//! A key that somebody else has locked, or that cannot be written, does not keep the others waiting.

use futures_util::future::join_all;

use super::*;
use crate::entry::{Change, Expiry, Key, Op, Rev, Value};

const LOCK_WAIT: Duration = Duration::from_secs(2);

/// A little more than a lock wait: the attempts before and after it.
const ONE_LOCK_WAIT: Duration = Duration::from_millis(2100);

fn key(name: &str) -> Key {
    Key::new(name.to_owned(), 512).expect("a short key")
}

/// One atomic write that sets all `names`.
fn set_all(names: &[&str]) -> Write {
    let value = || Value::new("v".to_owned(), 512).expect("a short value");
    let op = |name: &&str| Op {
        key: key(name),
        change: Change::Set(value(), Expiry::Never),
        if_rev: None,
        asks_rev: false,
    };
    Write::Atomic(names.iter().map(op).collect())
}

fn rev_of(outcome: &WriteOutcome) -> Rev {
    match outcome {
        WriteOutcome::One(outcome) => outcome.rev().expect("it was asked for"),
        other => panic!("no single write: {other:?}"),
    }
}

/// What eight clients find who write keys of their own, one write at a time, until `end`.
#[derive(Debug, Default)]
struct Others {
    written: usize,
    refused: usize,
    /// The longest time that a write took.
    slowest: Duration,
    /// How many writes took longer than a second, for the client that has the most of them.
    slow: usize,
}

impl Others {
    async fn work(harness: &Harness, end: Instant, write: impl Fn(String) -> Write) -> Self {
        let write = &write;
        let clients = (0..8).map(|client| async move {
            let mut found = Self::default();
            for number in 0.. {
                if Instant::now() >= end {
                    break;
                }
                let begun = Instant::now();
                match harness.submit(write(format!("other/{client}/{}", number % 20))).await.await {
                    Ok(_) => found.written += 1,
                    Err(_) => found.refused += 1,
                }
                found.slowest = found.slowest.max(begun.elapsed());
                found.slow += usize::from(begun.elapsed() > Duration::from_secs(1));
                sleep(Duration::from_millis(10)).await;
            }
            found
        });
        join_all(clients).await.into_iter().fold(Self::default(), |all, one| Self {
            written: all.written + one.written,
            refused: all.refused + one.refused,
            slowest: all.slowest.max(one.slowest),
            slow: all.slow.max(one.slow),
        })
    }

    /// The others noticed at most one lock wait.
    fn went_on(&self, written: usize) {
        assert!(self.written >= written, "{self:?}");
        assert!(self.refused == 0 && self.slow <= 1 && self.slowest < ONE_LOCK_WAIT, "{self:?}");
    }
}

/// Keeps writing `write` until `end`. Returns the results.
async fn keep_writing(harness: &Harness, end: Instant, write: Write) -> Vec<Result<WriteOutcome, Refusal>> {
    let mut tickets = Vec::new();
    while Instant::now() < end {
        tickets.push(harness.submit(write.clone()).await);
        sleep(Duration::from_millis(500)).await;
    }
    join_all(tickets).await
}

/// Another session holds the row of `name` locked for `hold`.
async fn lock(harness: &Harness, name: &str, hold: Duration) {
    let (id, _) = harness.server.connect().expect("the server is up");
    let lock = crate::scripted::Lock::Row(key(name));
    harness.server.lock(id, &lock, LOCK_WAIT).await.expect("nobody has it");
    let server = harness.server.clone();
    drop(tokio::spawn(async move {
        sleep(hold).await;
        server.hang_up(id).await;
    }));
}

#[tokio::test(start_paused = true)]
async fn a_locked_row_costs_the_others_one_lock_wait() {
    for is_there_before in [true, false] {
        let harness = Harness::start::<true>().await;
        if is_there_before {
            harness.write("held").await;
        }
        lock(&harness, "held", Duration::from_secs(35)).await;
        let end = Instant::now() + Duration::from_secs(34);
        let (others, held) = tokio::join!(
            Others::work(&harness, end, |name| set(&name)),
            keep_writing(&harness, end - Duration::from_secs(10), set("held")),
        );
        others.went_on(8000);
        assert!(held.iter().all(|held| *held == Err(Refusal::Overloaded)), "{held:?}");
        sleep(Duration::from_secs(2)).await;
        harness.write("held").await;
    }
}

#[tokio::test(start_paused = true)]
async fn many_locked_rows_cost_the_others_one_lock_wait() {
    let harness = Harness::start::<true>().await;
    let names: Vec<String> = (0..50).map(|number| format!("held/{number}")).collect();
    for name in &names {
        lock(&harness, name, Duration::from_secs(35)).await;
    }
    let end = Instant::now() + Duration::from_secs(30);
    let write_each = async {
        for name in &names {
            drop(harness.submit(set(name)).await);
            sleep(Duration::from_millis(500)).await;
        }
    };
    let (others, ()) = tokio::join!(Others::work(&harness, end, |name| set(&name)), write_each);
    others.went_on(5000);
}

#[tokio::test(start_paused = true)]
async fn a_locked_row_costs_other_atomic_writes_one_lock_wait() {
    let harness = Harness::start::<true>().await;
    lock(&harness, "held", Duration::from_secs(35)).await;
    let end = Instant::now() + Duration::from_secs(30);
    let (others, held) = tokio::join!(
        Others::work(&harness, end, |name| set_all(&[&name, "shared"])),
        keep_writing(&harness, end - Duration::from_secs(10), set_all(&["shared", "held"])),
    );
    others.went_on(5000);
    assert!(held.iter().all(|held| *held == Err(Refusal::Overloaded)), "{held:?}");
}

#[tokio::test(start_paused = true)]
async fn where_writes_have_less_time_than_a_lock_wait_the_others_go_on_too() {
    let harness = Harness::of::<true>(Duration::from_millis(300));
    sleep(Duration::from_millis(100)).await;
    lock(&harness, "held", Duration::from_secs(35)).await;
    let end = Instant::now() + Duration::from_secs(30);
    let (others, _) = tokio::join!(
        Others::work(&harness, end, |name| set(&name)),
        keep_writing(&harness, end, set("held")),
    );
    assert!(others.refused <= 8 && others.slow <= 1 && others.written > 5000, "{others:?}");
}

#[tokio::test(start_paused = true)]
async fn the_writes_of_a_locked_row_keep_their_order() {
    let harness = Harness::start::<true>().await;
    lock(&harness, "k", Duration::from_secs(5)).await;
    let end = Instant::now() + Duration::from_secs(7);
    let write = Write::One(set_and_ask("k"));
    let (others, held) =
        tokio::join!(Others::work(&harness, end, |name| set(&name)), keep_writing(&harness, end, write));
    others.went_on(1000);
    let revs: Vec<Rev> =
        held.iter().map(|held| rev_of(held.as_ref().expect("the row was free in time"))).collect();
    assert!(revs.len() > 10 && revs.is_sorted_by(|a, b| a < b), "{revs:?}");
}

#[tokio::test(start_paused = true)]
async fn writes_that_wait_apart_are_answered_when_the_writer_is_dropped() {
    for (hold, expected) in [(5, true), (60, false)] {
        let harness = Harness::start::<true>().await;
        lock(&harness, "held", Duration::from_secs(hold)).await;
        let held = harness.submit(set("held")).await;
        sleep(Duration::from_secs(4)).await;
        drop(harness);
        let begun = Instant::now();
        assert_eq!(held.await.is_ok(), expected);
        assert!(begun.elapsed() < Duration::from_secs(7));
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_cannot_be_written_fails_alone() {
    for atomic in [false, true] {
        let harness = Harness::start::<false>().await;
        harness.server.state().unwritable.insert(key("poison"));
        let write = |name: &str| if atomic { set_all(&[name, "shared"]) } else { set(name) };
        let names: Vec<String> = (0..63).map(|number| format!("k{number}")).collect();
        let mut tickets = Vec::new();
        for name in &names {
            tickets.push(harness.submit(write(name)).await);
        }
        let poison = harness.submit(if atomic { set_all(&["a", "poison"]) } else { set("poison") }).await;
        let begun = Instant::now();
        for ticket in tickets {
            ticket.await.expect("the others are written");
        }
        assert_eq!(poison.await, Err(Refusal::Unwritable));
        assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
        assert_eq!(harness.writer.health().ready(), Ok(()));
        assert!(!harness.sent().contains(&"connect"), "the connection is kept");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_repeats_a_write_that_fails_hardly_disturbs_the_others() {
    let harness = Harness::start::<true>().await;
    harness.server.state().unwritable.insert(key("poison"));
    let end = Instant::now() + Duration::from_secs(10);
    let repeat = async {
        let mut results = Vec::new();
        while Instant::now() < end {
            results.push(harness.try_write("poison").await);
        }
        results
    };
    let (others, poison) = tokio::join!(Others::work(&harness, end, |name| set(&name)), repeat);
    others.went_on(3000);
    assert!(others.slowest < Duration::from_millis(200), "{others:?}");
    assert!((90..=110).contains(&poison.len()), "{} tries", poison.len());
    assert!(poison.iter().all(|result| *result == Err(Refusal::Unwritable)), "{poison:?}");
    harness.server.state().unwritable.clear();
    let begun = Instant::now();
    harness.write("poison").await;
    assert!(begun.elapsed() < Duration::from_millis(200), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn many_keys_that_cannot_be_written_do_not_keep_the_others_waiting() {
    let harness = Harness::start::<true>().await;
    let poison: Vec<String> = (0..200).map(|number| format!("poison/{number}")).collect();
    harness.server.state().unwritable.extend(poison.iter().map(|name| key(name)));
    let end = Instant::now() + Duration::from_secs(20);
    let repeat = poison.iter().map(|name| async {
        let mut refused = 0;
        while Instant::now() < end {
            assert!(harness.try_write(name).await.is_err());
            refused += 1;
        }
        refused
    });
    let (others, refused) = tokio::join!(Others::work(&harness, end, |name| set(&name)), join_all(repeat));
    assert!(others.refused == 0 && others.slow == 0 && others.written > 5000, "{others:?}");
    assert!(refused.iter().all(|refused| *refused > 1), "each is tried again and again: {refused:?}");
}
