//! The ops of a batch take effect together or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::{EngineKind, HttpConnection, Socket, System, promises, rev, storage, write};
use serde_json::Value;
use tokio::task::JoinSet;

promises! {
    every:
        a_batch_tells_what_each_op_did,
        one_false_condition_undoes_all,
        an_invalid_batch_is_refused_and_no_op_of_it_is_applied,
        a_batch_keeps_its_position_among_the_messages_of_its_socket,
        a_thousand_ops_are_one_batch,
        the_longest_reply_arrives_whole,
        batches_are_answered_soon_beside_ops_on_the_same_keys,
        nobody_sees_half_a_batch,
        transfers_between_accounts_keep_the_sum;
}

async fn a_batch_tells_what_each_op_did(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    socket.set("b", "old").await;
    let reply = socket
        .ask(r#"{"id":9,"op":"batch","ops":[{"key":"a","value":"1"},{"op":"delete","key":"b"},{"op":"delete","key":"c"}]}"#)
        .await;
    let results: Value = serde_json::from_str(&reply).expect("a reply is JSON");
    let revs = [0, 1].map(|at| results["results"][at]["rev"].as_u64().expect("a rev"));
    let largest = revs[0].max(revs[1]);
    assert_eq!(
        reply,
        format!(
            r#"{{"message":"3 ops committed","status":200,"id":9,"rev":{largest},"results":[{{"message":"a created","status":200,"rev":{}}},{{"message":"b deleted","status":200,"rev":{}}},{{"message":"No value found for key c","status":404}}]}}"#,
            revs[0], revs[1]
        )
    );
    assert_eq!(system.read("a").await.header("etag"), Some(format!("\"{}\"", revs[0]).as_str()));
    assert_eq!(system.read("b").await.status, 404);
    let nothing = socket.ask(r#"{"op":"batch","ops":[{"op":"delete","key":"b"}]}"#).await;
    assert_eq!(
        nothing,
        r#"{"message":"1 op committed","status":200,"results":[{"message":"No value found for key b","status":404}]}"#
    );
}

async fn one_false_condition_undoes_all(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let at = rev(&socket.ask(r#"{"op":"set","key":"b","value":"old"}"#).await);
    let reply = socket
        .ask(r#"{"id":"i","op":"batch","ops":[{"key":"a","value":"1"},{"op":"delete","key":"b","if_rev":1},{"key":"c","value":"1","if_rev":5}]}"#)
        .await;
    assert_eq!(
        reply,
        format!(
            r#"{{"message":"rev mismatch for key b","status":412,"code":"rev_mismatch","id":"i","rev":{at},"key":"b","index":1}}"#
        )
    );
    assert_eq!(system.read("a").await.status, 404);
    assert_eq!(system.read("b").await.json()["value"], "old");
    let text = format!(
        r#"{{"op":"batch","ops":[{{"key":"a","value":"1","if_rev":0}},{{"op":"delete","key":"b","if_rev":{at}}}]}}"#
    );
    assert!(socket.ask(text).await.starts_with(r#"{"message":"2 ops committed","status":200,"rev":"#));
}

async fn an_invalid_batch_is_refused_and_no_op_of_it_is_applied(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    for (ops, status, code, end) in [
        (r#"{"key":"a","value":"1"},{"key":"","value":"1"}"#, 422, "bad_key", r#","index":1}"#),
        (
            r#"{"key":"a","value":"1"},{"key":"b","value":"1","ttl":0}"#,
            422,
            "bad_ttl",
            r#","key":"b","index":1}"#,
        ),
        (r#"{"key":"a","value":"1"},{"key":"a","value":"2"}"#, 422, "bad_batch", r#","key":"a","index":1}"#),
        (r#"{"key":"a","value":"1"},{"op":"batch","ops":[]}"#, 422, "bad_batch", r#","index":1}"#),
    ] {
        let reply = socket.refuses(format!(r#"{{"op":"batch","ops":[{ops}]}}"#), status, code).await;
        assert!(reply.ends_with(end), "{reply}");
    }
    assert_eq!(system.read("a").await.status, 404);
}

async fn a_batch_keeps_its_position_among_the_messages_of_its_socket(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    // Each round sets every key by itself, then all keys in a batch, then every key by itself again: only in this order are the
    // replies as expected.
    let single = |key: usize, value: &str| format!(r#"{{"key":"{key}","value":"{value}"}}"#);
    let round = |round: usize| {
        let batch: Vec<String> = (0..8).map(|key| format!(r#"{{"op":"delete","key":"{key}"}}"#)).collect();
        let before = (0..8).map(move |key| single(key, "before"));
        let batch = format!(r#"{{"id":{round},"op":"batch","ops":[{}]}}"#, batch.join(","));
        before.chain([batch]).chain((0..8).map(move |key| single(key, &format!("after {round}"))))
    };
    socket.try_send_all((0..30).flat_map(round)).await.expect("everything can be sent at once");
    for round in 0..30 {
        let verb = if round == 0 { "created" } else { "updated" };
        for key in 0..8 {
            assert_eq!(socket.next().await, format!(r#"{{"message":"{key} {verb}","status":200}}"#));
        }
        let batch = socket.next().await;
        assert!(
            batch.starts_with(&format!(r#"{{"message":"8 ops committed","status":200,"id":{round},"#)),
            "{batch}"
        );
        assert_eq!(batch.matches(" deleted").count(), 8, "{batch}");
        for key in 0..8 {
            assert_eq!(socket.next().await, format!(r#"{{"message":"{key} created","status":200}}"#));
        }
    }
    for key in 0..8 {
        assert_eq!(system.read(&key.to_string()).await.json()["value"], "after 29");
    }
}

async fn a_thousand_ops_are_one_batch(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    let ops = |count: usize, verb: &str| {
        let ops: Vec<String> = (0..count).map(|key| format!(r#"{{"key":"key {key}",{verb}}}"#)).collect();
        format!(r#"{{"op":"batch","ops":[{}]}}"#, ops.join(","))
    };
    let created = socket.ask(ops(1000, r#""value":"v""#)).await;
    assert!(created.starts_with(r#"{"message":"1000 ops committed","status":200"#), "{created}");
    assert_eq!(created.matches(" created").count(), 1000);
    let deleted = socket.ask(ops(1000, r#""op":"delete""#)).await;
    assert_eq!(deleted.matches(" deleted").count(), 1000);
    assert_eq!(system.read("key 999").await.status, 404);
    socket.refuses(ops(1001, r#""value":"v""#), 422, "bad_batch").await;
}

async fn the_longest_reply_arrives_whole(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    // Each byte of a key takes six bytes in JSON, in the message and in the reply.
    let op = |number: usize| {
        let key = format!("{}{number:03}", "\u{1}".repeat(509));
        let id = "i".repeat(126);
        serde_json::json!({ "id": id, "op": "delete", "key": key }).to_string()
    };
    let ops: Vec<String> = (0..1000).map(op).collect();
    let reply = socket.ask(format!(r#"{{"op":"batch","ops":[{}]}}"#, ops.join(","))).await;
    assert!(reply.len() > 3_200_000, "{} bytes", reply.len());
    assert!(reply.starts_with(r#"{"message":"1000 ops committed","status":200,"results":["#));
    assert_eq!(socket.set("a", "b").await, r#"{"message":"a created","status":200}"#);
}

/// The keys that all clients write, and the time limit of a batch of them on a busy machine.
const HOT: usize = 100;
const SOON: Duration = Duration::from_secs(5);

/// Sets and deletes the hot keys until `done`.
async fn churn(mut socket: Socket, number: usize, done: Arc<AtomicBool>) {
    let op = |at: usize| {
        let key = ((at * 37 + number) % HOT).to_string();
        if at.is_multiple_of(5) { format!(r#"{{"op":"delete","key":"{key}"}}"#) } else { write(&key, "v") }
    };
    while !done.load(Ordering::Relaxed) {
        socket.try_send_all((0..64).map(op)).await.expect("the socket is open");
        for _ in 0..64 {
            let reply = socket.next().await;
            assert!(reply.contains(r#""status":200"#) || reply.contains(r#""status":404"#), "{reply}");
        }
    }
}

async fn batches_are_answered_soon_beside_ops_on_the_same_keys(engine: EngineKind) {
    let system = System::start(engine).await;
    let other = system.another_writer().await;
    let done = Arc::new(AtomicBool::new(false));
    let mut singles = JoinSet::new();
    for (number, addr) in [system.ws(), other.public].into_iter().cycle().take(6).enumerate() {
        singles.spawn(churn(Socket::open(addr).await, number, Arc::clone(&done)));
    }
    let mut socket = system.socket().await;
    for round in 0..30 {
        let op = |key: usize| {
            let verb = if (key + round).is_multiple_of(2) { r#""op":"delete""# } else { r#""value":"b""# };
            format!(r#"{{"key":"{key}",{verb}}}"#)
        };
        let ops: Vec<String> = (0..HOT).rev().map(op).collect();
        let sent = Instant::now();
        let reply = socket.ask(format!(r#"{{"op":"batch","ops":[{}]}}"#, ops.join(","))).await;
        assert!(reply.starts_with(r#"{"message":"100 ops committed","status":200"#), "{reply}");
        assert!(sent.elapsed() < SOON, "batch {round} took {:?}", sent.elapsed());
    }
    done.store(true, Ordering::Relaxed);
    singles.join_all().await;
}

async fn nobody_sees_half_a_batch(engine: EngineKind) {
    let system = System::start(engine).await;
    let other = system.another_writer().await;
    let mut writers = JoinSet::new();
    for (number, addr) in [system.ws(), other.public].into_iter().enumerate() {
        writers.spawn(async move {
            let mut socket = Socket::open(addr).await;
            for round in 0..150 {
                let ops: Vec<String> =
                    (0..5).map(|key| format!(r#"{{"key":"{key}","value":"{number} {round}"}}"#)).collect();
                let reply = socket.ask(format!(r#"{{"op":"batch","ops":[{}]}}"#, ops.join(","))).await;
                assert!(reply.starts_with(r#"{"message":"5 ops committed","status":200"#), "{reply}");
            }
        });
    }
    let mut connection = system.connection().await;
    let mut seen = 0;
    while !writers.is_empty() {
        while let Some(done) = writers.try_join_next() {
            done.expect("every batch is answered as it should be");
        }
        let found = connection.get("/storage?key=0&key=1&key=2&key=3&key=4").await.json();
        let values: Vec<&Value> =
            found["items"].as_array().expect("items").iter().map(|item| &item["value"]).collect();
        assert!(values.is_empty() || values.len() == 5, "{found}");
        assert!(values.windows(2).all(|two| two[0] == two[1]), "{found}");
        seen += usize::from(!values.is_empty());
    }
    assert!(seen > 10, "a batch was looked at while others were written: {seen}");
}

/// The value and the revision of `key`.
async fn account(connection: &mut HttpConnection, key: &str) -> (i64, String) {
    let found = connection.get(&storage(key)).await;
    let value = found.json()["value"].as_str().and_then(|v| v.parse().ok()).expect("an amount");
    (value, found.header("etag").expect("a rev").trim_matches('"').to_owned())
}

async fn transfers_between_accounts_keep_the_sum(engine: EngineKind) {
    let system = System::start(engine).await;
    let other = system.another_writer().await;
    let mut socket = system.socket().await;
    for number in 0..4 {
        socket.set(&format!("account {number}"), "100").await;
    }
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let (addr, http) = (if client % 2 == 0 { system.ws() } else { other.public }, system.http());
        clients.spawn(async move {
            let (mut socket, mut connection) = (Socket::open(addr).await, HttpConnection::open(http).await);
            let mut done = 0;
            for attempt in 0..40 {
                let (from, to) = (format!("account {}", (client + attempt) % 4), format!("account {}", (client + attempt * 3 + 1) % 4));
                if from == to {
                    continue;
                }
                let (rich, rich_rev) = account(&mut connection, &from).await;
                let (poor, poor_rev) = account(&mut connection, &to).await;
                let (rich, poor) = (rich - 7, poor + 7);
                let reply = socket
                    .ask(format!(
                        r#"{{"op":"batch","ops":[{{"key":"{from}","value":"{rich}","if_rev":{rich_rev}}},{{"key":"{to}","value":"{poor}","if_rev":{poor_rev}}}]}}"#
                    ))
                    .await;
                let applied = reply.starts_with(r#"{"message":"2 ops committed","status":200"#);
                assert!(applied || reply.contains(r#""code":"rev_mismatch""#), "{reply}");
                done += usize::from(applied);
            }
            done
        });
    }
    let done: usize = clients.join_all().await.into_iter().sum();
    assert!(done > 8, "transfers were made: {done}");
    let mut connection = system.connection().await;
    let mut sum = 0;
    for number in 0..4 {
        sum += account(&mut connection, &format!("account {number}")).await.0;
    }
    assert_eq!(sum, 400);
}
