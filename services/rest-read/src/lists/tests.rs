//! The promises of lists: pages of the database, which lists are refused and why, and how their listers end.

use serde_json::Value;

use super::*;
use crate::cursor;
use crate::fixture::{PATIENCE, TestDatabase, eventually, limits};
use crate::gets::Gets;

fn health() -> Arc<Health> {
    Arc::clone(Gets::new(&limits()).0.health())
}

fn start(database: &TestDatabase, limits: &ReadLimits) -> (Lists, TaskTracker) {
    let tasks = TaskTracker::new();
    (Lists::start(&database.store, limits, &health(), &tasks, &Metrics::noop()), tasks)
}

fn all() -> Range {
    Range::new(String::new())
}

/// The keys of a page, and where the list goes on.
fn parts(body: &[u8]) -> (Vec<String>, Option<String>) {
    let body: Value = serde_json::from_slice(body).expect("a page is JSON");
    let items = body["items"].as_array().expect("items is a list");
    let keys = items.iter().map(|item| item["key"].as_str().unwrap_or_default().to_owned());
    (keys.collect(), body["next"].as_str().map(ToOwned::to_owned))
}

#[tokio::test]
async fn pages_follow_each_other_in_byte_order() {
    let entries = [("é", ""), ("b", "2"), ("B", "1"), ("a", ""), ("a\0", ""), ("\u{10ffff}", "x")];
    let database = TestDatabase::holding(&entries).await;
    let (lists, tasks) = start(&database, &limits());
    let (mut range, mut found) = (all(), Vec::new());
    loop {
        let (keys, next) = parts(&lists.page(range.clone(), 2, None).await.expect("the page can be read"));
        found.extend(keys);
        let Some(next) = next else { break };
        let key = cursor::decode("", &next).expect("it is a cursor");
        let key = String::from_utf8(key).expect("it is a key");
        assert_eq!(found.last().map(String::as_str), Some(key.as_str()));
        range.advance(key.as_str());
    }
    assert_eq!(found, ["B", "a", "a\0", "b", "é", "\u{10ffff}"]);
    drop(lists);
    tasks.close();
    tokio::time::timeout(PATIENCE, tasks.wait()).await.expect("the listers end with their queue");
}

#[tokio::test]
async fn a_page_counts_in_the_backlog_until_it_is_written() {
    let value = "v".repeat(1000);
    let database = TestDatabase::holding(&[("a", &value), ("b", &value)]).await;
    let (lists, _) = start(&database, &limits());
    let page = lists.page(all(), 10, None).await.expect("the page can be read");
    assert_eq!(lists.backlog.bytes(), page.len());
    assert_eq!(lists.health.unread(), 0, "gets do not wait for it");
    drop(page);
    assert_eq!(lists.backlog.bytes(), 0);
}

#[tokio::test]
async fn a_full_queue_of_lists_refuses_with_the_reason() {
    let (health, limits) = (health(), ReadLimits { list_queue_max: 1, ..limits() });
    let (lists, _queue) = Lists::new(&limits, &health);
    let asked = lists.clone();
    let _waits = tokio::spawn(async move { asked.page(all(), 1, None).await });
    eventually("the queue is full", || lists.queue.capacity() == 0).await;
    assert_eq!(lists.page(all(), 1, None).await.err(), Some(ReadError::Unavailable));
    let _connected = health.connection();
    assert_eq!(lists.page(all(), 1, None).await.err(), Some(ReadError::TooManyLists));
    health.lists.failed();
    let why = lists.page(all(), 1, None).await.err();
    assert_eq!(why, Some(ReadError::Unavailable), "the database answers gets, but refuses lists");
    health.lists.selected();
    assert_eq!(lists.page(all(), 1, None).await.err(), Some(ReadError::TooManyLists));
}

#[tokio::test]
async fn a_list_past_its_deadline_says_whether_the_database_works() {
    let health = health();
    let limits = ReadLimits { op_timeout: Duration::from_millis(20), ..limits() };
    let (lists, _queue) = Lists::new(&limits, &health);
    assert_eq!(lists.page(all(), 1, None).await.err(), Some(ReadError::Unavailable));
    let _connected = health.connection();
    let (asked, answers) = (lists.page(all(), 1, None), async { health.selected() });
    assert_eq!(tokio::join!(asked, answers).0.err(), Some(ReadError::Unavailable), "it answers only gets");
    let (asked, answers) = (lists.page(all(), 1, None), async { health.lists.selected() });
    assert_eq!(tokio::join!(asked, answers).0.err(), Some(ReadError::TooManyLists), "it answers others");
    // A lister that cannot connect meets the same deadline.
    let (lists, _) = start(&TestDatabase::new(), &limits);
    assert_eq!(lists.page(all(), 1, None).await.err(), Some(ReadError::Unavailable));
}

#[tokio::test]
async fn lists_whose_clients_left_are_not_read() {
    let database = TestDatabase::holding(&[("a", "1")]).await;
    let health = health();
    let (lists, queue) = Lists::new(&limits(), &health);
    for waiting in 1..=10 {
        let left = tokio::time::timeout(Duration::ZERO, lists.page(all(), 1, None)).await;
        assert!(left.is_err(), "nobody reads");
        assert_eq!(lists.queue.capacity(), limits().list_queue_max - waiting, "it is in the queue");
    }
    let damage = Arc::new(DamageLog::new("list"));
    let lister = ListerTask::new(database.store.clone(), queue, Arc::clone(&health), Metrics::noop(), damage);
    let lister = tokio::spawn(lister.run());
    assert_eq!(parts(&lists.page(all(), 1, None).await.expect("the page can be read")).0, ["a"]);
    assert_eq!(health.lists.selects(), 1);
    drop(lists);
    tokio::time::timeout(PATIENCE, lister).await.expect("it ends with its queue").expect("no panic");
}
