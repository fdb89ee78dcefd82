//! What the queue promises: who shares a SELECT, who is refused and why, and how it ends.

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::metrics::noop::NoopMeterProvider;

use super::*;
use crate::backlog::charged;
use crate::trial::{PATIENCE, Trial, a_key, eventually, limits};

fn start(trial: &Trial, limits: &Limits) -> (Lookup, TaskTracker) {
    let tasks = TaskTracker::new();
    let metrics = Metrics::new(&NoopMeterProvider::new().meter("test"));
    (Lookup::start(&trial.store, limits, &tasks, &metrics), tasks)
}

fn keys(texts: &[&str]) -> Vec<Key> {
    texts.iter().map(|text| a_key(text)).collect()
}

/// Asks without waiting for the answer, and returns once the get is in the queue.
async fn ask(lookup: &Lookup, texts: &[&str]) -> tokio::task::JoinHandle<Result<Answer, LookupError>> {
    let (before, count) = (lookup.state.waiting(), texts.len());
    let (asked, texts) = (lookup.clone(), keys(texts));
    let answer = tokio::spawn(async move { asked.get(texts).await });
    eventually("the get is in the queue", || lookup.state.waiting() == before + count).await;
    answer
}

/// How many keys each get of the next SELECT has.
async fn take(inlet: &mut Inlet) -> Vec<usize> {
    let asks = tokio::time::timeout(PATIENCE, inlet.take()).await.expect("something waits");
    asks.expect("the lookup is there").iter().map(Ask::len).collect()
}

async fn values(lookup: &Lookup, texts: &[&str]) -> Vec<Option<String>> {
    let answer = lookup.get(keys(texts)).await.expect("it can be answered");
    answer.found.into_iter().map(|found| found.map(|entry| entry.value)).collect()
}

#[tokio::test]
async fn what_waits_together_is_read_together() {
    let (lookup, mut inlet, _) = Lookup::new(&limits());
    let _first = ask(&lookup, &["a"]).await;
    assert_eq!(take(&mut inlet).await, [1], "alone in the queue it goes at once");
    let mut waiting = Vec::new();
    for _ in 0..130 {
        waiting.push(ask(&lookup, &["k"]).await);
    }
    assert_eq!(take(&mut inlet).await, [1; 128]);
    assert_eq!(take(&mut inlet).await, [1; 2]);
    assert_eq!(lookup.state.waiting(), 0);
}

#[tokio::test]
async fn a_multi_get_is_never_split() {
    let (lookup, mut inlet, _) = Lookup::new(&Limits { select_keys_max: 4, ..limits() });
    let mut waiting = Vec::new();
    for texts in [&["a"][..], &["a", "b"], &["a", "b", "c"], &["a"], &["1", "2", "3", "4", "5"], &["a"]] {
        waiting.push(ask(&lookup, texts).await);
    }
    assert_eq!(take(&mut inlet).await, [1, 1, 2], "single ones have half of a SELECT");
    assert_eq!(take(&mut inlet).await, [1, 3]);
    assert_eq!(take(&mut inlet).await, [5], "even if it is larger than a SELECT should be");
    assert_eq!(lookup.state.waiting(), 0);
}

#[tokio::test]
async fn a_get_whose_client_left_is_not_read() {
    let (lookup, mut inlet, _) = Lookup::new(&limits());
    let left = ask(&lookup, &["a"]).await;
    let _stays = ask(&lookup, &["b", "c"]).await;
    left.abort();
    assert!(left.await.is_err_and(|error| error.is_cancelled()));
    assert_eq!(take(&mut inlet).await, [2]);
}

#[tokio::test]
async fn no_select_is_sent_while_too_many_bodies_wait_to_be_written() {
    let (lookup, mut inlet, _) = Lookup::new(&Limits { backlog_bytes_max: 10, ..limits() });
    let bodies: Vec<_> = (0..11).map(|_| charged(&lookup.state.backlog, 1)).collect();
    let _first = ask(&lookup, &["a"]).await;
    let held_back = tokio::time::timeout(Duration::from_millis(20), inlet.take()).await;
    assert!(held_back.is_err(), "a reader that gives up waiting takes nothing with it");
    let _second = ask(&lookup, &["b"]).await;
    drop(bodies);
    assert_eq!(take(&mut inlet).await, [1, 1]);
}

#[tokio::test]
async fn a_full_queue_refuses_with_the_reason() {
    let (lookup, mut inlet, _) = Lookup::new(&Limits { queue_keys_max: 3, ..limits() });
    let _waiting = ask(&lookup, &["a", "b"]).await;
    assert_eq!(lookup.get(keys(&["c", "d"])).await.err(), Some(LookupError::Unavailable));
    let connected = lookup.state.connection();
    assert_eq!(lookup.get(keys(&["c", "d"])).await.err(), Some(LookupError::Overloaded));
    drop(connected);
    let _fits = ask(&lookup, &["c"]).await;
    assert_eq!(take(&mut inlet).await, [1, 2]);
}

#[tokio::test]
async fn neither_single_gets_nor_larger_ones_wait_for_ever() {
    let (lookup, mut inlet, _) = Lookup::new(&Limits { select_keys_max: 4, ..limits() });
    let mut waiting = Vec::new();
    for _ in 0..2 {
        waiting.push(ask(&lookup, &["a", "b", "c", "d"]).await);
    }
    for _ in 0..6 {
        waiting.push(ask(&lookup, &["a"]).await);
    }
    for expected in [&[1, 1][..], &[4], &[1, 1], &[4], &[1, 1]] {
        assert_eq!(take(&mut inlet).await, expected);
    }
}

#[tokio::test]
async fn a_get_past_its_deadline_says_whether_the_database_works() {
    let (lookup, _inlet, _) = Lookup::new(&Limits { op_timeout: Duration::from_millis(20), ..limits() });
    assert_eq!(lookup.get(keys(&["a"])).await.err(), Some(LookupError::Unavailable));
    let _connected = lookup.state.connection();
    assert_eq!(
        lookup.get(keys(&["a"])).await.err(),
        Some(LookupError::Unavailable),
        "connected, but it hangs"
    );
    let (asked, answers) = (lookup.get(keys(&["a"])), async { lookup.state.selected() });
    assert_eq!(tokio::join!(asked, answers).0.err(), Some(LookupError::Overloaded), "it answers others");
    let (lookup, _inlet, _) =
        Lookup::new(&Limits { op_timeout: Duration::from_millis(20), backlog_bytes_max: 0, ..limits() });
    let (_connected, _unread) = (lookup.state.connection(), charged(&lookup.state.backlog, 1));
    assert_eq!(lookup.get(keys(&["a"])).await.err(), Some(LookupError::Overloaded), "clients do not read");
}

#[tokio::test]
async fn a_get_finds_what_is_there_and_says_what_is_not() {
    let trial = Trial::holding(&[("a", "1"), ("A", "2"), ("a ", "3"), ("\0", "")]).await;
    let (lookup, tasks) = start(&trial, &limits());
    assert_eq!(values(&lookup, &["a"]).await, [Some("1".to_owned())]);
    assert_eq!(values(&lookup, &["b"]).await, [None]);
    let all = values(&lookup, &["a ", "gone", "A", "\0", "a"]).await;
    let expected = [Some("3"), None, Some("2"), Some(""), Some("1")];
    assert_eq!(all, expected.map(|value| value.map(ToOwned::to_owned)));
    assert_eq!(lookup.state.ready(), Ok(()));

    trial.write(&[("a", "new")]).await;
    assert_eq!(values(&lookup, &["a"]).await, [Some("new".to_owned())]);
    end(lookup, tasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_shares_few_selects_and_each_gets_its_own() {
    let texts: Vec<(String, String)> = (0..200).map(|n| (format!("k{n}"), format!("v{n}"))).collect();
    let entries: Vec<_> = texts.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let trial = Trial::holding(&entries).await;
    let (lookup, inlet, gone) = Lookup::new(&Limits { queue_keys_max: 10_000, ..limits() });
    let asked = |n: usize| {
        let lookup = lookup.clone();
        tokio::spawn(async move { values(&lookup, &[&format!("k{}", n % 250)]).await })
    };
    let gets: Vec<_> = (0..5_000).map(asked).collect();
    eventually("all wait", || lookup.state.waiting() == 5_000).await;
    let tasks = TaskTracker::new();
    let metrics = Metrics::new(&NoopMeterProvider::new().meter("test"));
    let inlet = Arc::new(tokio::sync::Mutex::new(inlet));
    let (store, state) = (trial.store.clone(), Arc::clone(&lookup.state));
    tasks.spawn(ReadLoop { store, inlet, state, metrics, gone }.run());
    for (n, get) in gets.into_iter().enumerate() {
        let n = n % 250;
        let expected = (n < 200).then(|| format!("v{n}"));
        assert_eq!(get.await.expect("it does not panic"), [expected]);
    }
    let selects = lookup.state.selects();
    assert!((40..80).contains(&selects), "{selects} SELECTs for 5000 gets");
    end(lookup, tasks).await;
}

#[tokio::test]
async fn a_missing_database_is_waited_for() {
    let trial = Trial::new();
    let (lookup, tasks) = start(&trial, &limits());
    eventually("it was tried", || lookup.state.ready().is_err_and(|why| !why.contains("not tried"))).await;
    let waiting = ask(&lookup, &["a"]).await;
    trial.migrate().await;
    let answer = tokio::time::timeout(PATIENCE, waiting).await.expect("it is answered in time");
    assert!(answer.expect("it does not panic").is_ok_and(|answer| answer.found[0].is_none()));
    assert_eq!(lookup.state.ready(), Ok(()));
    end(lookup, tasks).await;
}

#[tokio::test]
async fn the_readers_end_with_the_lookup_even_without_a_database() {
    let (lookup, tasks) = start(&Trial::new(), &limits());
    end(lookup, tasks).await;
}

async fn end(lookup: Lookup, tasks: TaskTracker) {
    let state = Arc::clone(&lookup.state);
    drop(lookup);
    tasks.close();
    tokio::time::timeout(PATIENCE, tasks.wait()).await.expect("the readers end");
    assert_eq!(state.connected(), 0);
}
