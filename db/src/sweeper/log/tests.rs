//! Cutting the log of changes in a store on `SQLite`.

use super::*;
use crate::engine::Engine as _;
use crate::sqlite::fixture::TestStore;

struct Store(TestStore);

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

    /// The lanes and seqs that are left, and the floor.
    async fn left(&mut self) -> (Vec<(i64, i64)>, i64) {
        let rows = sqlx::query_as("select lane, seq from changes order by lane, seq");
        let rows = rows.fetch_all(&mut self.0.other).await.expect("it can be read");
        let floor = sqlx::query_scalar("select floor from store").fetch_one(&mut self.0.other);
        (rows, floor.await.expect("it can be read"))
    }

    /// A whole round. Returns how many rows each step removed.
    async fn round(&self, log: &mut LogSweep, cutoff: u64) -> Vec<u64> {
        let mut session = self.0.engine.open_sweeper().await.expect("it opens");
        log.begin();
        let mut removed = Vec::new();
        while let Step::Removed(rows) = log.step(&mut session, cutoff).await.expect("it can be removed") {
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
    assert_eq!(store.round(&mut log, 10).await, [0; 0]);
    assert_eq!(log.bytes(), 500);
    assert_eq!(store.round(&mut log, 30).await, [2, 1]);
    assert_eq!(store.left().await, (vec![(3, 9), (7, 4)], 29), "the floor is what was removed last");
    assert_eq!(log.bytes(), 200);
    // The floor never goes back.
    store.add(2, 1, 5, 100).await;
    assert_eq!(store.round(&mut log, 30).await, [1]);
    assert_eq!(store.left().await.1, 29);
    // Nothing is kept.
    assert_eq!(store.round(&mut log, cutoff(100, 0)).await, [1, 1]);
    assert_eq!((store.left().await, log.bytes()), ((vec![], 31), 0));
}

#[tokio::test]
async fn of_a_log_that_is_too_large_the_oldest_rows_go() {
    let mut store = Store(TestStore::new().await);
    for (lane, seq, at) in [(3, 1, 10), (3, 2, 20), (3, 3, 50), (5, 1, 15), (5, 2, 40)] {
        store.add(lane, seq, at, 1000).await;
    }
    let mut log = LogSweep::new(Some(2500));
    assert_eq!(store.round(&mut log, 0).await, [1, 1, 1], "10, then 15, then 20");
    assert_eq!(store.left().await, (vec![(3, 3), (5, 2)], 20));
    // What comes later is counted, and counted only once.
    store.add(3, 4, 60, 400).await;
    store.add(9, 1, 61, 100).await;
    assert_eq!(store.round(&mut log, 0).await, [0; 0]);
    assert_eq!(log.bytes(), 2500);
    // What another process removes is no longer counted.
    store.execute("delete from changes where lane = 5 or seq = 3".into()).await;
    store.add(9, 2, 62, 2000).await;
    assert_eq!(store.round(&mut log, 0).await, [0; 0]);
    assert_eq!(log.bytes(), 2500);
    store.add(9, 3, 63, 1000).await;
    assert_eq!(store.round(&mut log, 0).await, [1, 2]);
    assert_eq!(store.left().await, (vec![(9, 3)], 62));
}

#[tokio::test]
async fn many_rows_go_in_small_steps() {
    let mut store = Store(TestStore::new().await);
    let rows = "with recursive n (i) as (select 1 union all select i + 1 from n where i < 600) \
        insert into changes select 3, (i + 1) / 2, i % 2, 10, zeroblob(9) from n";
    store.execute(rows.into()).await;
    let mut log = LogSweep::new(Some(1 << 20));
    assert_eq!(store.round(&mut log, 10).await, [0; 0]);
    assert_eq!(log.bytes(), 600 * 73);
    assert_eq!(store.round(&mut log, 11).await, [256, 256, 88]);
    let large = "insert into changes select 3, 1000 + value, 0, 10, zeroblob(1 << 20) from json_each('[1,2,3,4,5,6]')";
    store.execute(large.into()).await;
    assert_eq!(store.round(&mut log, 11).await, [4, 2], "4 MiB in a step");
    assert_eq!(log.bytes(), 0);
}
