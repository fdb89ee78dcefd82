//! An entry with an expiry is absent from that instant on, swept or not.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use e2e::{EngineKind, System, eventually, promises, rev, storage, write};

promises! {
    every:
        an_entry_is_absent_once_it_has_expired_and_then_created_anew,
        an_instant_is_kept,
        a_set_without_an_expiry_clears_it,
        an_expired_entry_has_no_revision,
        an_odd_expiry_fails_alone;
}

/// Settings with which the sweeper never runs.
const UNSWEPT: &[(&str, &str)] = &[("SWEEP_INTERVAL_MS", "86400000")];

/// The clock of this machine, which is the clock of the database, in microseconds.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    u64::try_from(since.as_micros()).expect("it is earlier than 586912")
}

/// Waits until `key` is absent.
async fn gone(system: &System, key: &str) {
    eventually("the entry expires", Duration::from_secs(10), async || match system.read(key).await.status {
        404 => Ok(()),
        status => Err(format!("it is still {status}")),
    })
    .await;
}

async fn an_entry_is_absent_once_it_has_expired_and_then_created_anew(engine: EngineKind) {
    let system = System::start_with_settings(engine, UNSWEPT).await;
    let mut socket = system.socket().await;
    let before = now();
    let first = socket.ask(r#"{"key":"k","value":"v","ttl":1}"#).await;
    assert!(first.starts_with(r#"{"message":"k created","status":200,"rev":"#), "{first}");
    assert_eq!(system.read("k").await.status, 200);
    gone(&system, "k").await;
    assert!(now() - before >= 1_000_000, "it lived for a second");

    let mut connection = system.connection().await;
    for (method, headers) in [("GET", &[("If-None-Match", "*")] as &[_]), ("HEAD", &[])] {
        assert_eq!(connection.request(method, &storage("k"), headers).await.status, 404);
    }
    let both = connection.get("/storage?key=k").await;
    assert_eq!(both.body, r#"{"items":[],"missing":["k"],"message":"","status":200}"#);
    assert_eq!(system.database.entries().await, 1, "nobody has swept it");
    assert_eq!(socket.set("k", "w").await, r#"{"message":"k created","status":200}"#);
    assert_eq!(socket.set("k", "w").await, r#"{"message":"k updated","status":200}"#);
    let second = rev(&socket.ask(r#"{"op":"set","key":"k","value":"w"}"#).await);
    assert!(second > rev(&first));
}

async fn an_instant_is_kept(engine: EngineKind) {
    let system = System::start_with_settings(engine, UNSWEPT).await;
    let mut socket = system.socket().await;
    let mut connection = system.connection().await;
    let at = now() + 1_200_000;
    socket.ask(format!(r#"{{"key":"k","value":"v","expires_at":{at}}}"#)).await;
    let mut reads = 0;
    loop {
        let sent = now();
        let found = connection.get(&storage("k")).await;
        let answered = now();
        if found.status == 404 {
            assert!(answered >= at, "{} us too early", at - answered);
            break;
        }
        // The clock of SQLite counts milliseconds.
        assert!(sent < at + 1000, "{} us too late", sent - at);
        reads += 1;
    }
    assert!(reads > 0, "it was there before");
}

async fn a_set_without_an_expiry_clears_it(engine: EngineKind) {
    let system = System::start_with_settings(engine, UNSWEPT).await;
    let mut socket = system.socket().await;
    for key in ["plain", "shown", "longer"] {
        socket.ask(format!(r#"{{"key":"{key}","value":"v","ttl":1}}"#)).await;
    }
    socket.set("plain", "w").await;
    socket.ask(r#"{"op":"set","key":"shown","value":"w"}"#).await;
    socket.ask(r#"{"key":"longer","value":"w","ttl":3600}"#).await;
    // Every other expiry is earlier than this one.
    socket.ask(r#"{"key":"last","value":"v","ttl":1}"#).await;
    gone(&system, "last").await;
    for key in ["plain", "shown", "longer"] {
        assert_eq!(system.read(key).await.json()["value"], "w", "{key}");
    }
}

async fn an_expired_entry_has_no_revision(engine: EngineKind) {
    let system = System::start_with_settings(engine, UNSWEPT).await;
    let mut socket = system.socket().await;
    let old = rev(&socket.ask(r#"{"key":"k","value":"v","ttl":1}"#).await);
    gone(&system, "k").await;
    let mismatch = r#"{"message":"rev mismatch for key k","status":412,"code":"rev_mismatch","rev":0}"#;
    assert_eq!(socket.ask(format!(r#"{{"key":"k","value":"v","if_rev":{old}}}"#)).await, mismatch);
    let nothing = r#"{"message":"No value found for key k","status":404}"#;
    assert_eq!(socket.ask(r#"{"op":"delete","key":"k"}"#).await, nothing);
    let created = socket.ask(r#"{"key":"k","value":"v","if_rev":0,"ttl":3600}"#).await;
    assert!(
        created.starts_with(r#"{"message":"k created","status":200"#) && rev(&created) > old,
        "{created}"
    );
}

async fn an_odd_expiry_fails_alone(engine: EngineKind) {
    let system = System::start_with_settings(engine, UNSWEPT).await;
    let mut socket = system.socket().await;
    let odd = [
        r#""ttl":1000000000000"#,
        r#""ttl":-1"#,
        r#""ttl":18446744073709551616"#,
        r#""expires_at":18446744073709551615"#,
        r#""expires_at":0"#,
        r#""ttl":0.5"#,
    ];
    let fine = [r#""ttl":3153600000"#, r#""expires_at":9223372036854775807"#];
    let mut messages: Vec<String> = (0..100).map(|n| write(&n.to_string(), "v")).collect();
    for (at, members) in odd.iter().chain(&fine).enumerate() {
        messages.insert(at * 10, format!(r#"{{"key":"odd {at}","value":"v",{members}}}"#));
    }
    let sent = messages.clone();
    socket.try_send_all(sent).await.expect("everything can be sent at once");
    for message in messages {
        let reply = socket.next().await;
        let is_odd = odd.iter().any(|members| message.contains(members));
        let expected =
            if is_odd { r#","status":422,"code":"bad_ttl"}"# } else { r#" created","status":200"# };
        assert!(reply.contains(expected), "{message}: {reply}");
    }
    for at in [6, 7] {
        assert_eq!(system.read(&format!("odd {at}")).await.status, 200);
    }
}
