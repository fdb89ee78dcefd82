//! Many keys in one read.

use std::fmt::Write as _;

use e2e::{EngineKind, System, promises};

promises! {
    every:
        items_come_in_the_order_of_the_request_and_missing_keys_separately,
        a_hundred_keys_are_read_at_once_and_no_more,
        keys_and_a_prefix_exclude_each_other,
        more_than_sixteen_mib_of_values_are_refused;
}

async fn items_come_in_the_order_of_the_request_and_missing_keys_separately(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let mut revs = Vec::new();
    for key in ["a", "b/c", "..", "\u{e9}"] {
        let reply = socket.ask(format!(r#"{{"id":1,"key":"{key}","value":"of {key}"}}"#)).await;
        let reply: serde_json::Value = serde_json::from_str(&reply).expect("a reply is JSON");
        revs.push(reply["rev"].as_u64().expect("a reply with an id has a rev"));
    }
    let mut connection = system.connection().await;
    let target = "/storage?key=b%2Fc&key=gone&key=a&key=..&key=a&key=%C3%A9&key=also+gone&key=gone";
    let found = connection.get(target).await;
    assert_eq!(found.status, 200);
    let item = |key: &str, rev: usize| format!(r#"{{"key":"{key}","value":"of {key}","rev":{}}}"#, revs[rev]);
    let items = [item("b/c", 1), item("a", 0), item("..", 2), item("\u{e9}", 3)].join(",");
    let expected =
        format!(r#"{{"items":[{items}],"missing":["gone","also gone"],"message":"","status":200}}"#);
    assert_eq!(found.body, expected);
    let none = connection.get("/storage?key=gone").await;
    assert_eq!(none.body, r#"{"items":[],"missing":["gone"],"message":"","status":200}"#);
}

/// The request target that reads `keys`.
fn target(keys: impl IntoIterator<Item = String>) -> String {
    let mut target = "/storage".to_owned();
    for (index, key) in keys.into_iter().enumerate() {
        let mark = if index == 0 { '?' } else { '&' };
        write!(target, "{mark}key={key}").expect("a string takes it");
    }
    target
}

async fn a_hundred_keys_are_read_at_once_and_no_more(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    for n in 0..100 {
        socket.set(&format!("k{n}"), "v").await;
    }
    let mut connection = system.connection().await;
    let hundred = connection.get(&target((0..100).map(|n| format!("k{n}")))).await.json();
    assert_eq!(hundred["items"].as_array().map(Vec::len), Some(100));
    let more = connection.get(&target((0..101).map(|n| format!("k{n}")))).await;
    more.refused(422, "bad_parameter");
    assert!(more.body.contains("100"), "{more:?}");
    let long = connection.get(&target(["k1".into(), "x".repeat(513)])).await;
    long.refused(413, "too_large");
    assert_eq!(connection.get("/storage?key=").await.status, 422, "an empty key is none");
}

async fn keys_and_a_prefix_exclude_each_other(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut connection = system.connection().await;
    for query in ["key=a&prefix=b", "key=a&limit=1", "key=a&after=x", "key=a&prefix="] {
        connection.get(&format!("/storage?{query}")).await.refused(422, "bad_parameter");
    }
}

async fn more_than_sixteen_mib_of_values_are_refused(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let value = "v".repeat(1 << 20);
    for n in 0..17 {
        socket.set(&format!("k{n}"), &value).await;
    }
    let mut connection = system.connection().await;
    let sixteen = connection.get(&target((0..16).map(|n| format!("k{n}")))).await;
    assert_eq!(sixteen.status, 200, "16 MiB are not over 16 MiB");
    assert_eq!(sixteen.json()["items"].as_array().map(Vec::len), Some(16));
    connection.get(&target((0..17).map(|n| format!("k{n}")))).await.refused(413, "too_large");
}
