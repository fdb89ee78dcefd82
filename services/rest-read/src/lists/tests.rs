//! The promises of lists: pages of the database, which lists are refused and why, and how their listers end.

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::Value;

use super::*;
use crate::cursor;
use crate::fixture::{PATIENCE, TestDatabase, eventually, limits};
use crate::gets::Gets;
use crate::owner::owner;

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

fn query(range: Range, items_max: usize) -> PageQuery {
    PageQuery { range, items_max, with_values: true }
}

/// The first page of all keys.
fn page_of(items_max: usize) -> PageQuery {
    query(all(), items_max)
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
        let page = lists.page(query(range.clone(), 2), &owner(1), None).await.expect("the page can be read");
        let keys_only = PageQuery { with_values: false, ..query(range.clone(), 2) };
        let keys_only = lists.page(keys_only, &owner(1), None).await.expect("the page can be read");
        assert_eq!(parts(&page), parts(&keys_only), "the same keys and the same cursor");
        assert!(!String::from_utf8_lossy(&keys_only).contains("value"), "{keys_only:?}");
        let (keys, next) = parts(&page);
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
    let page = lists.page(page_of(10), &owner(1), None).await.expect("the page can be read");
    assert_eq!(lists.backlog.bytes(), page.len());
    assert_eq!(lists.health.unread(), 0, "gets do not wait for it");
    drop(page);
    assert_eq!(lists.backlog.bytes(), 0);
}

#[tokio::test]
async fn a_full_queue_of_lists_refuses_with_the_reason() {
    let (health, limits) = (health(), ReadLimits { listers: 1, list_queue_max: 1, ..limits() });
    let (lists, _queue) = Lists::new(&limits, &health);
    let owner = owner(1);
    let mut under_way = std::pin::pin!(lists.page(page_of(1), &owner, None));
    let mut waits = std::pin::pin!(lists.page(page_of(1), &owner, None));
    assert!(under_way.as_mut().now_or_never().is_none() && waits.as_mut().now_or_never().is_none());
    assert_eq!(lists.page(page_of(1), &owner, None).await.err(), Some(ReadError::Unavailable));
    let _connected = health.connection();
    assert_eq!(lists.page(page_of(1), &owner, None).await.err(), Some(ReadError::TooManyLists));
    health.lists.failed();
    let why = lists.page(page_of(1), &owner, None).await.err();
    assert_eq!(why, Some(ReadError::Unavailable), "the database answers gets, but refuses lists");
    health.lists.selected();
    assert_eq!(lists.page(page_of(1), &owner, None).await.err(), Some(ReadError::TooManyLists));
}

#[tokio::test]
async fn a_list_past_its_deadline_says_whether_the_database_works() {
    let (health, owner) = (health(), owner(1));
    let limits = ReadLimits { op_timeout: Duration::from_millis(20), ..limits() };
    let (lists, _queue) = Lists::new(&limits, &health);
    assert_eq!(lists.page(page_of(1), &owner, None).await.err(), Some(ReadError::Unavailable));
    let _connected = health.connection();
    let (asked, answers) = (lists.page(page_of(1), &owner, None), async { health.selected() });
    assert_eq!(tokio::join!(asked, answers).0.err(), Some(ReadError::Unavailable), "it answers only gets");
    let (asked, answers) = (lists.page(page_of(1), &owner, None), async { health.lists.selected() });
    assert_eq!(tokio::join!(asked, answers).0.err(), Some(ReadError::TooManyLists), "it answers others");
    // A lister that cannot connect meets the same deadline.
    let (lists, _) = start(&TestDatabase::new(), &limits);
    assert_eq!(lists.page(page_of(1), &owner, None).await.err(), Some(ReadError::Unavailable));
}

/// A page that has room is of the owner that waits, not of the one that has waited longer and has had its turn.
#[tokio::test]
async fn owners_take_turns_at_the_room_in_the_backlog() {
    let value = "v".repeat(20_000);
    let database = TestDatabase::holding(&[("a", &value)]).await;
    // Room for one page.
    let limits = ReadLimits { backlog_bytes_max: 30_000, ..limits() };
    let (lists, _) = start(&database, &limits);
    let (first, second) = (owner(1), owner(2));
    let page = |owner: &Owner| {
        let (lists, owner) = (lists.clone(), owner.clone());
        async move { lists.page(page_of(1), &owner, None).await.expect("the page can be read") }
    };
    let unread = page(&first).await;
    let waits_for_room = |count: usize| {
        let room = lists.room.clone();
        move || room.waiting() == count
    };
    // The first of them has the turn to wait for room.
    let mut others = FuturesUnordered::new();
    for number in 0..4 {
        others.push(tokio::spawn(page(&first)));
        eventually("it waits for room", waits_for_room(number)).await;
    }
    let mut other = tokio::spawn(page(&second));
    eventually("it waits for room", waits_for_room(4)).await;
    drop(unread);
    let mut before = 0;
    loop {
        tokio::select! {
            biased;
            Some(Ok(page)) = others.next() => {
                before += 1;
                drop(page);
            }
            page = &mut other => {
                page.expect("it ends");
                break;
            }
        }
    }
    assert!(before <= 2, "{before} pages of the first owner went before");
}

#[tokio::test]
async fn lists_whose_clients_left_are_not_read() {
    let database = TestDatabase::holding(&[("a", "1")]).await;
    let health = health();
    let (limits, owner) = (ReadLimits { listers: 10, ..limits() }, owner(1));
    let (lists, queue) = Lists::new(&limits, &health);
    for waiting in 1..=limits.listers {
        let left = tokio::time::timeout(Duration::ZERO, lists.page(page_of(1), &owner, None)).await;
        assert!(left.is_err(), "nobody reads");
        assert_eq!(lists.queue.capacity(), limits.listers - waiting, "it is in the queue");
    }
    let damage = Arc::new(DamageLog::new("list"));
    let lister = ListerTask::new(database.store.clone(), queue, Arc::clone(&health), Metrics::noop(), damage);
    let lister = tokio::spawn(lister.run());
    assert_eq!(parts(&lists.page(page_of(1), &owner, None).await.expect("the page can be read")).0, ["a"]);
    assert_eq!(health.lists.selects(), 1);
    drop(lists);
    tokio::time::timeout(PATIENCE, lister).await.expect("it ends with its queue").expect("no panic");
}
