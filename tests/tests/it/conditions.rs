//! A write under a condition is applied if and only if the condition holds.

use e2e::{EngineKind, System, promises, rev, storage};
use tokio::task::JoinSet;

promises! {
    every:
        a_condition_holds_or_the_reply_tells_why_not,
        a_false_condition_fails_alone,
        clients_that_count_under_conditions_lose_no_count;
}

async fn a_condition_holds_or_the_reply_tells_why_not(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let mismatch = |rev: u64| {
        format!(r#"{{"message":"rev mismatch for key k","status":412,"code":"rev_mismatch","rev":{rev}}}"#)
    };
    let set = |if_rev: u64| format!(r#"{{"key":"k","value":"v","if_rev":{if_rev}}}"#);
    let delete = |if_rev: u64| format!(r#"{{"op":"delete","key":"k","if_rev":{if_rev}}}"#);

    // A key that was never written has revision 0.
    assert_eq!(socket.ask(set(1)).await, mismatch(0));
    assert_eq!(socket.ask(delete(1)).await, mismatch(0));
    let nothing = r#"{"message":"No value found for key k","status":404}"#;
    assert_eq!(socket.ask(delete(0)).await, nothing);
    let created = socket.ask(set(0)).await;
    let first = rev(&created);
    assert_eq!(created, format!(r#"{{"message":"k created","status":200,"rev":{first}}}"#));

    assert_eq!(socket.ask(set(0)).await, mismatch(first));
    assert_eq!(socket.ask(delete(first - 1)).await, mismatch(first));
    let second = rev(&socket.ask(set(first)).await);
    assert!(second > first);
    assert_eq!(socket.ask(set(first)).await, mismatch(second));
    let etag = system.read("k").await.header("etag").map(ToOwned::to_owned);
    assert_eq!(etag, Some(format!("\"{second}\"")));

    // A deleted key has revision 0 again, and no condition matches the revision of the delete.
    let deleted = rev(&socket.ask(delete(second)).await);
    assert!(deleted > second);
    assert_eq!(socket.ask(set(deleted)).await, mismatch(0));
    assert_eq!(socket.ask(delete(deleted)).await, mismatch(0));
    assert_eq!(socket.ask(delete(0)).await, nothing);
    let third = socket.ask(set(0)).await;
    assert!(rev(&third) > deleted && third.starts_with(r#"{"message":"k created""#), "{third}");
}

async fn a_false_condition_fails_alone(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let message = |number: usize| match number % 3 {
        0 => format!(r#"{{"key":"{number}","value":"v"}}"#),
        1 => format!(r#"{{"key":"{number}","value":"v","if_rev":0}}"#),
        _ => format!(r#"{{"key":"{number}","value":"v","if_rev":77}}"#),
    };
    socket.try_send_all((0..300).map(message)).await.expect("everything can be sent at once");
    for number in 0..300 {
        let reply = socket.next().await;
        let expected = match number % 3 {
            2 => format!(
                r#"{{"message":"rev mismatch for key {number}","status":412,"code":"rev_mismatch","rev":0}}"#
            ),
            _ => format!(r#"{{"message":"{number} created","status":200"#),
        };
        assert!(reply.starts_with(&expected), "{reply}");
        assert_eq!(system.read(&number.to_string()).await.status, if number % 3 == 2 { 404 } else { 200 });
    }
}

/// The number of clients of the counter, and how often each counts.
const CLIENTS: u64 = 64;
const COUNTS: u64 = 8;

async fn clients_that_count_under_conditions_lose_no_count(engine: EngineKind) {
    let system = System::start(engine).await;
    let other = system.another_writer().await;
    system.socket().await.set("counter", "0").await;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (addr, http) = (if number % 2 == 0 { system.ws() } else { other.public }, system.http());
        clients.spawn(async move {
            let mut socket = e2e::Socket::open(addr).await;
            let mut connection = e2e::HttpConnection::open(http).await;
            for _ in 0..COUNTS {
                loop {
                    let found = connection.get(&storage("counter")).await;
                    let count: u64 =
                        found.json()["value"].as_str().and_then(|v| v.parse().ok()).expect("a count");
                    let rev = found.header("etag").expect("a rev").trim_matches('"').to_owned();
                    let next = format!(r#"{{"key":"counter","value":"{}","if_rev":{rev}}}"#, count + 1);
                    let reply = socket.ask(next).await;
                    if reply.starts_with(r#"{"message":"counter updated","status":200"#) {
                        break;
                    }
                    assert!(reply.contains(r#""code":"rev_mismatch""#), "{reply}");
                }
            }
        });
    }
    clients.join_all().await;
    let total = CLIENTS * COUNTS;
    assert_eq!(system.read("counter").await.json()["value"], total.to_string());
}
