//! The log of changes: what is in it, when, and for how long.

mod handover;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use e2e::{Database, EngineKind, PATIENCE, System, eventually, measured, promises, run_to_end};

promises! {
    every:
        each_transaction_logs_the_keys_that_it_wrote,
        an_expiry_is_logged_within_a_second,
        ten_thousand_expiries_of_one_instant_are_logged_within_a_second,
        expiries_are_logged_in_time_beside_a_load_of_writes,
        changes_are_removed_and_the_store_says_so,
        without_a_retention_nothing_is_logged_and_the_log_goes,
        a_restored_store_has_another_id,
        old_fence_rows_are_removed;
}

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const SWEPT_OFTEN: &[(&str, &str)] = &[("SWEEP_INTERVAL_MS", "100")];

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    u64::try_from(since.as_micros()).expect("it is earlier than 586912")
}

/// How many rows of the log name `key`, which is in no other key.
async fn logged(database: &Database, key: &str) -> u64 {
    database.number(&format!("select count(*) from changes where instr(ks, '{key}') > 0")).await
}

/// When a row that names `key` was last logged.
async fn logged_at(database: &Database, key: &str) -> u64 {
    database.number(&format!("select coalesce(max(at), 0) from changes where instr(ks, '{key}') > 0")).await
}

/// Waits until `select` finds `expected`.
async fn until(database: &Database, what: &str, select: &str, expected: u64) {
    eventually(what, Duration::from_secs(30), async || match database.number(select).await {
        found if found == expected => Ok(()),
        found => Err(format!("{found}, not {expected}")),
    })
    .await;
}

async fn each_transaction_logs_the_keys_that_it_wrote(engine: EngineKind) {
    let system = System::start(engine).await;
    let database = &system.database;
    until(database, "the retention is told", "select coalesce(retention, 0) from store", 3600).await;
    let before = now();
    let mut socket = system.socket().await;
    socket.set("first", "v").await;
    socket.ask(r#"{"op":"delete","key":"first"}"#).await;
    socket
        .ask(r#"{"op":"batch","ops":[{"op":"set","key":"second","value":"v"},{"op":"set","key":"third","value":"v"}]}"#)
        .await;
    // What changes nothing is not logged.
    socket.ask(r#"{"op":"delete","key":"absent"}"#).await;
    socket.ask(r#"{"op":"set","key":"fourth","value":"v","if_rev":7}"#).await;
    assert_eq!((logged(database, "first").await, logged(database, "absent").await), (2, 0));
    assert_eq!(logged(database, "fourth").await, 0);
    let together = "select count(*) from changes where instr(ks, 'second') > 0 and instr(ks, 'third') > 0";
    assert_eq!(database.number(together).await, 1, "an atomic write is one batch");
    let bad = format!(
        "select count(*) from changes c left join writers w on w.id = c.lane \
        where w.id is null or w.logged <> 1 or c.seq > w.seq or c.part <> 0 or c.at < {before} or w.rev < {before}"
    );
    assert_eq!(database.number(&bad).await, 0, "each row is of a batch that a lane committed");
}

async fn an_expiry_is_logged_within_a_second(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let at = now() + 1500 * 1000;
    socket.ask(format!(r#"{{"key":"instant","value":"v","expires_at":{at}}}"#)).await;
    socket.ask(r#"{"key":"kept","value":"v","ttl":3600}"#).await;
    socket.ask(r#"{"key":"short","value":"v","ttl":1}"#).await;
    let short = system.database.number("select expires_at from entries where k = x'73686f7274'").await;
    for (key, end) in [("short", short), ("instant", at)] {
        let select = format!("select count(*) from changes where instr(ks, '{key}') > 0");
        until(&system.database, "the expiry is logged", &select, 2).await;
        let late = logged_at(&system.database, key).await.checked_sub(end).expect("not before it expires");
        measured(&format!("{engine:?}: {key} is logged {} ms after its expiry", late / 1000));
        assert!(late < SECOND, "{key}: {late} us");
    }
    assert_eq!(logged(&system.database, "kept").await, 1);
    // It was logged by a lane of its own, whose clock was not behind.
    let judged = "select count(*) from changes c join writers w on w.id = c.lane \
        where instr(c.ks, 'instant') > 0 and w.rev >= (select expires_at from entries where k = x'696e7374616e74')";
    assert_eq!(system.database.number(judged).await, 1);
}

async fn ten_thousand_expiries_of_one_instant_are_logged_within_a_second(engine: EngineKind) {
    const COUNT: u64 = 10_000;
    let system = System::start(engine).await;
    system.socket().await.set("warm", "v").await;
    let at = now() + 6 * SECOND;
    let tick = at.div_ceil(250_000) * 250_000;
    let keys = (0..COUNT).map(|number| format!("many{number:06}"));
    system.database.put(keys, "v", &at.to_string()).await;
    let hints = format!("insert into expiries (at, k) select {tick}, k from entries where expires_at = {at}");
    system.database.execute(&hints).await;
    assert!(now() < at, "the machine is too slow for this test");
    // Each key has twelve bytes in the log.
    let select = "select coalesce(sum(length(ks)), 0) div 12 from changes where instr(ks, 'many') > 0";
    let select = if engine == EngineKind::Sqlite { select.replace(" div ", " / ") } else { select.into() };
    until(&system.database, "all of them are logged", &select, COUNT).await;
    let late = logged_at(&system.database, "many").await.checked_sub(at).expect("not before they expire");
    measured(&format!(
        "{engine:?}: the last of {COUNT} expiries is logged {} ms after the instant",
        late / 1000
    ));
    // A second on a quiet machine, as measured. Other tests run meanwhile.
    assert!(late < 10 * SECOND, "{late} us");
}

async fn expiries_are_logged_in_time_beside_a_load_of_writes(engine: EngineKind) {
    let system = System::start(engine).await;
    let load = e2e::Load::start(system.ws(), "load/", 4, 64);
    let mut socket = system.socket().await;
    for number in 0..10 {
        let at = now() + SECOND + number * 137_000;
        socket.ask(format!(r#"{{"key":"short{number}","value":"v","expires_at":{at}}}"#)).await;
    }
    for number in 0..10 {
        let key = format!("short{number}");
        let select = format!("select count(*) from changes where instr(ks, '{key}') > 0");
        until(&system.database, "the expiry is logged", &select, 2).await;
        let end = format!("select expires_at from entries where k = '{key}'");
        let end = if engine == EngineKind::Sqlite {
            format!("select expires_at from entries where k = cast('{key}' as blob)")
        } else {
            end
        };
        let end = system.database.number(&end).await;
        let late = logged_at(&system.database, &key).await.checked_sub(end).expect("not before it expires");
        measured(&format!("{engine:?}: under load, {key} is logged {} ms after its expiry", late / 1000));
        assert!(late < if cfg!(debug_assertions) { 2 * SECOND } else { SECOND }, "{key}: {late} us");
    }
    let tally = load.stop().await;
    assert!(tally.strange.is_empty(), "{:?}", tally.strange);
}

async fn changes_are_removed_and_the_store_says_so(engine: EngineKind) {
    let settings =
        [("SWEEP_INTERVAL_MS", "100"), ("CHANGES_RETENTION_S", "60"), ("CHANGES_BYTES_MAX", "1048576")];
    let system = System::start_with_settings(engine, &settings).await;
    let (old, young) = (now() - 12 * MINUTE, now() - 10 * MINUTE);
    // The lane 7 has no fence row any more.
    let rows = format!(
        "insert into changes (lane, seq, part, at, ks) values \
        (7, 1, 0, {old}, x'000161'), (7, 1, 1, {old}, x'000162'), (8, 1, 0, {old}, x'000163'), (7, 2, 0, {young}, x'000164')"
    );
    system.database.execute(&rows).await;
    until(&system.database, "the old rows are removed", "select count(*) from changes", 1).await;
    until(&system.database, "the floor", "select floor from store", old).await;
    // A log that is too large loses its oldest rows.
    let large = |seq: u64, at: u64| {
        let blob = if engine == EngineKind::Sqlite { "zeroblob(400000)" } else { "repeat('x', 400000)" };
        format!("insert into changes (lane, seq, part, at, ks) values (9, {seq}, 0, {at}, {blob})")
    };
    for (seq, at) in [(1, young + 1), (2, young + 2), (3, young + 3)] {
        system.database.execute(&large(seq, at)).await;
    }
    let oldest = "select min(at) from changes where length(ks) > 0";
    until(&system.database, "the oldest are removed", oldest, young + 2).await;
    let marker = "select seq from changes where lane = 9 and length(ks) = 0";
    assert_eq!(system.database.number(marker).await, 1, "a marker says what was removed");
    assert_eq!(system.database.number("select floor from store").await, old, "it was not too old");
}

async fn without_a_retention_nothing_is_logged_and_the_log_goes(engine: EngineKind) {
    let mut system = System::start_with_settings(engine, SWEPT_OFTEN).await;
    system.socket().await.set("logged", "v").await;
    assert_eq!(logged(&system.database, "logged").await, 1);
    system.set(&[("SWEEP_INTERVAL_MS", "100"), ("CHANGES_RETENTION_S", "0")]);
    system.restart().await;
    until(&system.database, "the retention is told", "select coalesce(retention, 9) from store", 0).await;
    let logged_rows = "select count(*) from changes where length(ks) > 0";
    until(&system.database, "the log is removed", logged_rows, 0).await;
    let lanes = if engine == EngineKind::Sqlite { 1 } else { 3 };
    until(&system.database, "its lanes say so", "select count(*) from writers where logged = 0", lanes).await;
    let mut socket = system.socket().await;
    socket.set("silent", "v").await;
    socket.ask(r#"{"key":"short","value":"v","ttl":1}"#).await;
    eventually("the entry expires", PATIENCE, async || match system.read("short").await.status {
        404 => Ok(()),
        status => Err(format!("{status}")),
    })
    .await;
    assert_eq!(system.database.number(logged_rows).await, 0);
    // The hints stand on whole ten minutes, as those of the program before the log of changes.
    let hints = "select count(*) from expiries where at % 600000000 = 0";
    assert_eq!(system.database.number(hints).await, 1);
    // A process that logs again looks at them early.
    system.set(SWEPT_OFTEN);
    system.restart().await;
    until(&system.database, "the hint is replaced", hints, 0).await;
    until(
        &system.database,
        "the expiry is logged",
        "select count(*) from changes where instr(ks, 'short') > 0",
        1,
    )
    .await;
}

async fn a_restored_store_has_another_id(engine: EngineKind) {
    let database = Database::fresh(engine).await;
    database.migrate();
    let id = async || database.number("select id from store where one = 0").await;
    let first = id().await;
    let (program, env) = match engine {
        EngineKind::Sqlite => ("keywire", database.migration_env()),
        EngineKind::MariaDb | EngineKind::MySql => ("ws-ingest", database.migration_env()),
    };
    for (args, changes) in [(&["migrate"][..], false), (&["migrate", "--restored"], true)] {
        let before = id().await;
        let output = run_to_end(program, args, &env);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(id().await != before, changes, "{args:?}");
    }
    assert!(first > 0 && id().await > 0);
}

async fn old_fence_rows_are_removed(engine: EngineKind) {
    let system = System::start_with_settings(engine, SWEPT_OFTEN).await;
    // The sweeper goes by the stored time.
    system.socket().await.set("k", "v").await;
    let day = 24 * 60 * MINUTE;
    let rows = format!(
        "insert into writers (id, seq, rev) values (1, 1, {}), (2, 1, {}), (3, 0, {}), (4, 0, {})",
        now() - day - MINUTE,
        now() - day + 5 * MINUTE,
        now() - 61 * MINUTE,
        now() - 55 * MINUTE
    );
    system.database.execute(&rows).await;
    let old = "select count(*) from writers where id in (1, 3)";
    until(&system.database, "the old rows are swept", old, 0).await;
    let young = "select count(*) from writers where id in (2, 4)";
    assert_eq!(system.database.number(young).await, 2);
}
