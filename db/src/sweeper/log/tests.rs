//! Cutting the log of changes in a store on `SQLite`.

use super::*;
use crate::engine::Engine as _;
use crate::sqlite::fixture::TestStore;

/// A log that is not switched off, where rows from before this instant are too old.
fn kept(cutoff: u64) -> Kept {
    Kept { now: 0, cutoff, is_off: false }
}

struct Store(TestStore);

#[derive(Debug, PartialEq, Eq)]
struct Left {
    rows: Vec<(i64, i64)>,
    markers: Vec<(i64, i64)>,
    floor: i64,
}

impl Left {
    fn new(rows: &[(i64, i64)], markers: &[(i64, i64)], floor: i64) -> Self {
        Self { rows: rows.to_vec(), markers: markers.to_vec(), floor }
    }
}

impl Store {
    async fn execute(&mut self, sql: String) {
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut self.0.other).await.expect("it is valid");
    }

    /// Adds a row of the log, of `bytes` bytes with what a row takes beside them.
    async fn add(&mut self, lane: u64, seq: u64, at: u64, bytes: u64) {
        let ks = bytes - ROW_BYTES;
        let add = format!("insert into changes values ({lane}, {seq}, 0, {at}, zeroblob({ks}))");
        self.execute(add).await;
    }

    /// The lanes and seqs of the rows that are left, those of the markers, and the floor.
    async fn left(&mut self) -> Left {
        let rows = sqlx::query_as::<_, (i64, i64, bool)>(
            "select lane, seq, ks = x'' from changes order by lane, seq, part",
        );
        let rows = rows.fetch_all(&mut self.0.other).await.expect("it can be read");
        let floor = sqlx::query_scalar("select floor from store").fetch_one(&mut self.0.other);
        let floor = floor.await.expect("it can be read");
        let (markers, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(_, _, is_marker)| *is_marker);
        let numbers =
            |rows: Vec<(i64, i64, bool)>| rows.into_iter().map(|(lane, seq, _)| (lane, seq)).collect();
        Left { rows: numbers(rows), markers: numbers(markers), floor }
    }

    /// A whole round. Returns how many rows each step removed.
    async fn round(&self, log: &mut LogSweep, kept: Kept) -> Vec<u64> {
        let mut session = self.0.engine.open_sweeper().await.expect("it opens");
        log.begin();
        let mut removed = Vec::new();
        while let Step::Removed(rows) = log.step(&mut session, kept).await.expect("it can be removed") {
            if rows > 0 {
                removed.push(rows);
            }
        }
        removed
    }
}

#[tokio::test]
async fn rows_go_when_they_are_too_old_whoever_wrote_them() {
    let mut store = Store(TestStore::new().await);
    for (lane, seq, at) in [(3, 1, 10), (3, 2, 20), (3, 9, 30), (5, 1, 29), (7, 4, 31)] {
        store.add(lane, seq, at, 100).await;
    }
    let mut log = LogSweep::new(Some(1 << 20));
    assert_eq!(store.round(&mut log, kept(10)).await, [0; 0]);
    assert_eq!(log.bytes(), 500);
    assert_eq!(store.round(&mut log, kept(30)).await, [2, 1]);
    let left = Left::new(&[(3, 9), (7, 4)], &[], 29);
    assert_eq!(store.left().await, left, "the floor is what was removed last");
    assert_eq!(log.bytes(), 200);
    // The floor never goes back.
    store.add(2, 1, 5, 100).await;
    assert_eq!(store.round(&mut log, kept(30)).await, [1]);
    assert_eq!(store.left().await, left);
}

#[tokio::test]
async fn of_a_log_that_is_switched_off_all_rows_go() {
    const MINUTE: u64 = 60_000_000;
    let (mut store, now) = (Store(TestStore::new().await), 1000 * MINUTE);
    let off = Kept::at(now, 0);
    for (lane, seq, at) in
        [(3, 1, now - 11 * MINUTE), (3, 2, now), (5, 1, now - 11 * MINUTE), (7, 4, now - 1)]
    {
        store.add(lane, seq, at, 100).await;
    }
    let mut log = LogSweep::new(None);
    assert_eq!(store.round(&mut log, off).await, [2, 1, 1]);
    let floor = i64::try_from(now - 11 * MINUTE).expect("it is small");
    let left = Left::new(&[], &[(3, 2), (7, 4)], floor);
    assert_eq!(store.left().await, left, "the floor tells only of what was too old anyway");
    assert_eq!(store.round(&mut log, off).await, [0; 0]);
    // A marker makes room for the next one.
    store.add(3, 3, now, 100).await;
    assert_eq!(store.round(&mut log, off).await, [2]);
    assert_eq!(store.left().await, Left::new(&[], &[(3, 3), (7, 4)], floor));
    // A marker is too old when its row would have been.
    store.add(7, 5, now + 20 * MINUTE, 100).await;
    assert_eq!(store.round(&mut log, Kept::at(now + 10 * MINUTE, MINUTE)).await, [0; 0]);
    assert_eq!(store.round(&mut log, Kept::at(now + 12 * MINUTE, MINUTE)).await, [1, 1]);
    let floor = i64::try_from(now).expect("it is small");
    assert_eq!(store.left().await, Left::new(&[(7, 5)], &[], floor));
}

#[tokio::test]
async fn of_a_log_that_is_too_large_the_oldest_rows_go() {
    const SECOND: u64 = 1_000_000;
    let mut store = Store(TestStore::new().await);
    for (lane, seq, at) in [(3, 1, 10), (3, 2, 20), (3, 3, 50), (5, 1, 15), (5, 2, 40)] {
        store.add(lane, seq, at * SECOND, 1000).await;
    }
    let mut log = LogSweep::new(Some(2500));
    assert_eq!(store.round(&mut log, kept(0)).await, [1, 1, 2], "10, then 15, then 20 with the marker of 10");
    assert_eq!(store.left().await, Left::new(&[(3, 3), (5, 2)], &[(3, 2), (5, 1)], 0));
    // What comes later is counted, and counted only once.
    store.add(3, 4, 60 * SECOND, 400).await;
    store.add(9, 1, 61 * SECOND, 100).await;
    assert_eq!(store.round(&mut log, kept(0)).await, [0; 0]);
    assert_eq!(log.bytes(), 2500);
    // What another process removes is no longer counted.
    store.execute("delete from changes where lane = 5 or seq = 3".into()).await;
    store.add(9, 2, 62 * SECOND, 2000).await;
    assert_eq!(store.round(&mut log, kept(0)).await, [0; 0]);
    assert_eq!(log.bytes(), 2500);
    store.add(9, 3, 63 * SECOND, 1000).await;
    assert_eq!(store.round(&mut log, kept(0)).await, [2, 2]);
    assert_eq!(store.left().await, Left::new(&[(9, 3)], &[(3, 4), (9, 2)], 0));
}

#[tokio::test]
async fn lanes_that_write_in_turn_are_cut_in_few_steps() {
    let mut store = Store(TestStore::new().await);
    // 600 rows of three lanes, one each 10 ms, of 100 bytes.
    let rows = "with recursive n (i) as (select 1 union all select i + 1 from n where i < 600) \
        insert into changes select i % 3, i, 0, i * 10000, zeroblob(36) from n";
    store.execute(rows.into()).await;
    let mut log = LogSweep::new(Some(20_000));
    let steps = store.round(&mut log, kept(0)).await;
    assert!(steps.len() <= 15, "about 33 rows a step: {steps:?}");
    assert_eq!(log.bytes(), 20_000);
    let rows = store.left().await.rows;
    assert!(rows.iter().all(|(_, seq)| *seq > 200), "the lanes are cut alike: {rows:?}");
}

#[tokio::test]
async fn many_rows_go_in_small_steps() {
    let mut store = Store(TestStore::new().await);
    let rows = "with recursive n (i) as (select 1 union all select i + 1 from n where i < 600) \
        insert into changes select 3, (i + 1) / 2, i % 2, 10, zeroblob(9) from n";
    store.execute(rows.into()).await;
    let mut log = LogSweep::new(Some(1 << 20));
    assert_eq!(store.round(&mut log, kept(10)).await, [0; 0]);
    assert_eq!(log.bytes(), 600 * 73);
    assert_eq!(store.round(&mut log, kept(11)).await, [256, 256, 88]);
    let large = "insert into changes select 3, 1000 + value, 0, 10, zeroblob(1 << 20) from json_each('[1,2,3,4,5,6]')";
    store.execute(large.into()).await;
    assert_eq!(store.round(&mut log, kept(11)).await, [4, 2], "4 MiB in a step");
    assert_eq!(log.bytes(), 0);
}
