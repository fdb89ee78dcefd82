//! A client that writes at random.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use e2e::Socket;
use rand::rngs::SmallRng;
use rand::{Rng as _, RngExt as _};
use serde_json::{Value, json};

use super::{World, locked};

/// The number of keys that are written one by one.
pub(super) const SINGLES: u64 = 20;

/// The number of groups of keys. The keys of a group are only written together, and all get the same value.
pub(super) const GROUPS: u64 = 5;

/// The number of keys in a group, but the first one.
const GROUP_KEYS: u64 = 4;

/// The number of keys in the first group. A reader needs two statements for them.
const LARGE_GROUP_KEYS: u64 = 150;

/// The value of a key of the pair begins with this if both were written together.
pub(super) const TOGETHER: &str = "together ";

/// The pause between two writes.
const REST: Duration = Duration::from_millis(2);

/// The name of a key that is written by itself.
pub(super) fn single(name: &str, number: u64) -> String {
    format!("{name}/single/{number}")
}

/// The names of the keys of a group.
pub(super) fn group(name: &str, number: u64) -> Vec<String> {
    let keys = if number == 0 { LARGE_GROUP_KEYS } else { GROUP_KEYS };
    (0..keys).map(|key| format!("{name}/group/{number}/{key}")).collect()
}

/// The names of two keys. The first one is also written alone, the second one only together with the first one.
pub(super) fn pair(name: &str) -> [String; 2] {
    ["first", "second"].map(|key| format!("{name}/pair/{key}"))
}

/// Writes until nobody writes any more. Opens another socket whenever one breaks.
pub(super) async fn write(world: Arc<World>, task: u64) {
    let (mut choices, mut socket) = (world.choices(task), None);
    while !world.is_quiet() {
        tokio::time::sleep(REST).await;
        let Some(open) = &mut socket else {
            let addr = {
                let writers = locked(&world.writers);
                writers[choices.random_range(0..writers.len())]
            };
            socket = Socket::try_open_at(addr, "/ws/storage/").await.ok();
            continue;
        };
        let message = message(&mut choices, &world.name, world.value.fetch_add(1, Ordering::Relaxed));
        let reply = match open.try_send_all([message]).await {
            Ok(()) => open.try_next().await,
            Err(closed) => Err(closed),
        };
        let Ok(reply) = reply else {
            socket = None;
            continue;
        };
        let reply: Value = serde_json::from_str(&reply).expect("a reply is JSON");
        match reply["status"].as_u64() {
            Some(200 | 404) => drop(world.acked.fetch_add(1, Ordering::Relaxed)),
            Some(503 | 504) => {}
            _ => panic!("an unexpected reply: {reply}"),
        }
    }
}

/// A random write of `value`.
fn message(choices: &mut SmallRng, name: &str, value: u64) -> String {
    let value = value.to_string();
    let key = single(name, choices.random_range(0..SINGLES));
    let group = group(name, choices.random_range(0..GROUPS));
    let [first, second] = pair(name);
    let message = match choices.next_u32() % 24 {
        0..7 => json!({ "key": key, "value": value }),
        7..10 => json!({ "key": key, "value": value, "ttl": choices.random_range(1..3) }),
        10..13 => json!({ "op": "delete", "key": key }),
        13..19 => {
            let ops: Vec<Value> = group.iter().map(|key| json!({ "key": key, "value": value })).collect();
            json!({ "op": "batch", "ops": ops })
        }
        19..21 => json!({ "key": first, "value": value }),
        21..23 => {
            let value = format!("{TOGETHER}{value}");
            json!({ "op": "batch", "ops": [{ "key": first, "value": value }, { "key": second, "value": value }] })
        }
        _ => {
            let ops: Vec<Value> = group.iter().map(|key| json!({ "op": "delete", "key": key })).collect();
            json!({ "op": "batch", "ops": ops })
        }
    };
    message.to_string()
}
