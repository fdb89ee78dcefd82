//! The reply to a write with an `id` has the same `id` byte for byte, and the revision that readers see.

use e2e::{EngineKind, System, promises, rev, write};

promises! {
    every:
        an_id_comes_back_byte_for_byte,
        the_rev_is_the_etag_of_the_read_and_grows,
        pipelined_writes_of_a_key_have_growing_revs;
}

async fn an_id_comes_back_byte_for_byte(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let long = format!("\"{}\"", "x".repeat(126));
    let ids = [
        "0",
        "7",
        "-0",
        "1e2",
        "1E+2",
        "-1.50",
        "12345678901234567890123456789",
        "0.1",
        r#""""#,
        r#""7""#,
        r#""a b""#,
        r#""\u0041\/\n""#,
        "\"\u{e9}\u{1f600}\"",
        &long,
    ];
    for id in ids {
        let reply = socket.ask(format!(r#"{{"id":{id},"key":"k","value":"v"}}"#)).await;
        let rest = reply.split_once(r#"","status":200,"id":"#).map(|(_, rest)| rest);
        let rest = rest.unwrap_or_else(|| panic!("{id}: {reply}"));
        let rev = rest.strip_prefix(&format!(r#"{id},"rev":"#)).and_then(|r| r.strip_suffix('}'));
        let rev = rev.unwrap_or_else(|| panic!("{id} is not in {reply}"));
        assert!(rev.parse::<u64>().is_ok_and(|rev| rev > 0), "{reply}");
    }
}

async fn the_rev_is_the_etag_of_the_read_and_grows(engine: EngineKind) {
    let system = System::start(engine).await;
    let (mut one, mut two) = (system.socket().await, system.socket().await);
    let mut connection = system.connection().await;
    let mut last = 0;
    for n in 0..20 {
        let socket = if n % 2 == 0 { &mut one } else { &mut two };
        let now = rev(&socket.ask(format!(r#"{{"id":{n},"key":"k","value":"{n}"}}"#)).await);
        assert!(now > last, "{now} after {last}");
        let found = connection.get("/storage/k").await;
        assert_eq!(found.header("etag"), Some(format!("\"{now}\"").as_str()));
        // A write whose reply shows no rev has one all the same.
        socket.set("k", "between").await;
        let between = connection.get("/storage/k").await;
        let between = between.header("etag").and_then(|tag| tag.trim_matches('"').parse().ok());
        last = between.expect("an ETag is a rev");
        assert!(last > now, "{last} after {now}");
    }
}

async fn pipelined_writes_of_a_key_have_growing_revs(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let text = |n: u32| match n % 4 {
        // The replies to some writes show no rev, and other keys are in between.
        3 => write("other", &n.to_string()),
        2 => write("k", &n.to_string()),
        _ => format!(r#"{{"id":{n},"key":"k","value":"{n}"}}"#),
    };
    socket.try_send_all((0..600).map(text)).await.expect("everything can be sent at once");
    let mut last = 0;
    for n in 0..600 {
        let reply = socket.next().await;
        if n % 4 < 2 {
            let now = rev(&reply);
            assert!(now > last, "{now} after {last} at {n}");
            last = now;
        }
    }
    let found = system.read("k").await;
    assert_eq!(found.json()["value"], "598");
    let stored = found.header("etag").and_then(|tag| tag.trim_matches('"').parse::<u64>().ok());
    assert!(stored.is_some_and(|stored| stored > last), "{stored:?} after {last}");
}
