//! Watches: streams of what changes, and gets that wait for a change.

mod chaos;
mod cut_log;
mod expiry;
mod limits;
mod live;
mod long_poll;
mod resume;
mod start;
mod turns;

use e2e::{Event, PATIENCE, Socket, eventually};

/// The put of a key that does not expire.
fn put(key: &str, value: &str, rev: u64) -> Event {
    Event::Put { key: key.to_owned(), value: Some(value.to_owned()), rev, expires_at: None }
}

/// The same without its value.
fn put_alone(key: &str, rev: u64) -> Event {
    Event::Put { key: key.to_owned(), value: None, rev, expires_at: None }
}

/// The delete of a key.
fn deleted(key: &str, rev: u64) -> Event {
    Event::Delete { key: key.to_owned(), rev: Some(rev), expired: false }
}

/// The message that writes `value` under `key` and asks for the revision.
fn set(key: &str, value: &str) -> String {
    serde_json::json!({ "op": "set", "key": key, "value": value }).to_string()
}

/// The message that deletes `key`.
fn delete(key: &str) -> String {
    serde_json::json!({ "op": "delete", "key": key }).to_string()
}

/// Logs more than 1 MiB of changes of other keys, which begin with `prefix`.
async fn fill_log(socket: &mut Socket, prefix: &str) {
    for batch in 0..25 {
        let ops = (0..100).map(|number| {
            let key = format!("{prefix}{batch:02}{number:02}{}", "x".repeat(450));
            serde_json::json!({ "key": key, "value": "v" })
        });
        let batch = serde_json::json!({ "op": "batch", "ops": ops.collect::<Vec<_>>() }).to_string();
        eventually("a batch is committed", PATIENCE, async || match socket.ask(batch.clone()).await {
            reply if reply.starts_with(r#"{"message":"100 ops committed""#) => Ok(()),
            reply => Err(reply),
        })
        .await;
    }
}
