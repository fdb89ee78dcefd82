//! A message that cannot be applied is refused in the form of the contract, and the socket stays open.

use e2e::{EngineKind, Socket, System, promises, write};
use tokio_tungstenite::tungstenite::Message;

promises! {
    every:
        a_message_that_is_not_one_json_object_is_bad_json,
        a_binary_message_is_a_bad_frame,
        an_invalid_key_is_named,
        an_invalid_value_is_named,
        a_refusal_of_a_long_key_or_value_names_the_limit_and_the_size,
        a_member_of_a_wrong_type_or_range_is_refused_and_never_ignored,
        an_invalid_id_is_refused,
        unknown_members_and_nulls_are_ignored;
}

/// Checks that the socket still takes writes, and that no other write was applied.
async fn unharmed(system: &System, socket: &mut Socket) {
    let reply = socket.set("still here", "x").await;
    assert!(reply.contains(r#""status":200"#), "{reply}");
    assert_eq!(system.database.entries().await, 1, "a refused write was applied");
}

async fn a_message_that_is_not_one_json_object_is_bad_json(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let deep = "[".repeat(100_000);
    let bad = [
        "",
        " ",
        "nonsense",
        "null",
        "true",
        "1",
        r#""text""#,
        "[]",
        "{",
        "}",
        "{}}",
        r#"[{"key":"a","value":"b"}]"#,
        r#"{"key":"a","value":"b"}{"key":"c","value":"d"}"#,
        r#"{"key":"a","value":"b"} x"#,
        r#"{"key":"a","value":"b",}"#,
        r#"{"key":"a" "value":"b"}"#,
        r"{'key':'a','value':'b'}",
        r#"{"key":"a","value":"b\x"}"#,
        "{\"key\":\"a\",\"value\":\"b\nc\"}",
        // A member twice, in whatever spelling.
        r#"{"key":"a","key":"b","value":"c"}"#,
        r#"{"key":"a","value":"b","value":"b"}"#,
        r#"{"key":"a","\u006bey":"b","value":"c"}"#,
        r#"{"id":1,"id":2,"key":"a","value":"b"}"#,
        r#"{"key":"a","value":"b","other":1,"other":2}"#,
        // A lone surrogate is not text.
        r#"{"key":"\ud800","value":"b"}"#,
        r#"{"key":"\udc00\ud800","value":"b"}"#,
        r#"{"key":"a","value":"\udfff"}"#,
        r#"{"key":"a","value":"\ud83d"}"#,
        &deep,
    ];
    for text in bad {
        socket.refuses(text, 400, "bad_json").await;
    }
    unharmed(&system, &mut socket).await;
}

async fn a_binary_message_is_a_bad_frame(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    for bytes in [&b""[..], b"\xff\xfe", br#"{"key":"a","value":"b"}"#] {
        socket.send_message(Message::binary(bytes.to_vec())).await;
        let reply = socket.next().await;
        assert!(reply.ends_with(r#","status":400,"code":"bad_frame"}"#), "{reply}");
    }
    unharmed(&system, &mut socket).await;
}

async fn an_invalid_key_is_named(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let bad = [
        (r#"{"value":"x"}"#, "key"),
        (r"{}", "key"),
        (r#"{"key":"","value":"x"}"#, "empty"),
        (r#"{"key":7,"value":"x"}"#, "number"),
        (r#"{"key":1.5e9,"value":"x"}"#, "number"),
        (r#"{"key":true,"value":"x"}"#, "boolean"),
        (r#"{"key":null,"value":"x"}"#, "null"),
        (r#"{"key":["a"],"value":"x"}"#, "array"),
        (r#"{"key":{"a":"b"},"value":"x"}"#, "object"),
    ];
    for (text, named) in bad {
        let reply = socket.refuses(text, 422, "bad_key").await;
        assert!(reply.contains(named), "{text}: {named} is not named in {reply}");
    }
    let reply = socket.refuses(r#"{"key":"","value":"x","id":"q-1"}"#, 422, "bad_key").await;
    assert!(reply.ends_with(r#","status":422,"code":"bad_key","id":"q-1"}"#), "{reply}");
    unharmed(&system, &mut socket).await;
}

async fn an_invalid_value_is_named(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let bad = [
        (r#"{"key":"a"}"#, "value"),
        (r#"{"key":"a","value":7}"#, "number"),
        (r#"{"key":"a","value":-0}"#, "number"),
        (r#"{"key":"a","value":false}"#, "boolean"),
        (r#"{"key":"a","value":null}"#, "null"),
        (r#"{"key":"a","value":[]}"#, "array"),
        (r#"{"key":"a","value":{}}"#, "object"),
    ];
    for (text, named) in bad {
        let reply = socket.refuses(text, 422, "bad_value").await;
        assert!(reply.contains(named), "{text}: {named} is not named in {reply}");
    }
    let reply = socket.refuses(r#"{"id":-1.50,"key":"a","value":7}"#, 422, "bad_value").await;
    assert!(reply.ends_with(r#","status":422,"code":"bad_value","id":-1.50}"#), "{reply}");
    unharmed(&system, &mut socket).await;
}

async fn a_refusal_of_a_long_key_or_value_names_the_limit_and_the_size(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let names = |reply: &str, size: &str, limit: &str| {
        let digits: String = reply.chars().filter(|c| !matches!(c, ',' | '_' | ' ')).collect();
        assert!(digits.contains(size) && digits.contains(limit), "{size} and {limit}: {reply}");
    };
    // 513 bytes, but only 257 characters.
    for key in ["x".repeat(513), format!("{}x", "\u{fc}".repeat(256))] {
        let reply = socket.refuses(write(&key, "v"), 413, "too_large").await;
        names(&reply, "513", "512");
    }
    let value = "x".repeat((1 << 20) + 1);
    let text = write("a", &value).replacen('{', r#"{"id":5,"#, 1);
    let reply = socket.refuses(text, 413, "too_large").await;
    names(&reply, "1048577", "1048576");
    assert!(reply.ends_with(r#""code":"too_large","id":5}"#), "{reply}");
    unharmed(&system, &mut socket).await;
}

async fn a_member_of_a_wrong_type_or_range_is_refused_and_never_ignored(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let reply = socket.refuses(r#"{"op":"fly","key":"a","value":"b"}"#, 422, "unknown_op").await;
    assert!(reply.contains("fly"), "{reply}");
    for op in ["1", "true", "[]", "{}"] {
        let text = format!(r#"{{"op":{op},"key":"a","value":"b"}}"#);
        socket.refuses(text, 422, "bad_op").await;
    }
    let wrong = [
        (r#""if_rev":"1""#, "bad_if_rev"),
        (r#""if_rev":9223372036854775808"#, "bad_if_rev"),
        (r#""ttl":0"#, "bad_ttl"),
        (r#""ttl":1000000000000"#, "bad_ttl"),
        (r#""expires_at":1"#, "bad_ttl"),
        (r#""ttl":60,"expires_at":4102444800000000"#, "bad_ttl"),
        (r#""op":"batch","ops":[]"#, "bad_batch"),
    ];
    for (members, code) in wrong {
        socket.refuses(format!(r#"{{"key":"a","value":"b",{members}}}"#), 422, code).await;
    }
    unharmed(&system, &mut socket).await;
}

async fn an_invalid_id_is_refused(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let long = format!("\"{}\"", "x".repeat(129));
    for id in ["true", "[1]", "{}", &long, &"1".repeat(129)] {
        let text = format!(r#"{{"id":{id},"key":"a","value":"b"}}"#);
        let reply = socket.refuses(text, 422, "bad_id").await;
        assert!(!reply.contains(r#""id":"#), "only a valid id is echoed: {reply}");
    }
    unharmed(&system, &mut socket).await;
}

async fn unknown_members_and_nulls_are_ignored(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let fine = [
        r#"{"key":"still here","value":"a","color":"blue","nested":{"key":["x"]}}"#,
        r#"{"op":"set","key":"still here","value":"b"}"#,
        r#"{"op":null,"id":null,"ttl":null,"expires_at":null,"if_rev":null,"key":"still here","value":"c"}"#,
    ];
    for (text, verb) in fine.into_iter().zip(["created", "updated", "updated"]) {
        let expected = format!(r#"{{"message":"still here {verb}","status":200"#);
        let reply = socket.ask(text).await;
        assert!(reply.starts_with(&expected), "{text}: {reply}");
    }
    let reply = socket.ask(r#"{"key":"still here","value":"d","id":null,"op":null}"#).await;
    assert_eq!(reply, r#"{"message":"still here updated","status":200}"#);
    unharmed(&system, &mut socket).await;
}
