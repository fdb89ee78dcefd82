//! Time never goes back: if the clock of a database is set back, what expired stays gone, and revisions still grow.
//!
//! After a clock was set back, the stored time is ahead of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use e2e::{Database, EngineKind, System, eventually, promises, rev};

promises! {
    every:
        an_idle_writer_leaves_the_time_in_the_store,
        what_expired_stays_gone_when_the_clock_is_set_back,
        revisions_grow_after_a_sweep_and_a_clock_that_was_set_back;
}

const HOUR: u64 = 3_600_000_000;

/// The table that holds the largest time.
fn clock(engine: EngineKind) -> &'static str {
    match engine {
        EngineKind::Sqlite => "clock",
        EngineKind::MariaDb | EngineKind::MySql => "writers",
    }
}

async fn stored_time(database: &Database) -> u64 {
    let select = format!("select cast(coalesce(max(rev), 0) as signed) from {}", clock(database.engine));
    database.number(&select).await
}

/// Sets the stored time ahead of the clock.
async fn set_ahead(database: &Database, micros: u64) {
    database.execute(&format!("update {} set rev = rev + {micros}", clock(database.engine))).await;
}

/// Waits until `key` is absent.
async fn gone(system: &System, key: &str) {
    eventually("the entry is gone", Duration::from_secs(10), async || match system.read(key).await.status {
        404 => Ok(()),
        status => Err(format!("it is {status}")),
    })
    .await;
}

async fn an_idle_writer_leaves_the_time_in_the_store(engine: EngineKind) {
    let system = System::start(engine).await;
    system.socket().await.ask(r#"{"key":"k","value":"v","ttl":3600}"#).await;
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    let begun = u64::try_from(begun.as_micros()).expect("it is earlier than 586912");
    for second in 1..=3 {
        eventually("the time is in the store", Duration::from_secs(10), async || {
            let stored = stored_time(&system.database).await;
            if stored > begun + second * 1_000_000 { Ok(()) } else { Err(format!("{stored} after {begun}")) }
        })
        .await;
    }
}

async fn what_expired_stays_gone_when_the_clock_is_set_back(engine: EngineKind) {
    let mut system = System::start(engine).await;
    let mut socket = system.socket().await;
    for key in ["seen", "later"] {
        socket.ask(format!(r#"{{"key":"{key}","value":"v","ttl":1800}}"#)).await;
        assert_eq!(system.read(key).await.status, 200);
    }

    // Processes that run learn the time from the store.
    set_ahead(&system.database, HOUR).await;
    gone(&system, "seen").await;
    // The process that takes writes looks at the stored time each second, and not at the same instant as the one that reads.
    eventually("it is gone for writes, too", Duration::from_secs(3), async || {
        let reply = system.socket().await.ask(r#"{"key":"seen","value":"w","if_rev":0,"id":1}"#).await;
        if reply.starts_with(r#"{"message":"seen created""#) { Ok(()) } else { Err(reply) }
    })
    .await;
    let warned = || system.writer.log().contains("is behind the store clock");
    assert!(warned(), "it is said: {}", system.writer.log());

    // Processes that start do, too.
    system.restart().await;
    assert_eq!(system.read("later").await.status, 404);
    let list = system.connection().await.get("/storage?prefix=later").await;
    assert!(list.body.starts_with(r#"{"items":[]"#), "{}", list.body);
    let mut socket = system.socket().await;
    assert_eq!(socket.set("later", "w").await, r#"{"message":"later created","status":200}"#);

    // Time does not stand still meanwhile.
    socket.ask(r#"{"key":"short","value":"v","ttl":1}"#).await;
    assert_eq!(system.read("short").await.status, 200);
    gone(&system, "short").await;
}

async fn revisions_grow_after_a_sweep_and_a_clock_that_was_set_back(engine: EngineKind) {
    let swept_often = [("SWEEP_INTERVAL_MS", "100")];
    let mut system = System::start_with_settings(engine, &swept_often).await;
    let last = {
        let mut socket = system.socket().await;
        set_ahead(&system.database, 24 * HOUR).await;
        // The row of a lane that has not written yet has the time of its start, so any lane may be the first to know.
        eventually("a write has the store clock", Duration::from_secs(10), async || {
            let ahead = stored_time(&system.database).await;
            let rev = rev(&system.socket().await.ask(r#"{"op":"set","key":"k","value":"v"}"#).await);
            if rev + HOUR > ahead { Ok(()) } else { Err(format!("{rev} at {ahead}")) }
        })
        .await;
        rev(&socket.ask(r#"{"op":"delete","key":"k"}"#).await)
    };
    set_ahead(&system.database, HOUR).await;
    eventually("the tombstone is swept", Duration::from_secs(10), async || {
        match system.database.entries().await {
            0 => Ok(()),
            rows => Err(format!("{rows} rows")),
        }
    })
    .await;
    system.restart().await;
    let first = rev(&system.socket().await.ask(r#"{"op":"set","key":"k","value":"w"}"#).await);
    assert!(first > last, "{first} after {last}");
}
