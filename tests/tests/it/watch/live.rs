//! What a live watch is told: each last state, at one with gets, with atomic batches whole.

use std::time::{Duration, Instant};

use e2e::{
    Database, EngineKind, Event, HttpConnection, PATIENCE, System, Watch, Watched, promises, rev, storage,
};
use serde_json::json;

use super::{delete, deleted, put, set};

promises! {
    every:
        each_write_is_told_with_its_revision,
        who_has_an_event_reads_it_or_a_later_one_on_any_replica,
        an_atomic_batch_lies_between_two_cursors,
        a_key_that_changes_often_ends_with_its_last_state,
        a_slow_watcher_is_told_less_often_and_not_dropped,
        something_comes_every_ten_seconds,
        writes_of_other_keys_tell_nothing;
    sql:
        a_round_reads_only_what_is_new_in_a_long_log;
}

async fn each_write_is_told_with_its_revision(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let mut watch = Watch::open(system.http(), "prefix=k").await;
    watch.ready().await;
    let created = rev(&socket.ask(set("k", "1")).await);
    assert_eq!(watch.round().await.0, [put("k", "1", created)]);
    let updated = rev(&socket.ask(set("k", "\u{1}\"é")).await);
    assert_eq!(watch.round().await.0, [put("k", "\u{1}\"é", updated)]);
    let expires_at = 253_402_300_799_000_000;
    let message = json!({ "key": "k", "value": "3", "expires_at": expires_at }).to_string();
    let expiring = rev(&socket.ask(message).await);
    let expected =
        Event::Put { key: "k".into(), value: Some("3".into()), rev: expiring, expires_at: Some(expires_at) };
    assert_eq!(watch.round().await.0, [expected]);
    let gone = rev(&socket.ask(delete("k")).await);
    assert_eq!(watch.round().await.0, [deleted("k", gone)]);
    let message =
        json!({ "op": "batch", "ops": [{ "key": "k", "value": "4" }, { "key": "k2", "value": "5" }] });
    let reply: serde_json::Value =
        serde_json::from_str(&socket.ask(message.to_string()).await).expect("a reply is JSON");
    let [first, second] = [0, 1].map(|at| reply["results"][at]["rev"].as_u64().expect("a revision"));
    assert_eq!(watch.round().await.0, [put("k", "4", first), put("k2", "5", second)]);
}

async fn who_has_an_event_reads_it_or_a_later_one_on_any_replica(engine: EngineKind) {
    let system = System::start(engine).await;
    let other = system.another_reader().await;
    let mut watch = Watch::open(system.http(), "key=k").await;
    let mut connections =
        [HttpConnection::open(system.http()).await, HttpConnection::open(other.public).await];
    let mut socket = system.socket().await;
    let writer = tokio::spawn(async move {
        for number in 0_u64.. {
            socket.set("k", &number.to_string()).await;
        }
    });
    let mut events = 0;
    while events < 200 {
        let Event::Put { value: Some(told), .. } = watch.next().await else { continue };
        events += 1;
        for connection in &mut connections {
            let found = connection.get(&storage("k")).await.json();
            let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
            let (told, found) = (number(Some(&told)), number(found["value"].as_str()));
            assert!(found >= told, "{told:?} was told, and {found:?} was read afterwards");
        }
    }
    writer.abort();
}

async fn an_atomic_batch_lies_between_two_cursors(engine: EngineKind) {
    let system = System::start(engine).await;
    let writers = [system.another_writer().await, system.another_writer().await];
    let mut tasks = Vec::new();
    for (at, writer) in writers.iter().enumerate() {
        let mut socket = e2e::Socket::open(writer.public).await;
        tasks.push(tokio::spawn(async move {
            for number in 0_u64.. {
                let value = format!("{at}/{number}");
                let ops: Vec<_> =
                    (0..40).map(|key| json!({ "key": format!("k{key}"), "value": value })).collect();
                socket.ask(json!({ "op": "batch", "ops": ops }).to_string()).await;
            }
        }));
    }
    let started = Instant::now();
    let (mut watch, mut watched) = (Watch::open(system.http(), "prefix=k").await, Watched::new());
    let mut cursors = 0;
    while cursors < 100 && started.elapsed() < PATIENCE * 2 {
        if watched.hear(&watch.next().await).expect("no promise is broken") {
            cursors += 1;
            let mut values: Vec<_> = watched.entries().values().map(|held| &held.value).collect();
            assert!(matches!(values.len(), 0 | 40), "{} keys of 40", values.len());
            values.dedup();
            assert!(values.len() <= 1, "several batches at one cursor: {values:?}");
        }
    }
    assert!(cursors > 20, "only {cursors} cursors");
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

async fn a_key_that_changes_often_ends_with_its_last_state(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut watch = Watch::open(system.http(), "").await;
    watch.ready().await;
    let mut socket = system.socket().await;
    let writes = (0..2000).map(|number| e2e::write("k", &number.to_string()));
    socket.try_send_all(writes).await.expect("they are sent");
    for _ in 0..2000 {
        socket.next().await;
    }
    let mut told = Vec::new();
    while told.last() != Some(&1999) {
        if let Event::Put { value: Some(value), .. } = watch.next().await {
            told.push(value.parse::<u64>().expect("a number"));
        }
    }
    assert!(told.is_sorted(), "{told:?}");
}

async fn a_slow_watcher_is_told_less_often_and_not_dropped(engine: EngineKind) {
    let system = System::start(engine).await;
    let (mut watch, mut watched) = (Watch::open(system.http(), "").await, Watched::new());
    let mut socket = system.socket().await;
    // Far more bytes than all buffers on the way hold. The client takes little of it, but never nothing for long.
    let value = "v".repeat(64 * 1024);
    let mut told = Vec::new();
    for number in 0..400_u64 {
        let reply = socket.ask(e2e::write(&format!("k{}", number % 3), &format!("{number:04}{value}"))).await;
        assert!(reply.contains(r#""status":200"#), "{reply}");
        if number % 20 == 19 {
            told.push(watch.next().await);
        }
    }
    let mut puts = 0;
    let mut told = told.into_iter();
    loop {
        let event = match told.next() {
            Some(event) => event,
            None => watch.next().await,
        };
        puts += usize::from(event.key().is_some());
        let is_cursor = watched.hear(&event).expect("no promise is broken");
        let newest = watched.entries().get("k0").and_then(|held| held.value.as_deref());
        if is_cursor && newest.is_some_and(|value| value.starts_with("0399")) {
            break;
        }
    }
    assert!(puts < 400, "{puts} events for 400 writes that the client did not read");
    assert_eq!(watched.resets, [""; 0]);
}

async fn something_comes_every_ten_seconds(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let mut watch = Watch::open(system.http(), "key=quiet").await;
    let (_, first) = watch.ready().await;
    let started = Instant::now();
    socket.set("other", "1").await;
    let limit = Duration::from_millis(11_500);
    let event = watch.next_within(limit).await.expect("the stream goes on");
    let Event::Progress(second) = event else { panic!("{event:?} is no progress") };
    assert!(started.elapsed() > Duration::from_secs(8), "after {:?}", started.elapsed());
    assert_ne!(first, second, "the cursor goes on, also for who is told nothing");
    // It is as good as any other.
    let change = rev(&socket.ask(set("quiet", "1")).await);
    let mut resumed = Watch::resume(system.http(), "key=quiet", &second).await;
    assert_eq!(resumed.ready().await.0, [put("quiet", "1", change)]);
}

async fn writes_of_other_keys_tell_nothing(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let mut watch = Watch::open(system.http(), "prefix=a/").await;
    watch.ready().await;
    for number in 0..200 {
        socket.set(&format!("b/{number}"), "v").await;
    }
    let last = rev(&socket.ask(set("a/1", "v")).await);
    assert_eq!(watch.round().await.0, [put("a/1", "v", last)]);
}

async fn a_round_reads_only_what_is_new_in_a_long_log(engine: EngineKind) {
    const LOG: u64 = 4000;
    let (_server, system) = System::start_on_own_server(engine, &[]).await;
    let mut socket = system.socket().await;
    let now = rev(&socket.ask(set("k", "0")).await);
    // Each key of the store is a batch of a lane.
    system.database.put((0..LOG).map(|n| format!("{n:05}")), "v", "null").await;
    let lane = format!("insert into writers (id, seq, rev, logged) values (1, {LOG}, {now}, 1)");
    let log = format!(
        "insert into changes (lane, seq, part, at, ks) \
        select 1, row_number() over (order by k), 0, {now}, concat(x'0005', k) from entries where length(k) = 5"
    );
    system.database.execute(&lane).await;
    system.database.execute(&log).await;
    let mut watch = Watch::open(system.http(), "key=k").await;
    watch.ready().await;
    let mut root = system.database.root().await;
    // The number of rows that the server has read along an index. The sweeper reads the log once.
    let mut least = u64::MAX;
    for value in 0..10 {
        let before = Database::counted(&mut root, "Handler_read_next").await;
        let change = rev(&socket.ask(set("k", &value.to_string())).await);
        assert_eq!(watch.round().await.0, [put("k", &value.to_string(), change)]);
        least = least.min(Database::counted(&mut root, "Handler_read_next").await - before);
    }
    assert!(least < 100, "{least} rows were read");
}
