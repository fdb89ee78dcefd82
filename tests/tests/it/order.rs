//! The messages of one socket are applied and answered in the order sent, whatever other clients send meanwhile.

use std::collections::{HashSet, VecDeque};

use e2e::{EngineKind, Load, PATIENCE, Socket, System, promises};
use rand::RngExt as _;
use serde_json::{Value, json};

promises! {
    every:
        messages_of_a_socket_keep_their_order_beside_a_flood,
        messages_of_a_socket_keep_their_order_beside_many_clients_that_wait_for_each_reply;
}

/// The keys of the tested socket: few, so that its messages depend on each other.
const KEYS: usize = 4;

/// The number of messages that it sends.
const MESSAGES: usize = 600;

/// A random message and its expected reply, which depends on the content of the store before it.
fn message(number: usize, present: &mut HashSet<usize>) -> (Value, String) {
    let mut rng = rand::rng();
    let (key, other) = (rng.random_range(0..KEYS), rng.random_range(0..KEYS));
    let value = "v".repeat(if number.is_multiple_of(50) { 100_000 } else { number });
    let set = |present: &mut HashSet<usize>, key| if present.insert(key) { "created" } else { "updated" };
    match rng.random_range(0..5) {
        0 => {
            let message = json!({"id": number, "op": "delete", "key": key.to_string()});
            let found = present.remove(&key);
            let missing = format!("No value found for key {key}");
            (message, if found { format!("{key} deleted") } else { missing })
        }
        1 => {
            let message = json!({"id": number, "key": key.to_string(), "value": value, "if_rev": 0});
            let absent = !present.contains(&key);
            let mismatch = format!("rev mismatch for key {key}");
            (message, if absent { format!("{key} {}", set(present, key)) } else { mismatch })
        }
        2 if key != other => {
            let ops = [key, other].map(|key| json!({"key": key.to_string(), "value": value}));
            let results = [key, other].map(|key| format!("{key} {}", set(present, key)));
            (
                json!({"id": number, "op": "batch", "ops": ops}),
                format!("2 ops committed: {}", results.join(", ")),
            )
        }
        3 => (json!({"key": key.to_string(), "value": value}), format!("{key} {}", set(present, key))),
        _ => (
            json!({"id": number, "key": key.to_string(), "value": value}),
            format!("{key} {}", set(present, key)),
        ),
    }
}

/// The sentences of a reply, with those of a batch's results.
fn said(reply: &str) -> String {
    let reply: Value = serde_json::from_str(reply).expect("a reply is JSON");
    let message = |reply: &Value| reply["message"].as_str().unwrap_or_default().to_owned();
    match reply["results"].as_array() {
        Some(results) => {
            format!("{}: {}", message(&reply), results.iter().map(message).collect::<Vec<_>>().join(", "))
        }
        None => message(&reply),
    }
}

async fn messages_of_a_socket_keep_their_order_beside_a_flood(engine: EngineKind) {
    let system = System::start(engine).await;
    let load = Load::start(system.ws(), "flood", 4, 256);
    keep_their_order(&system, load).await;
}

/// A write whose socket has nothing else in flight has priority, for half of a batch. Here there are more such writes.
async fn messages_of_a_socket_keep_their_order_beside_many_clients_that_wait_for_each_reply(
    engine: EngineKind,
) {
    let system = System::start_with_settings(engine, &[("BATCH_OPS_MAX", "2")]).await;
    let load = Load::start(system.ws(), "flood", 32, 1);
    keep_their_order(&system, load).await;
}

async fn keep_their_order(system: &System, load: Load) {
    load.acked(1000, PATIENCE).await;
    let mut socket: Socket = system.socket().await;
    let (mut present, mut due) = (HashSet::new(), VecDeque::new());
    for number in 0..MESSAGES {
        let (message, reply) = message(number, &mut present);
        socket.send(message.to_string()).await;
        due.push_back(reply);
        // The socket has nothing in flight at times, then a little, then much.
        let under_way = [0, 1, 3, 20][number / 20 % 4];
        while due.len() > under_way {
            assert_eq!(
                Some(said(&socket.next().await)),
                due.pop_front(),
                "the reply to {number} or one before it"
            );
        }
    }
    for reply in due {
        assert_eq!(said(&socket.next().await), reply);
    }
    load.stop().await.check(system.http()).await;
}
