//! The promises of gets: which of them share a SELECT, which are refused and why, and how their readers end.

use super::*;
use crate::backlog::charged;
use crate::fixture::{PATIENCE, TestDatabase, a_key, eventually, limits};
use crate::gets::queue::Taken;

fn start(database: &TestDatabase, limits: &ReadLimits) -> (Gets, TaskTracker) {
    let tasks = TaskTracker::new();
    (Gets::start(&database.store, limits, &tasks, &Metrics::noop()), tasks)
}

fn keys(texts: &[&str]) -> Vec<Key> {
    texts.iter().map(|text| a_key(text)).collect()
}

/// Starts a get, and returns once it is in the queue.
async fn ask(gets: &Gets, texts: &[&str]) -> tokio::task::JoinHandle<Result<FoundEntries, ReadError>> {
    let (before, count) = (gets.health.waiting(), texts.len());
    let (asked, texts) = (gets.clone(), keys(texts));
    let result = tokio::spawn(async move { asked.get(texts).await });
    eventually("the get is in the queue", || gets.health.waiting() == before + count).await;
    result
}

/// How many keys each get of the next SELECT has. The SELECT ends at once.
async fn take(queue: &mut GetQueue) -> Vec<usize> {
    begin(queue).await.0
}

/// The same for a SELECT that is under way until the other part is dropped.
async fn begin(queue: &mut GetQueue) -> (Vec<usize>, Taken) {
    let taken = tokio::time::timeout(PATIENCE, queue.take()).await.expect("something waits");
    let taken = taken.expect("the queue is open");
    (taken.gets.iter().map(Get::len).collect(), taken)
}

/// Whether nothing that waits may be sent.
async fn nothing_may_be_sent(queue: &mut GetQueue) -> bool {
    tokio::time::timeout(Duration::from_millis(20), queue.take()).await.is_err()
}

async fn values(gets: &Gets, texts: &[&str]) -> Vec<Option<String>> {
    let result = gets.get(keys(texts)).await.expect("the get succeeds");
    result.found.into_iter().map(|found| found.map(|entry| entry.value)).collect()
}

#[tokio::test]
async fn what_waits_together_is_read_together() {
    let (gets, mut queue, _) = Gets::new(&limits());
    let _first = ask(&gets, &["a"]).await;
    assert_eq!(take(&mut queue).await, [1], "alone in the queue it goes at once");
    let mut waiting = Vec::new();
    for _ in 0..130 {
        waiting.push(ask(&gets, &["k"]).await);
    }
    assert_eq!(take(&mut queue).await, [1; 128]);
    assert_eq!(take(&mut queue).await, [1; 2]);
    assert_eq!(gets.health.waiting(), 0);
}

#[tokio::test]
async fn a_multi_get_is_never_split() {
    let (gets, mut queue, _) = Gets::new(&ReadLimits { lookup_keys_max: 4, ..limits() });
    let mut waiting = Vec::new();
    for texts in [&["a"][..], &["a", "b"], &["a", "b", "c"], &["a"], &["1", "2", "3", "4", "5"], &["a"]] {
        waiting.push(ask(&gets, texts).await);
    }
    assert_eq!(take(&mut queue).await, [1, 1, 1], "no SELECT has gets of both kinds");
    assert_eq!(take(&mut queue).await, [2]);
    assert_eq!(take(&mut queue).await, [3]);
    assert_eq!(take(&mut queue).await, [5], "even if it is larger than a SELECT should be");
    assert_eq!(gets.health.waiting(), 0);
}

#[tokio::test]
async fn a_get_whose_client_left_is_not_read() {
    let (gets, mut queue, _) = Gets::new(&limits());
    let left = ask(&gets, &["a"]).await;
    let _stays = ask(&gets, &["b", "c"]).await;
    left.abort();
    assert!(left.await.is_err_and(|error| error.is_cancelled()));
    assert!(take(&mut queue).await.is_empty());
    assert_eq!(take(&mut queue).await, [2]);
}

#[tokio::test]
async fn a_select_is_sent_however_many_bodies_wait_to_be_written() {
    let database = TestDatabase::holding(&[("a", "1")]).await;
    let (gets, tasks) = start(&database, &ReadLimits { backlog_bytes_max: 10_000, ..limits() });
    let backlog = |kind| Arc::clone(&gets.health.of(kind).backlog);
    let small = charged(&backlog(GetKind::Single), 10_000);
    let multi: Vec<_> = (0..2).map(|_| charged(&backlog(GetKind::Multi), 10_000)).collect();
    assert_eq!(values(&gets, &["a"]).await, [Some("1".to_owned())], "it has the room of large replies");
    drop((small, multi));
    assert_eq!(gets.health.unread(), 0);
    end(gets, tasks).await;
}

#[tokio::test]
async fn a_full_queue_refuses_with_the_reason() {
    let (gets, mut queue, _) = Gets::new(&ReadLimits { lookup_queue_max: 3, ..limits() });
    let _waiting = ask(&gets, &["a", "b"]).await;
    assert_eq!(gets.get(keys(&["c", "d"])).await.err(), Some(ReadError::Unavailable));
    let connected = gets.health.connection();
    assert_eq!(gets.get(keys(&["c", "d"])).await.err(), Some(ReadError::TooManyGets));
    drop(connected);
    let _singles = [ask(&gets, &["c"]).await, ask(&gets, &["c"]).await, ask(&gets, &["c"]).await];
    assert!(gets.get(keys(&["c"])).await.is_err(), "each kind of get has as much room, and no more");
    assert_eq!(take(&mut queue).await, [1, 1, 1]);
    assert_eq!(take(&mut queue).await, [2]);
}

#[tokio::test]
async fn single_gets_and_multi_gets_take_turns() {
    let (gets, mut queue, _) = Gets::new(&ReadLimits { lookup_keys_max: 4, readers: 1, ..limits() });
    let mut waiting = Vec::new();
    for _ in 0..2 {
        waiting.push(ask(&gets, &["a", "b", "c", "d"]).await);
    }
    for _ in 0..6 {
        waiting.push(ask(&gets, &["a"]).await);
    }
    for expected in [&[1, 1, 1, 1][..], &[4], &[1, 1], &[4]] {
        assert_eq!(take(&mut queue).await, expected);
    }
    let _multi = ask(&gets, &["a", "b"]).await;
    assert_eq!(take(&mut queue).await, [2], "a kind that waits alone waits for no turn");
}

#[tokio::test]
async fn multi_gets_leave_a_reader_to_single_gets() {
    let (gets, mut queue, _) = Gets::new(&ReadLimits { lookup_keys_max: 2, readers: 3, ..limits() });
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(ask(&gets, &["a", "b"]).await);
    }
    let (first, second) = (begin(&mut queue).await, begin(&mut queue).await);
    assert_eq!((first.0, second.0), (vec![2], vec![2]));
    assert!(nothing_may_be_sent(&mut queue).await, "the third reader takes no multi-get");
    for _ in 0..3 {
        waiting.push(ask(&gets, &["a"]).await);
        assert_eq!(take(&mut queue).await, [1], "but every single get at once");
    }
    drop(first.1);
    assert_eq!(take(&mut queue).await, [2], "a SELECT that has ended makes place for another");
    drop(second.1);
    assert_eq!(take(&mut queue).await, [2], "nothing is lost by waiting in vain");
}

#[tokio::test]
async fn gets_of_a_failed_select_go_first_and_as_multi_gets_need_a_permit() {
    let (gets, mut queue, _) = Gets::new(&ReadLimits { lookup_keys_max: 2, readers: 2, ..limits() });
    let _waiting = [ask(&gets, &["a"]).await, ask(&gets, &["b"]).await, ask(&gets, &["c"]).await];
    let (_, failed) = begin(&mut queue).await;
    let later = queue.take().await.expect("one is left").gets;
    queue.returner().give_back(later);
    queue.returner().give_back(failed.gets);
    assert_eq!(gets.health.waiting(), 3, "they count as before");
    assert_eq!([take(&mut queue).await, take(&mut queue).await], [vec![1, 1], vec![1]]);
    let _waiting = [ask(&gets, &["a", "b"]).await, ask(&gets, &["a", "b", "c"]).await];
    let (_, failed) = begin(&mut queue).await;
    drop(failed.permit);
    queue.returner().give_back(failed.gets);
    let (first, second) = (begin(&mut queue).await, nothing_may_be_sent(&mut queue).await);
    assert_eq!((first.0, second), (vec![2], true), "the one that was given back goes first, with the permit");
    drop(first.1);
    assert_eq!(take(&mut queue).await, [3]);
}

#[tokio::test]
async fn a_multi_get_of_large_values_is_measured_before_it_is_read() {
    let (large, larger) = ("v".repeat(600_000), "v".repeat(1_000_000));
    let texts: Vec<String> = (10..40).map(|number| number.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut entries: Vec<_> = texts.iter().map(|text| (*text, large.as_str())).collect();
    entries.push(("larger", &larger));
    let database = TestDatabase::holding(&entries).await;
    let (gets, tasks) = start(&database, &limits());
    let refused = gets.get(keys(&texts)).await.err();
    assert_eq!(refused, Some(ReadError::TooLarge { bytes: 28 * 600_000 }));
    eventually("their sizes were enough to refuse them", || gets.health.selects() == 1).await;
    let found = values(&gets, &[&texts[..19], &["larger"]].concat()).await;
    assert!(found.iter().take(19).all(|value| value.as_ref() == Some(&large)) && found[19] == Some(larger));
    eventually("one value is more than an even share, so all were read when they had room", || {
        gets.health.selects() == 3
    })
    .await;
    assert!(values(&gets, &texts[..16]).await.iter().all(|value| value.as_ref() == Some(&large)));
    eventually("so few cannot be too many", || gets.health.selects() == 4).await;
    assert_eq!(gets.health.unread(), 0);
    end(gets, tasks).await;
}

#[tokio::test]
async fn a_get_past_its_deadline_says_whether_the_database_works() {
    let (gets, _queue, _) = Gets::new(&ReadLimits { op_timeout: Duration::from_millis(20), ..limits() });
    assert_eq!(gets.get(keys(&["a"])).await.err(), Some(ReadError::Unavailable));
    let _connected = gets.health.connection();
    assert_eq!(gets.get(keys(&["a"])).await.err(), Some(ReadError::Unavailable), "connected, but it hangs");
    let (asked, answers) = (gets.get(keys(&["a"])), async { gets.health.selected() });
    assert_eq!(tokio::join!(asked, answers).0.err(), Some(ReadError::TooManyGets), "it answers others");
}

#[tokio::test]
async fn a_get_finds_what_is_there_and_says_what_is_not() {
    let database = TestDatabase::holding(&[("a", "1"), ("A", "2"), ("a ", "3"), ("\0", "")]).await;
    let (gets, tasks) = start(&database, &limits());
    assert_eq!(values(&gets, &["a"]).await, [Some("1".to_owned())]);
    assert_eq!(values(&gets, &["b"]).await, [None]);
    let all = values(&gets, &["a ", "gone", "A", "\0", "a"]).await;
    let expected = [Some("3"), None, Some("2"), Some(""), Some("1")];
    assert_eq!(all, expected.map(|value| value.map(ToOwned::to_owned)));
    assert_eq!(gets.health.ready(), Ok(()));

    database.write(&[("a", "new")]).await;
    assert_eq!(values(&gets, &["a"]).await, [Some("new".to_owned())]);
    end(gets, tasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_shares_few_selects_and_each_gets_its_own() {
    let texts: Vec<(String, String)> = (0..200).map(|n| (format!("k{n}"), format!("v{n}"))).collect();
    let entries: Vec<_> = texts.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let database = TestDatabase::holding(&entries).await;
    let (gets, queue, closed) = Gets::new(&ReadLimits { lookup_queue_max: 10_000, ..limits() });
    let asked = |n: usize| {
        let gets = gets.clone();
        tokio::spawn(async move { values(&gets, &[&format!("k{}", n % 250)]).await })
    };
    let waiting: Vec<_> = (0..5_000).map(asked).collect();
    eventually("all wait", || gets.health.waiting() == 5_000).await;
    let tasks = TaskTracker::new();
    let (returner, queue) = (queue.returner(), Arc::new(tokio::sync::Mutex::new(queue)));
    let (store, health) = (database.store.clone(), Arc::clone(&gets.health));
    tasks.spawn(ReaderTask { store, queue, returner, health, metrics: Metrics::noop(), closed }.run());
    for (n, get) in waiting.into_iter().enumerate() {
        let n = n % 250;
        let expected = (n < 200).then(|| format!("v{n}"));
        assert_eq!(get.await.expect("it does not panic"), [expected]);
    }
    let selects = gets.health.selects();
    assert!((40..80).contains(&selects), "{selects} SELECTs for 5000 gets");
    end(gets, tasks).await;
}

#[tokio::test]
async fn a_missing_database_is_waited_for() {
    let database = TestDatabase::new();
    let (gets, tasks) = start(&database, &limits());
    eventually("it was tried", || gets.health.ready().is_err_and(|why| !why.contains("not tried"))).await;
    let waiting = ask(&gets, &["a"]).await;
    database.migrate().await;
    let answer = tokio::time::timeout(PATIENCE, waiting).await.expect("it is answered in time");
    assert!(answer.expect("it does not panic").is_ok_and(|result| result.found[0].is_none()));
    assert_eq!(gets.health.ready(), Ok(()));
    end(gets, tasks).await;
}

#[tokio::test]
async fn the_readers_end_with_the_gets_even_without_a_database() {
    let (gets, tasks) = start(&TestDatabase::new(), &limits());
    end(gets, tasks).await;
}

async fn end(gets: Gets, tasks: TaskTracker) {
    let health = Arc::clone(&gets.health);
    drop(gets);
    tasks.close();
    tokio::time::timeout(PATIENCE, tasks.wait()).await.expect("the readers end");
    assert_eq!(health.connected(), 0);
}
