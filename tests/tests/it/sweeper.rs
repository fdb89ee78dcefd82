//! Entries that have been dead for long are removed, by one sweeper at a time, and no others.
//!
//! Without a log of changes, where only the rounds of the sweeper look at hints. With one: `change_log`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use e2e::{Database, EngineKind, System, eventually, get, promises};
use sqlx::Executor as _;

promises! {
    every:
        an_entry_is_swept_ten_minutes_after_its_expiry_and_its_revision,
        a_sweep_removes_all_entries_that_are_due,
        deletes_and_expiries_leave_a_hint_for_the_sweeper;
    sql:
        one_process_sweeps_at_a_time;
}

const SWEPT_OFTEN: &[(&str, &str)] = &[("SWEEP_INTERVAL_MS", "100"), ("CHANGES_RETENTION_S", "0")];
const UNSWEPT: &[(&str, &str)] = &[("SWEEP_INTERVAL_MS", "86400000"), ("CHANGES_RETENTION_S", "0")];
const MINUTE: u64 = 60_000_000;
/// Hints are at multiples of this.
const SLOT: u64 = 10 * MINUTE;

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    u64::try_from(since.as_micros()).expect("it is earlier than 586912")
}

/// Inserts an entry as a write at `rev` would, and a hint at `hint`.
async fn put(database: &Database, key: char, rev: u64, expires_at: Option<u64>, hint: u64) {
    let (key, expires_at) = (u32::from(key), expires_at.map_or("null".into(), |at| at.to_string()));
    database
        .execute(&format!(
            "insert into entries (k, v, rev, born, expires_at) values (x'{key:02x}', x'', {rev}, {rev}, {expires_at})"
        ))
        .await;
    database.execute(&format!("insert into expiries (at, k) values ({hint}, x'{key:02x}')")).await;
}

/// Whether exactly one hint names `key` between two instants.
async fn hinted(database: &Database, key: char, from: u64, to: u64) {
    let code = u32::from(key);
    let found =
        format!("select count(*) from expiries where k = x'{code:02x}' and at between {from} and {to}");
    assert_eq!(database.number(&found).await, 1, "the hint of {key}");
}

async fn is_there(database: &Database, key: char) -> bool {
    let key = u32::from(key);
    database.number(&format!("select count(*) from entries where k = x'{key:02x}'")).await == 1
}

/// Waits until these numbers of entries and hints are left.
async fn left(database: &Database, entries: u64, hints: u64) {
    eventually("what is ripe is swept", Duration::from_secs(30), async || {
        let there = (database.entries().await, database.number("select count(*) from expiries").await);
        if there == (entries, hints) { Ok(()) } else { Err(format!("{there:?} entries and hints are left")) }
    })
    .await;
}

async fn an_entry_is_swept_ten_minutes_after_its_expiry_and_its_revision(engine: EngineKind) {
    let mut system = System::start_with_settings(engine, UNSWEPT).await;
    let (now, old) = (now(), now() - 11 * MINUTE);
    let database = &system.database;
    put(database, 'a', old, None, old).await;
    put(database, 'b', old, Some(now + 60 * MINUTE), old).await;
    put(database, 'c', old, Some(old), old).await;
    put(database, 'd', old, Some(0), old).await;
    // Dead for long, but written recently or with a clock that was ahead.
    put(database, 'e', now - 8 * MINUTE, Some(old), old).await;
    put(database, 'f', now + 30 * MINUTE, Some(0), old).await;
    // Written long ago, but dead only recently.
    put(database, 'g', old, Some(now - 8 * MINUTE), now - 8 * MINUTE).await;
    database.execute(&format!("insert into expiries (at, k) values ({old}, x'7a')")).await;

    system.set(SWEPT_OFTEN);
    system.restart_writer().await;
    left(&system.database, 5, 4).await;
    for key in ['a', 'b', 'e', 'f', 'g'] {
        assert!(is_there(&system.database, key).await, "{key} is there");
    }
    // The hints that are left name the entries for a later sweep, each at the time when the entry may be removed or a little later.
    for (key, at) in
        [('b', now + 60 * MINUTE), ('e', now - 8 * MINUTE), ('f', now + 30 * MINUTE), ('g', now - 8 * MINUTE)]
    {
        hinted(&system.database, key, at, at + SLOT).await;
    }
}

async fn a_sweep_removes_all_entries_that_are_due(engine: EngineKind) {
    let mut system = System::start_with_settings(engine, UNSWEPT).await;
    let old = now() - 11 * MINUTE;
    for letter in 'a'..='h' {
        put(&system.database, letter, old, Some(old), old).await;
    }
    // 8 x 8 x 8 = 512 keys of three letters: several transactions of the sweeper.
    let keys = "entries a cross join (select k from entries where length(k) = 1) b \
        cross join (select k from entries where length(k) = 1) c where length(a.k) = 1";
    let joined = if engine == EngineKind::Sqlite {
        "cast(a.k || b.k || c.k as blob)"
    } else {
        "concat(a.k, b.k, c.k)"
    };
    let copy = format!(
        "insert into entries (k, v, rev, born, expires_at) select {joined}, x'', {old}, {old}, {old} from {keys}"
    );
    system.database.execute(&copy).await;
    let hints = format!("insert into expiries (at, k) select {old}, k from entries where length(k) = 3");
    system.database.execute(&hints).await;
    assert_eq!(system.database.entries().await, 520);
    system.set(SWEPT_OFTEN);
    system.restart_writer().await;
    left(&system.database, 0, 0).await;
}

async fn deletes_and_expiries_leave_a_hint_for_the_sweeper(engine: EngineKind) {
    let system = System::start_with_settings(engine, UNSWEPT).await;
    let mut socket = system.socket().await;
    socket.set("a", "v").await;
    let (before, deleted) = (now(), e2e::rev(&socket.ask(r#"{"op":"delete","key":"a"}"#).await));
    socket.ask(r#"{"key":"b","value":"v","ttl":60}"#).await;
    let at = now() + 5 * MINUTE;
    socket.ask(format!(r#"{{"key":"c","value":"v","expires_at":{at}}}"#)).await;
    let after = now();
    // The clock of SQLite counts milliseconds.
    let spans = [
        ('a', deleted, deleted + SLOT),
        ('b', before + MINUTE - 1000, after + MINUTE + SLOT),
        ('c', at, at + SLOT),
    ];
    for (key, from, to) in spans {
        hinted(&system.database, key, from, to).await;
    }
    // Entries without an expiry leave no hint. An expiry that is extended again and again leaves few.
    socket.set("d", "v").await;
    for _ in 0..100 {
        socket.ask(r#"{"key":"e","value":"v","ttl":3153600000}"#).await;
    }
    let hints = system.database.number("select count(*) from expiries").await;
    assert!((4..=5).contains(&hints), "{hints} hints");
}

async fn one_process_sweeps_at_a_time(engine: EngineKind) {
    let mut system = System::start_with_settings(engine, UNSWEPT).await;
    let old = now() - 11 * MINUTE;
    put(&system.database, 'a', old, Some(old), old).await;
    let mut elsewhere = system.database.root().await;
    let name = &system.database.name;
    let lock = format!("do get_lock('keywire.sweeper.{name}', 0)");
    elsewhere.execute(sqlx::AssertSqlSafe(lock)).await.expect("the lock is free");

    system.set(SWEPT_OFTEN);
    system.restart_writer().await;
    eventually("a round ends without sweeping", Duration::from_secs(10), async || {
        let metrics = get(system.writer.admin, "/metrics").await.body;
        let elsewhere =
            metrics.lines().any(|line| line.starts_with("keywire_sweeps") && line.contains("elsewhere"));
        if elsewhere { Ok(()) } else { Err("no such round is counted".into()) }
    })
    .await;
    assert!(is_there(&system.database, 'a').await, "it is for the other to sweep");
    drop(elsewhere);
    left(&system.database, 0, 0).await;
}
