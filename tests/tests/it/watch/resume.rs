//! A stream that was cut off is resumed with its last cursor, and nothing is lost. A cursor that cannot be used is no error.

use std::time::{Duration, Instant};

use e2e::{EngineKind, Event, NotWatching, PATIENCE, System, Watch, eventually, promises, rev};

use super::{delete, deleted, put, put_alone, set};

promises! {
    every:
        a_resumed_stream_sends_what_has_changed_and_then_ready,
        a_cursor_holds_on_any_replica_and_after_restarts,
        a_watch_is_its_set_of_keys_whatever_their_order_and_values,
        an_empty_cursor_is_none,
        a_cursor_of_another_watch_is_a_reset,
        a_cursor_that_is_none_is_a_reset,
        a_cursor_is_a_reset_once_the_log_does_not_reach_back_to_it,
        a_restored_store_resets_cursors_and_open_streams,
        over_a_hundred_thousand_keys_are_a_reset,
        a_cursor_in_the_middle_of_a_snapshot_does_not_exist;
}

/// Reads a stream that begins with a reset for the reason `code`. Returns what is told to be there, and the cursor.
async fn reset(watch: &mut Watch, code: &str) -> (Vec<Event>, String) {
    assert_eq!(watch.next().await, Event::Reset(code.to_owned()));
    watch.ready().await
}

async fn a_resumed_stream_sends_what_has_changed_and_then_ready(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    for key in ["same", "changed", "deleted", "twice"] {
        socket.set(key, "1").await;
    }
    let (_, cursor) = Watch::open(system.http(), "").await.ready().await;
    for query in ["", "values=false", "snapshot=false"] {
        let (events, _) = Watch::resume(system.http(), query, &cursor).await.ready().await;
        assert_eq!(events, [], "nothing has changed: {query:?}");
    }
    let changed = rev(&socket.ask(set("changed", "2")).await);
    let gone = rev(&socket.ask(delete("deleted")).await);
    socket.set("twice", "2").await;
    let twice = rev(&socket.ask(set("twice", "3")).await);
    let new = rev(&socket.ask(set("new", "1")).await);
    let expected = |put: fn(&str, &str, u64) -> Event| {
        let mut all = [
            put("changed", "2", changed),
            deleted("deleted", gone),
            put("new", "1", new),
            put("twice", "3", twice),
        ];
        all.sort_by(|one, other| one.key().cmp(&other.key()));
        all
    };
    let sorted = |mut events: Vec<Event>| {
        events.sort_by(|one, other| one.key().cmp(&other.key()));
        events
    };
    let mut by_header = Watch::resume(system.http(), "", &cursor).await;
    let mut by_parameter = Watch::open(system.http(), &format!("after={cursor}&snapshot=false")).await;
    // The header is what a browser adds by itself: it is newer than the parameter.
    let mut by_both = Watch::resume(system.http(), "after=nonsense&snapshot=false", &cursor).await;
    for watch in [&mut by_header, &mut by_parameter, &mut by_both] {
        assert_eq!(sorted(watch.ready().await.0), expected(put));
    }
    let mut alone = Watch::resume(system.http(), "values=false", &cursor).await;
    assert_eq!(sorted(alone.ready().await.0), expected(|key, _, rev| put_alone(key, rev)));
    let live = rev(&socket.ask(set("same", "2")).await);
    for watch in [&mut by_header, &mut by_parameter, &mut by_both] {
        assert_eq!(watch.round().await.0, [put("same", "2", live)]);
    }
}

async fn a_cursor_holds_on_any_replica_and_after_restarts(engine: EngineKind) {
    let mut system = System::start(engine).await;
    let other = system.another_reader().await;
    let mut socket = system.socket().await;
    socket.set("k", "1").await;
    let (_, mut cursor) = Watch::open(system.http(), "prefix=k").await.ready().await;
    for number in 2..5 {
        let value = number.to_string();
        let change = rev(&system.socket().await.ask(set("k", &value)).await);
        match number {
            2 => {}
            3 => system.restart().await,
            _ => system.writer.kill(),
        }
        if number == 4 {
            system.restart_writer().await;
        }
        let mut watch = Watch::resume(other.public, "prefix=k", &cursor).await;
        assert_eq!(watch.ready().await.0, [put("k", &value, change)]);
        let mut watch = Watch::resume(system.http(), "prefix=k", &cursor).await;
        let (events, next) = watch.ready().await;
        assert_eq!(events, [put("k", &value, change)]);
        cursor = next;
    }
}

async fn a_watch_is_its_set_of_keys_whatever_their_order_and_values(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let (_, cursor) = Watch::open(system.http(), "key=a&key=b&values=false").await.ready().await;
    let change = rev(&socket.ask(set("a", "1")).await);
    for query in ["key=a&key=b", "key=b&key=a", "key=b&key=a&key=b&snapshot=false"] {
        let (events, _) = Watch::resume(system.http(), query, &cursor).await.ready().await;
        assert_eq!(events, [put("a", "1", change)], "{query}");
    }
    let (_, cursor) = Watch::open(system.http(), "").await.ready().await;
    let (events, _) = Watch::resume(system.http(), "prefix=", &cursor).await.ready().await;
    assert_eq!(events, [], "no prefix is the empty one");
}

async fn an_empty_cursor_is_none(engine: EngineKind) {
    let system = System::start(engine).await;
    let there = rev(&system.socket().await.ask(set("k", "1")).await);
    let (_, cursor) = Watch::open(system.http(), "").await.ready().await;
    let mut watch = Watch::resume(system.http(), "", "").await;
    assert_eq!(watch.ready().await.0, [put("k", "1", there)]);
    let mut watch = Watch::open(system.http(), "after=").await;
    assert_eq!(watch.ready().await.0, [put("k", "1", there)]);
    let mut watch = Watch::resume(system.http(), &format!("after={cursor}"), "").await;
    assert_eq!(watch.ready().await.0, [], "an empty header leaves the parameter");
}

async fn a_cursor_of_another_watch_is_a_reset(engine: EngineKind) {
    let system = System::start(engine).await;
    let there = rev(&system.socket().await.ask(set("a/1", "1")).await);
    let (_, cursor) = Watch::open(system.http(), "prefix=a/").await.ready().await;
    let told = [put("a/1", "1", there)];
    for (query, told) in [
        ("", &told[..]),
        ("prefix=a", &told),
        ("prefix=a/1", &told),
        ("key=a/1&snapshot=false", &told),
        ("prefix=b/", &[]),
    ] {
        let mut watch = Watch::resume(system.http(), query, &cursor).await;
        assert_eq!(reset(&mut watch, "other_watch").await.0, told, "{query}");
    }
}

async fn a_cursor_that_is_none_is_a_reset(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let there = rev(&socket.ask(set("k", "1")).await);
    let (_, cursor) = Watch::open(system.http(), "").await.ready().await;
    let other = System::start(engine).await;
    other.socket().await.set("k", "1").await;
    let (_, foreign) = Watch::open(other.http(), "").await.ready().await;
    let turned: String = cursor.chars().rev().collect();
    for (bad, code) in [
        ("nonsense", "bad_cursor"),
        (&cursor[..cursor.len() - 1], "bad_cursor"),
        (&cursor[1..], "bad_cursor"),
        (&turned, "bad_cursor"),
        (&format!("{cursor}="), "bad_cursor"),
        (&"A".repeat(9000), "bad_cursor"),
        ("1043", "bad_cursor"),
        (&foreign, "other_store"),
    ] {
        for query in ["", "snapshot=false"] {
            let mut watch = Watch::resume(system.http(), query, bad).await;
            let (events, good) = reset(&mut watch, code).await;
            assert_eq!(events, [put("k", "1", there)], "{bad}");
            let (events, _) = Watch::resume(system.http(), query, &good).await.ready().await;
            assert_eq!(events, [], "the cursor after a reset is good");
        }
    }
}

async fn a_cursor_is_a_reset_once_the_log_does_not_reach_back_to_it(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let (_, old) = Watch::open(system.http(), "key=k").await.ready().await;
    let first = rev(&socket.ask(set("k", "1")).await);
    // The cursor is older than `first`, and an open stream is two seconds younger.
    let mut open = Watch::open(system.http(), "").await;
    let there =
        eventually("two seconds pass", PATIENCE, async || match rev(&socket.ask(set("k", "1")).await) {
            there if there > first + 2_000_000 => Ok(there),
            _ => Err("they do not".into()),
        })
        .await;
    while !open.round().await.0.contains(&put("k", "1", there)) {}
    // A transaction may last ten minutes, so a cursor needs the log of ten minutes before it.
    let needed = first - 600_000_000;
    for (floor, is_lost) in [(needed - 60_000_000, false), (needed + 1_000_000, true)] {
        system.database.execute(&format!("update store set floor = {floor}")).await;
        let mut watch = Watch::resume(system.http(), "key=k", &old).await;
        if is_lost {
            let (events, good) = reset(&mut watch, "too_old").await;
            assert_eq!(events, [put("k", "1", there)]);
            assert_eq!(Watch::resume(system.http(), "key=k", &good).await.ready().await.0, []);
        } else {
            assert_eq!(watch.ready().await.0, [put("k", "1", there)]);
        }
    }
    let change = rev(&socket.ask(set("k", "2")).await);
    assert_eq!(open.round().await.0, [put("k", "2", change)], "an open stream is not concerned");
}

async fn a_restored_store_resets_cursors_and_open_streams(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let there = rev(&socket.ask(set("k", "1")).await);
    let mut open = Watch::open(system.http(), "").await;
    let (_, cursor) = open.ready().await;
    system.database.execute("update store set id = id + 1").await;
    assert_eq!(reset(&mut open, "other_store").await.0, [put("k", "1", there)]);
    let mut watch = Watch::resume(system.http(), "", &cursor).await;
    assert_eq!(reset(&mut watch, "other_store").await.0, [put("k", "1", there)]);
    let change = rev(&socket.ask(set("k", "2")).await);
    for watch in [&mut open, &mut watch] {
        assert_eq!(watch.round().await.0, [put("k", "2", change)]);
    }
}

async fn over_a_hundred_thousand_keys_are_a_reset(engine: EngineKind) {
    let system = System::start(engine).await;
    let now = rev(&system.socket().await.ask(set("k", "1")).await);
    let (_, cursor) = Watch::open(system.http(), "").await.ready().await;
    let (_, other) = Watch::open(system.http(), "prefix=k").await.ready().await;
    // A batch of a lane that no process has, in the form of the log. The keys have no rows any more.
    let keys = |from: u32, to: u32| {
        (from..to).fold(String::new(), |keys, key| keys + "0007" + &hex(&format!("x{key:06}")))
    };
    let log = async |seq: u32, keys: String| {
        let moved = if seq == 1 {
            format!("insert into writers (id, seq, rev, logged) values (1, 1, {now}, 1)")
        } else {
            format!("update writers set seq = {seq}, rev = rev + 1 where id = 1")
        };
        let row =
            format!("insert into changes (lane, seq, part, at, ks) values (1, {seq}, 0, {now}, x'{keys}')");
        system.database.execute(&row).await;
        system.database.execute(&moved).await;
    };
    log(1, keys(0, 100_000)).await;
    let mut watch = Watch::resume(system.http(), "", &cursor).await;
    let (events, _) = watch.ready().await;
    assert_eq!(events.len(), 100_000, "so many are sent one by one");
    assert_eq!(events[0], Event::Delete { key: "x000000".into(), rev: None, expired: false });
    log(2, keys(100_000, 100_001)).await;
    let mut watch = Watch::resume(system.http(), "", &cursor).await;
    assert_eq!(reset(&mut watch, "too_far_behind").await.0, [put("k", "1", now)]);
    let (events, _) = Watch::resume(system.http(), "prefix=k", &other).await.ready().await;
    assert_eq!(events, [], "only the keys of a watch count");
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

async fn a_cursor_in_the_middle_of_a_snapshot_does_not_exist(engine: EngineKind) {
    let system = System::start(engine).await;
    let keys = (0..2000).map(|number| format!("k{number:04}"));
    system.database.put(keys, &"v".repeat(100), "null").await;
    let mut watch = Watch::open(system.http(), "").await;
    for _ in 0..2000 {
        let event = watch.next().await;
        assert!(matches!(event, Event::Put { .. }), "{event:?} in a snapshot");
    }
    assert!(matches!(watch.next().await, Event::Ready(_)));
    drop(watch);
    // The place of a client that has left is free again.
    let started = Instant::now();
    eventually("its watch is over", PATIENCE, async || {
        let metrics = e2e::get(system.reads().admin, "/metrics").await.body;
        let open = metrics.lines().find(|line| line.starts_with("keywire_watches "));
        match open {
            Some("keywire_watches 0") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(started.elapsed() < Duration::from_secs(12));
    let refused = Watch::try_open(system.http(), "values=maybe", &[]).await;
    let Err(NotWatching::Refused(response)) = refused else { panic!("{refused:?}") };
    response.refused(422, "bad_parameter");
}
