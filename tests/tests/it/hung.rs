//! A writer whose host hangs inside a transaction does not block other writers for long.

use std::time::{Duration, Instant};

use e2e::{EngineKind, Socket, System, eventually, promises, signal, write};
use serde_json::Value;

promises! {
    sql:
        the_locks_of_a_hung_writer_are_released_within_forty_seconds;
}

const KEYS: usize = 10;

/// Sends writes of the same few keys, 64 at a time, until the socket breaks. Waits for the replies and ignores what they say.
async fn busy(mut socket: Socket) {
    loop {
        let writes = (0..64).map(|n| write(&format!("k{}", n % KEYS), "theirs"));
        if socket.try_send_all(writes).await.is_err() {
            return;
        }
        for _ in 0..64 {
            if socket.reply().await.is_err() {
                return;
            }
        }
    }
}

/// Writes every key. Returns the keys that were not written.
async fn held(socket: &mut Socket) -> Vec<String> {
    let keys: Vec<_> = (0..KEYS).map(|n| format!("k{n}")).collect();
    let writes = keys.iter().map(|key| write(key, "ours"));
    socket.try_send_all(writes).await.expect("everything can be sent at once");
    let mut held = Vec::new();
    for key in keys {
        let reply: Value = serde_json::from_str(&socket.next().await).expect("a reply is JSON");
        match reply["status"].as_u64() {
            Some(200) => {}
            Some(503) => held.push(key),
            _ => panic!("{key}: {reply}"),
        }
    }
    held
}

async fn the_locks_of_a_hung_writer_are_released_within_forty_seconds(engine: EngineKind) {
    let system = System::start_with_settings(engine, &[("OP_TIMEOUT_MS", "3000")]).await;
    let other = system.another_writer().await;
    let mut ours = Socket::open(other.public).await;
    let tasks: Vec<_> =
        [system.socket().await, system.socket().await].map(|socket| tokio::spawn(busy(socket))).into();
    assert!(held(&mut ours).await.is_empty(), "both write while both are there");
    // A freeze may hit a moment outside a transaction, so try several times.
    let mut hung = Instant::now();
    eventually("it hangs inside a transaction", Duration::from_mins(1), async || {
        signal("STOP", system.writer.id());
        hung = Instant::now();
        if !held(&mut ours).await.is_empty() {
            return Ok(());
        }
        signal("CONT", system.writer.id());
        Err("it held nothing".into())
    })
    .await;
    eventually("its keys can be written again", Duration::from_secs(40), async || {
        match held(&mut ours).await {
            held if held.is_empty() => Ok(()),
            held => Err(format!("{held:?} are held for {:?}", hung.elapsed())),
        }
    })
    .await;
    assert!(hung.elapsed() < Duration::from_secs(40), "{:?}", hung.elapsed());
    for task in tasks {
        task.abort();
    }
    for n in 0..KEYS {
        assert_eq!(system.read(&format!("k{n}")).await.json()["value"], "ours");
    }
}
