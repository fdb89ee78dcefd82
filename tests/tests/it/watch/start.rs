//! How a watch begins: what is there, then `ready`.

use std::collections::BTreeSet;

use e2e::{EngineKind, Event, System, Watch, promises, rev, write};

use super::{put, put_alone, set};

promises! {
    every:
        what_is_there_comes_in_byte_order_and_then_ready,
        ready_comes_also_when_nothing_is_there,
        without_a_snapshot_a_watch_begins_with_ready,
        only_the_keys_watched_are_told,
        values_can_be_left_out,
        a_large_snapshot_is_whole_and_of_one_instant,
        a_stream_is_not_stored_on_the_way_and_says_when_to_come_back;
}

async fn what_is_there_comes_in_byte_order_and_then_ready(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let mut expected = Vec::new();
    // In byte order, which is not that of any language.
    for (key, value) in [("A", "1"), ("a", "\"\\\n\0"), ("a/", ""), ("ab", "2"), ("é", "3"), ("😀", "4")] {
        expected.push(put(key, value, rev(&socket.ask(set(key, value)).await)));
    }
    let gone = rev(&socket.ask(set("gone", "1")).await);
    assert!(rev(&socket.ask(super::delete("gone")).await) > gone);
    let (events, cursor) = Watch::open(system.http(), "").await.ready().await;
    assert_eq!(events, expected);
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    assert!(!cursor.is_empty() && cursor.bytes().all(is_base64url), "{cursor}");
}

async fn ready_comes_also_when_nothing_is_there(engine: EngineKind) {
    let system = System::start(engine).await;
    system.socket().await.set("a", "1").await;
    for query in ["prefix=user/", "key=b&key=c", "prefix=user/&values=false"] {
        let (events, _) = Watch::open(system.http(), query).await.ready().await;
        assert_eq!(events, [], "{query}");
    }
}

async fn without_a_snapshot_a_watch_begins_with_ready(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    socket.set("a", "1").await;
    let mut watch = Watch::open(system.http(), "snapshot=false").await;
    assert_eq!(watch.ready().await.0, []);
    let second = rev(&socket.ask(set("a", "2")).await);
    assert_eq!(watch.round().await.0, [put("a", "2", second)]);
}

async fn only_the_keys_watched_are_told(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let keys = ["user", "user/", "user/1", "user0", "a%b", "z"];
    let mut revs = Vec::new();
    for key in keys {
        revs.push(rev(&socket.ask(set(key, "v")).await));
    }
    for (query, told) in [
        ("", vec!["a%b", "user", "user/", "user/1", "user0", "z"]),
        ("prefix=", vec!["a%b", "user", "user/", "user/1", "user0", "z"]),
        ("prefix=user/", vec!["user/", "user/1"]),
        ("prefix=user%2F", vec!["user/", "user/1"]),
        ("key=z&key=user&key=nobody&key=z", vec!["user", "z"]),
        ("key=a%25b", vec!["a%b"]),
    ] {
        let rev = |key: &str| revs[keys.iter().position(|other| *other == key).expect("it was written")];
        let expected: Vec<Event> = told.iter().map(|key| put(key, "v", rev(key))).collect();
        let mut watch = Watch::open(system.http(), query).await;
        assert_eq!(watch.ready().await.0, expected, "{query}");
        // All are written again; the last one of the query comes last.
        let mut again = BTreeSet::new();
        for key in keys {
            socket.set(key, "w").await;
        }
        while again.len() < told.len() {
            again.extend(watch.round().await.0.iter().filter_map(Event::key).map(ToOwned::to_owned));
        }
        assert_eq!(again.iter().map(String::as_str).collect::<Vec<_>>(), told, "{query}");
        for key in keys {
            let at = keys.iter().position(|other| *other == key).expect("it is one of them");
            revs[at] = e2e::rev(&socket.ask(set(key, "v")).await);
        }
    }
}

async fn values_can_be_left_out(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let first = rev(&socket.ask(set("a", &"v".repeat(1 << 20))).await);
    let mut watch = Watch::open(system.http(), "values=false").await;
    assert_eq!(watch.ready().await.0, [put_alone("a", first)]);
    let second = rev(&socket.ask(set("a", "w")).await);
    assert_eq!(watch.round().await.0, [put_alone("a", second)]);
    let mut watch = Watch::open(system.http(), "values=true&prefix=a").await;
    assert_eq!(watch.ready().await.0, [put("a", "w", second)]);
}

async fn a_large_snapshot_is_whole_and_of_one_instant(engine: EngineKind) {
    let system = System::start(engine).await;
    let keys: Vec<String> = (0..3000).map(|number| format!("k{number:04}")).collect();
    system.database.put(keys.iter().cloned(), &"v".repeat(1000), "null").await;
    let mut socket = system.socket().await;
    // One write after the other: at any instant the first key is as new as the last one, or newer by one.
    let writer = tokio::spawn(async move {
        for round in 0_u64.. {
            for key in ["a", "z"] {
                socket.set(key, &round.to_string()).await;
            }
        }
    });
    for _ in 0..5 {
        let (events, _) = Watch::open(system.http(), "").await.ready().await;
        let mut told: Vec<&str> = events.iter().filter_map(Event::key).collect();
        let value = |wanted: &str| {
            events.iter().find_map(|event| match event {
                Event::Put { key, value, .. } if key == wanted => value.as_ref()?.parse::<u64>().ok(),
                _ => None,
            })
        };
        assert!(value("a") == value("z") || value("a") == Some(value("z").map_or(0, |z| z + 1)), "half");
        told.retain(|key| *key != "a" && *key != "z");
        assert!(told == keys, "{} of 3000 keys", told.len());
    }
    writer.abort();
}

async fn a_stream_is_not_stored_on_the_way_and_says_when_to_come_back(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    socket.ask(write("a", "1")).await;
    let mut retries = BTreeSet::new();
    for _ in 0..8 {
        let watch = Watch::open(system.http(), "").await;
        assert_eq!(watch.response.header("content-type"), Some("text/event-stream"));
        assert_eq!(watch.response.header("cache-control"), Some("no-store"));
        assert_eq!(watch.response.header("x-accel-buffering"), Some("no"));
        assert_eq!(watch.response.header("x-content-type-options"), Some("nosniff"));
        assert!((1000..=5000).contains(&watch.retry), "{}", watch.retry);
        retries.insert(watch.retry);
    }
    assert!(retries.len() > 1, "clients do not all come back at once: {retries:?}");
}
