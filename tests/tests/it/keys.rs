//! A key is its bytes: keys with different bytes are different keys.

use std::collections::HashSet;

use e2e::{EngineKind, System, promises, storage};

promises! {
    every:
        keys_that_look_alike_are_different_keys,
        a_path_is_decoded_once;
}

async fn keys_that_look_alike_are_different_keys(engine: EngineKind) {
    let (longest, wide) = ("x".repeat(512), "\u{fc}".repeat(256));
    let almost = "x".repeat(511);
    let keys = [
        "a",
        "A",
        "a ",
        " a",
        "a\t",
        "a\0",
        "\0",
        "\0\0",
        "\u{e9}",
        "e\u{301}",
        "E\u{301}",
        "e",
        "\u{df}",
        "ss",
        "\u{131}",
        "i",
        "I",
        "\u{130}",
        "a/b",
        "a//b",
        "/",
        "//",
        ".",
        "..",
        "./a",
        "../a",
        "%",
        "%41",
        "%2541",
        "%2F",
        "a%2Fb",
        "a+b",
        "a b",
        "+",
        "?",
        "a?b=c&d",
        "#",
        "a#b",
        "\\",
        "'",
        "\"",
        ";",
        "*",
        "\u{feff}",
        "\u{200b}",
        "\u{1f600}",
        "\u{1f601}",
        "\u{ff41}",
        "\n",
        "storage",
        "null",
        "0",
        "00",
        "0.0",
        &longest,
        &almost,
        &wide,
    ];
    let distinct: HashSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len(), "the test itself names no key twice");
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    for (number, key) in keys.iter().enumerate() {
        let reply = socket.set(key, &format!("value {number}")).await;
        let text = serde_json::to_string(&format!("{key} created")).expect("text is JSON");
        assert_eq!(reply, format!(r#"{{"message":{text},"status":200}}"#), "{key:?} is new");
    }
    let mut connection = system.connection().await;
    for (number, key) in keys.iter().enumerate() {
        let found = connection.get(&storage(key)).await.json();
        assert_eq!(found["key"], *key);
        assert_eq!(found["value"], format!("value {number}"), "{key:?}");
    }
    assert_eq!(system.database.entries().await, keys.len() as u64);
}

async fn a_path_is_decoded_once(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let mut connection = system.connection().await;
    let table = [
        ("/storage/A", "A"),
        ("/storage/%42", "B"),
        ("/storage/%2542", "%42"),
        ("/storage/a%2Fb", "a/b"),
        ("/storage/a%2fc", "a/c"),
        ("/storage/a+b", "a+b"),
        ("/storage/a%20b", "a b"),
        ("/storage/..", ".."),
        ("/storage/%2e", "."),
        ("/storage/%2F..%2F", "/../"),
        ("/storage/:key", ":key"),
        ("/storage/a:b@c!$&'()*,;=~", "a:b@c!$&'()*,;=~"),
        ("/storage/%F0%9F%98%80", "\u{1f600}"),
    ];
    for (target, key) in table {
        socket.set(key, target).await;
        let found = connection.get(target).await;
        assert_eq!(found.status, 200, "{target}: {found:?}");
        assert_eq!((&found.json()["key"], &found.json()["value"]), (&key.into(), &target.into()));
    }
    // The text after the question mark is not part of the key.
    assert_eq!(connection.get("/storage/A?b=c").await.json()["key"], "A");
}
