//! The core of the contract: writes are answered in order, and reads return exactly what was written.

use e2e::{EngineKind, HttpConnection, Socket, System, promises, storage, write};
use tokio::task::JoinSet;

promises! {
    every:
        both_paths_take_writes,
        bodies_are_exact_to_the_byte,
        values_come_back_exactly,
        five_thousand_pipelined_writes_are_answered_in_order_and_readable,
        the_last_write_of_a_socket_to_a_key_wins_and_it_is_created_once,
        a_read_after_the_reply_sees_the_write;
}

async fn both_paths_take_writes(engine: EngineKind) {
    let system = System::start(engine).await;
    for path in ["/ws/storage/", "/ws/storage"] {
        let mut socket = Socket::open_at(system.ws(), path).await;
        let reply = socket.set(path, "x").await;
        assert_eq!(reply, format!(r#"{{"message":"{path} created","status":200}}"#));
        assert_eq!(system.read(path).await.status, 200);
    }
}

async fn bodies_are_exact_to_the_byte(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let reply = socket.ask(r#"{"key":"hello","value":"world"}"#).await;
    assert_eq!(reply, r#"{"message":"hello created","status":200}"#);
    let reply = socket.ask(r#" { "value" : "world" , "key" : "hello" } "#).await;
    assert_eq!(reply, r#"{"message":"hello updated","status":200}"#);
    let mut connection = system.connection().await;
    let found = connection.get("/storage/hello").await;
    assert_eq!(found.body, r#"{"key":"hello","value":"world","message":"","status":200}"#);
    let kind = found.header("content-type").expect("a body has a type");
    assert!(kind == "application/json" || kind == "application/json; charset=utf-8", "{kind}");
    let missing = connection.get("/storage/nobody").await;
    assert_eq!(missing.body, r#"{"message":"No value found for key nobody","status":404}"#);
}

async fn values_come_back_exactly(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let mut connection = system.connection().await;
    let large = "x".repeat(1 << 20);
    // A control character takes six bytes in JSON: this is the longest valid message.
    let longest = "\u{1}".repeat(1 << 20);
    let values = [
        "",
        " ",
        "\0",
        "null",
        "\"\\/\u{8}\u{c}\n\r\t",
        "</script>",
        "\u{2028}\u{feff}\u{fffd}",
        "e\u{301} \u{e9} \u{1f600} \u{10ffff}",
        "'; drop table entries; -- %s %%",
        &large,
        &longest,
    ];
    for value in values {
        socket.set("key", value).await;
        let found = connection.get("/storage/key").await;
        assert!(found.json()["value"] == value, "{:?}", value.get(..40).unwrap_or(value));
    }
    let escaped = r#"{"key":"\u006b\ud83d\ude00","value":"\u00e9\/"}"#;
    assert_eq!(socket.ask(escaped).await, "{\"message\":\"k\u{1f600} created\",\"status\":200}");
    assert_eq!(system.read("k\u{1f600}").await.json()["value"], "\u{e9}/");
}

async fn five_thousand_pipelined_writes_are_answered_in_order_and_readable(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut sockets = JoinSet::new();
    for number in 0..4 {
        let mut socket = system.socket().await;
        sockets.spawn(async move {
            let keys: Vec<String> = (0..1250).map(|n| format!("{number}-{n}")).collect();
            let writes: Vec<_> = keys.iter().map(|key| write(key, &format!("value of {key}"))).collect();
            socket.try_send_all(writes).await.expect("everything can be sent at once");
            for key in &keys {
                let expected = format!(r#"{{"message":"{key} created","status":200}}"#);
                assert_eq!(socket.next().await, expected);
            }
            keys
        });
    }
    let keys: Vec<String> = sockets.join_all().await.into_iter().flatten().collect();
    assert_eq!(keys.len(), 5000);
    let mut connection = system.connection().await;
    for key in keys {
        let found = connection.get(&storage(&key)).await;
        let expected = format!(r#"{{"key":"{key}","value":"value of {key}","message":"","status":200}}"#);
        assert_eq!(found.body, expected);
    }
}

async fn the_last_write_of_a_socket_to_a_key_wins_and_it_is_created_once(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    // Some of these share a batch and some do not.
    let writes = (0..1000).map(|n| write(&format!("key{}", n % 3), &n.to_string()));
    socket.try_send_all(writes).await.expect("everything can be sent at once");
    for n in 0..1000 {
        let verb = if n < 3 { "created" } else { "updated" };
        let expected = format!(r#"{{"message":"key{} {verb}","status":200}}"#, n % 3);
        assert_eq!(socket.next().await, expected, "write {n}");
    }
    for (key, last) in [("key0", "999"), ("key1", "997"), ("key2", "998")] {
        assert_eq!(system.read(key).await.json()["value"], last);
    }
    assert_eq!(system.database.entries().await, 3);
}

async fn a_read_after_the_reply_sees_the_write(engine: EngineKind) {
    let system = System::start(engine).await;
    let reader = system.another_reader().await;
    let mut sockets = JoinSet::new();
    for number in 0..4 {
        let mut socket = system.socket().await;
        let mut connection = HttpConnection::open(reader.public).await;
        sockets.spawn(async move {
            let key = format!("mine{number}");
            for n in 0..250 {
                let value = n.to_string();
                let reply = socket.set(&key, &value).await;
                assert!(reply.contains(r#""status":200"#), "{reply}");
                let found = connection.get(&storage(&key)).await;
                assert_eq!(found.json()["value"], value.as_str(), "the write just acknowledged");
            }
        });
    }
    sockets.join_all().await;
}
