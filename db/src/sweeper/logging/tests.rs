//! The sweeper with a log of changes, in a store on `SQLite`.

use std::sync::Mutex;

use sqlx::{Connection as _, SqliteConnection};

use super::*;
use crate::changes::keys::unpack;
use crate::engine::Engine as _;
use crate::engine::clock;
use crate::sqlite::fixture::TestStore;
use crate::sweeper::hint::{REMOVAL_SHIFT, SLOT};

const MINUTE: u64 = 60_000_000;

struct Store {
    file: TestStore,
    now: u64,
}

impl Store {
    async fn new() -> Self {
        Self { file: TestStore::new().await, now: clock::now().expect("it is later than 1970") }
    }

    async fn put(&mut self, key: &str, rev: u64, expires_at: Option<u64>, hints: &[u64]) {
        let put = sqlx::query("insert into entries (k, v, rev, born, expires_at) values (?, x'', ?, 1, ?)");
        let put = put.bind(key.as_bytes()).bind(rev.cast_signed()).bind(expires_at.map(u64::cast_signed));
        put.execute(&mut self.file.other).await.expect("it is valid");
        for at in hints {
            let hint = sqlx::query("insert into expiries (at, k) values (?, ?)").bind(at.cast_signed());
            hint.bind(key.as_bytes()).execute(&mut self.file.other).await.expect("it is valid");
        }
    }

    /// Sweeps until `is_done`.
    async fn sweep_until(&mut self, mut is_done: impl FnMut(&[String], &[(String, u64)]) -> bool) {
        let every = Duration::from_millis(100);
        let config = SweepConfig { every, retention: Duration::from_hours(1), changes_bytes_max: 1 << 30 };
        let (engine, reports) = (self.file.engine.clone(), Mutex::new(Vec::new()));
        let observe = |report| reports.lock().expect("nobody panics").push(report);
        let keeping = sweep(engine.open_sweeper(), &config, &observe);
        let looking = async {
            loop {
                let (logged, hints) = (self.logged().await, self.hints().await);
                if is_done(&logged, &hints) {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let patience = Duration::from_secs(10);
        tokio::select! {
            failed = keeping => panic!("the sweeper failed: {failed:?}"),
            done = tokio::time::timeout(patience, looking) => done.expect("the sweeper does it"),
        }
    }

    /// The keys in the log, in its order.
    async fn logged(&mut self) -> Vec<String> {
        let rows = sqlx::query_scalar::<_, Vec<u8>>("select ks from changes order by lane, seq, part");
        let rows = rows.fetch_all(&mut self.file.other).await.expect("it can be read");
        let keys = rows.iter().flat_map(|ks| unpack(ks));
        keys.map(|key| key.expect("it is whole").as_str().to_owned()).collect()
    }

    async fn hints(&mut self) -> Vec<(String, u64)> {
        let rows = sqlx::query_as::<_, (Vec<u8>, i64)>("select k, at from expiries order by k, at");
        let rows = rows.fetch_all(&mut self.file.other).await.expect("it can be read");
        let text = |key| String::from_utf8(key).expect("it is a key");
        rows.into_iter().map(|(key, at)| (text(key), at.cast_unsigned())).collect()
    }

    async fn entries(&mut self) -> Vec<String> {
        let rows = sqlx::query_scalar::<_, Vec<u8>>("select k from entries order by k");
        let rows = rows.fetch_all(&mut self.file.other).await.expect("it can be read");
        rows.into_iter().map(|key| String::from_utf8(key).expect("it is a key")).collect()
    }
}

#[tokio::test]
async fn each_expiry_is_logged_once_at_its_time_and_its_hint_is_replaced() {
    let mut store = Store::new().await;
    let now = store.now;
    let slot = (now / SLOT + 1) * SLOT;
    // Of older programs: dead, and live.
    store.put("b", 1, Some(now - 1), &[slot]).await;
    store.put("c", 1, Some(slot + MINUTE), &[slot]).await;
    // Two hints for one entry, an entry that never expires, and a hint of nothing.
    store.put("d", 1, Some(now - MINUTE), &[now - MINUTE, now - 2]).await;
    store.put("e", 1, None, &[now - 3]).await;
    store.put("f", 1, Some(now + 5 * MINUTE), &[now - 3]).await;
    sqlx::query("insert into expiries values (7, x'7a')")
        .execute(&mut store.file.other)
        .await
        .expect("valid");
    // The last one, because the first look at the others must come before it.
    let soon = clock::now().expect("it is later than 1970") + 1_000_000;
    store.put("a", 1, Some(soon), &[soon.div_ceil(TICK) * TICK]).await;
    store.sweep_until(|logged, _| logged.len() >= 3).await;
    let mut logged = store.logged().await;
    assert_eq!(logged.pop().as_deref(), Some("a"), "the others were due at once");
    logged.sort_unstable();
    assert_eq!(logged, ["b", "d"]);
    let at = "select max(at) from changes where ks = x'000161'";
    let at = sqlx::query_scalar::<_, i64>(at).fetch_one(&mut store.file.other).await.expect("it is there");
    let late = at.cast_unsigned().checked_sub(soon).expect("no expiry is logged before it");
    assert!(late < 1_000_000, "{late} us late");
    let hints = store.hints().await;
    let removal = |end: u64| (end + SLOT).div_ceil(SLOT) * SLOT + REMOVAL_SHIFT;
    let expected = [("a", soon), ("b", now - 1), ("d", now - MINUTE)].map(|(key, end)| (key, removal(end)));
    for (key, at) in expected {
        assert!(hints.contains(&(key.to_owned(), at)), "{key}: {hints:?}");
    }
    assert_eq!(hints.len(), 5, "{hints:?}");
    for (key, end) in [("c", slot + MINUTE), ("f", now + 5 * MINUTE)] {
        let (_, at) = hints.iter().find(|hint| hint.0 == key).expect("it is live");
        assert!(*at > now && !at.is_multiple_of(SLOT) && *at <= end + TICK, "{key}: {at}");
    }
    let row = sqlx::query_as::<_, (i64, bool, i64)>("select seq, logged, rev from writers");
    let rows = row.fetch_all(&mut store.file.other).await.expect("it can be read");
    let [(seq, true, rev)] = rows[..] else { panic!("one lane, which logs: {rows:?}") };
    assert!(seq >= 2 && rev.cast_unsigned() >= soon, "the log tells who judged when: {seq}, {rev}");
}

#[tokio::test]
async fn entries_go_ten_minutes_after_they_were_logged_and_not_before() {
    let mut store = Store::new().await;
    let (now, old) = (store.now, store.now - 30 * MINUTE);
    let removal = |end: u64| (end + SLOT).div_ceil(SLOT) * SLOT + REMOVAL_SHIFT;
    // Deleted, expired and logged, never logged, written again meanwhile, and too young for its hint.
    store.put("a", old, Some(0), &[removal(old)]).await;
    store.put("b", 1, Some(old), &[removal(old)]).await;
    store.put("c", 1, Some(old), &[old]).await;
    store.put("d", now - 5 * MINUTE, Some(0), &[removal(old), removal(now - 5 * MINUTE)]).await;
    store.put("e", 1, Some(now + MINUTE), &[removal(old)]).await;
    store.sweep_until(|logged, hints| logged.len() == 2 && hints.len() == 2).await;
    assert_eq!(store.logged().await, ["c", "d"]);
    assert_eq!(store.entries().await, ["d", "e"]);
    let hints = store.hints().await;
    assert_eq!(hints[0], ("d".to_owned(), removal(now - 5 * MINUTE)));
    assert_eq!(hints[1].0, "e");
    assert!(!hints[1].1.is_multiple_of(SLOT), "{hints:?}");
}

#[tokio::test]
async fn more_expiries_than_one_transaction_takes_are_logged_at_once() {
    let mut store = Store::new().await;
    let end = store.now + 300_000;
    let tick = end.div_ceil(TICK) * TICK;
    sqlx::query("begin").execute(&mut store.file.other).await.expect("it is valid");
    for number in 0..1000 {
        store.put(&format!("{number:04}"), 1, Some(end), &[tick]).await;
    }
    sqlx::query("commit").execute(&mut store.file.other).await.expect("it is valid");
    store.sweep_until(|logged, _| logged.len() >= 1000).await;
    assert_eq!(store.logged().await.len(), 1000);
    assert_eq!(store.hints().await.len(), 1000, "one for the removal of each");
    let parts = sqlx::query_scalar::<_, i64>("select count(*) from changes").fetch_one(&mut store.file.other);
    assert_eq!(parts.await.expect("it can be read"), 4, "256 in a transaction");
}

#[tokio::test]
async fn a_lane_whose_row_is_gone_goes_on_under_a_new_id() {
    let mut store = Store::new().await;
    store.put("a", 1, Some(1), &[1]).await;
    let mut is_gone = false;
    let file = store.file.engine.path().to_owned();
    store
        .sweep_until(|logged, _| {
            if !logged.is_empty() && !is_gone {
                is_gone = true;
                let sql = "delete from writers; \
                    insert into entries (k, v, rev, born, expires_at) values (x'62', x'', 1, 1, 1); \
                    insert into expiries values (2, x'62');";
                run_sqlite(&file, sql);
            }
            logged.len() == 2
        })
        .await;
}

/// Runs statements on a connection of its own.
fn run_sqlite(file: &std::path::Path, sql: &'static str) {
    let url = format!("sqlite://{}", file.display());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let mut other = SqliteConnection::connect(&url).await.expect("it opens");
            sqlx::raw_sql(sql).execute(&mut other).await.expect("it is valid");
        });
    })
    .join()
    .expect("it runs");
}
