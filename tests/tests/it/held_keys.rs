//! A key that somebody else has locked, or that the database cannot write, does not keep other keys waiting.

use std::time::{Duration, Instant};

use e2e::{EngineKind, Role, Socket, System, eventually, measured, promises, write};
use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _, MySqlConnection};

promises! {
    every:
        a_key_that_cannot_be_written_fails_alone,
        a_store_takes_writes_again_once_its_only_key_was_repaired;
    sql:
        a_locked_row_costs_writers_of_other_keys_one_lock_wait,
        a_row_that_is_not_committed_costs_writers_of_other_keys_one_lock_wait,
        a_locked_row_costs_other_batches_one_lock_wait,
        a_lock_longer_than_a_write_may_take_does_not_stop_other_keys,
        a_locked_row_does_not_delay_writes_that_do_not_name_it,
        a_locked_gap_does_not_stop_other_keys,
        many_new_keys_in_a_locked_gap_do_not_stop_other_keys;
}

/// How long a write may take.
const SETTINGS: [(&str, &str); 1] = [("OP_TIMEOUT_MS", "5000")];

/// How long somebody holds a row.
const HOLD: Duration = Duration::from_secs(9);

/// A write that takes longer than this has met a lock wait, which takes two to three seconds.
const SLOW: Duration = Duration::from_millis(1900);

/// What clients find that write other keys, one write at a time.
#[derive(Debug, Default)]
struct Others {
    written: usize,
    refused: Vec<String>,
    /// How many writes were slow, for the client that has the most of them.
    slow: usize,
    slowest: Duration,
}

impl Others {
    /// Eight clients write keys of their own until `end`.
    async fn work(system: &System, end: Instant, message: fn(&str) -> String) -> Self {
        let clients: Vec<_> = (0..8)
            .map(|client| {
                let addr = system.ws();
                tokio::spawn(async move {
                    let (mut found, mut socket) = (Self::default(), Socket::open(addr).await);
                    while Instant::now() < end {
                        let begun = Instant::now();
                        let reply =
                            socket.ask(message(&format!("other/{client}/{}", found.written % 50))).await;
                        found.slowest = found.slowest.max(begun.elapsed());
                        found.slow += usize::from(begun.elapsed() > SLOW);
                        if status(&reply) == 200 {
                            found.written += 1;
                        } else {
                            found.refused.push(reply);
                        }
                    }
                    found
                })
            })
            .collect();
        let mut all = Self::default();
        for client in clients {
            let one = client.await.expect("a client does not fail");
            all.written += one.written;
            all.refused.extend(one.refused);
            all.slow = all.slow.max(one.slow);
            all.slowest = all.slowest.max(one.slowest);
        }
        measured(&format!("{} written, {} slow, slowest {:?}", all.written, all.slow, all.slowest));
        all
    }

    /// They noticed at most one lock wait.
    fn went_on(&self) {
        assert!(self.refused.is_empty() && self.slow <= 1 && self.written > 100, "{self:?}");
    }
}

fn status(reply: &str) -> u64 {
    let reply: Value = serde_json::from_str(reply).expect("a reply is JSON");
    reply["status"].as_u64().expect("a reply has a status")
}

fn single(key: &str) -> String {
    write(key, "x")
}

/// A batch with one more key, which all batches write.
fn batch(key: &str) -> String {
    json!({"op": "batch", "ops": [{"key": key, "value": "x"}, {"key": "shared", "value": "x"}]}).to_string()
}

/// Keeps sending writes of a held key until `end`, without waiting for replies. Returns the replies.
async fn keep_writing(system: &System, end: Instant, message: String) -> Vec<String> {
    let mut sockets = Vec::new();
    while Instant::now() < end {
        let mut socket = system.socket().await;
        socket.send(message.clone()).await;
        sockets.push(socket);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let mut replies = Vec::new();
    for mut socket in sockets {
        replies.push(socket.next().await);
    }
    replies
}

/// Somebody who runs `statement` in a transaction that stays open.
async fn holder(system: &System, statement: &str) -> MySqlConnection {
    let mut holder = system.database.login(Role::Migration).await;
    for sql in ["begin", statement] {
        holder.execute(AssertSqlSafe(sql.to_owned())).await.expect("nobody else has the row for long");
    }
    holder
}

/// While somebody holds what `statement` locks, the writes of `held` are refused and the others go on.
async fn others_go_on(system: &System, statement: &str, held: String, message: fn(&str) -> String) {
    let mut holder = holder(system, statement).await;
    let now = Instant::now();
    let (others, replies) = tokio::join!(
        Others::work(system, now + HOLD, message),
        keep_writing(system, now + HOLD / 3, held.clone())
    );
    others.went_on();
    assert!(replies.len() > 3, "{replies:?}");
    assert!(replies.iter().all(|reply| reply.contains("overloaded")), "{replies:?}");
    system.writer.readiness().await.expect("the lane works");
    holder.execute("rollback").await.expect("it is open");
    let mut socket = system.socket().await;
    let begun = Instant::now();
    assert_eq!(status(&socket.ask(held).await), 200);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

async fn a_locked_row_costs_writers_of_other_keys_one_lock_wait(engine: EngineKind) {
    let system = System::start_with_settings(engine, &SETTINGS).await;
    system.socket().await.set("held", "before").await;
    others_go_on(&system, "select * from entries where k = 'held' for update", single("held"), single).await;
}

async fn a_row_that_is_not_committed_costs_writers_of_other_keys_one_lock_wait(engine: EngineKind) {
    let system = System::start_with_settings(engine, &SETTINGS).await;
    let insert = "insert into entries (k, v, rev, born) values ('held', 'theirs', 1, 1)";
    others_go_on(&system, insert, single("held"), single).await;
}

async fn a_locked_row_costs_other_batches_one_lock_wait(engine: EngineKind) {
    let system = System::start_with_settings(engine, &SETTINGS).await;
    system.socket().await.set("held", "before").await;
    others_go_on(&system, "update entries set v = 'theirs' where k = 'held'", batch("held"), batch).await;
}

async fn a_lock_longer_than_a_write_may_take_does_not_stop_other_keys(engine: EngineKind) {
    let system = System::start_with_settings(engine, &[("OP_TIMEOUT_MS", "1000")]).await;
    system.socket().await.set("held", "before").await;
    let mut holder = holder(&system, "select * from entries where k = 'held' for update").await;
    let end = Instant::now() + HOLD;
    let (others, replies) =
        tokio::join!(Others::work(&system, end, single), keep_writing(&system, end, single("held")));
    assert!(others.written > 100 && others.refused.len() <= 16, "{others:?}");
    assert!(replies.iter().all(|reply| status(reply) == 503), "{replies:?}");
    holder.execute("rollback").await.expect("it is open");
    let mut socket = system.socket().await;
    eventually("the key is written again", Duration::from_secs(2), async || {
        let reply = socket.ask(single("held")).await;
        if status(&reply) == 200 { Ok(()) } else { Err(reply) }
    })
    .await;
}

/// Gives `key` the last revision that its column holds.
async fn exhaust(system: &System, key: &str) {
    let last: u64 = if system.database.engine == EngineKind::Sqlite { u64::MAX >> 1 } else { u64::MAX };
    let hex = key.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    system.database.execute(&format!("update entries set rev = {last} where k = x'{hex}'")).await;
}

async fn a_key_that_cannot_be_written_fails_alone(engine: EngineKind) {
    let system = System::start(engine).await;
    let key = "poison\n\u{1b}[31m";
    let mut socket = system.socket().await;
    socket.set(key, "before").await;
    exhaust(&system, key).await;
    let end = Instant::now() + Duration::from_secs(5);
    let delete = json!({"op": "delete", "key": key}).to_string();
    let set_and_ask = json!({"id": 1, "key": key, "value": "x"}).to_string();
    let both = json!({"op": "batch", "ops": [{"key": "a", "value": "x"}, {"key": key, "value": "x"}]});
    let (others, set, delete, set_and_ask, both) = tokio::join!(
        Others::work(&system, end, single),
        keep_writing(&system, end, single(key)),
        keep_writing(&system, end, delete),
        keep_writing(&system, end, set_and_ask),
        keep_writing(&system, end, both.to_string()),
    );
    others.went_on();
    assert_eq!(others.slow, 0, "{others:?}");
    for replies in [set, delete, set_and_ask, both] {
        assert!(
            replies.iter().all(|reply| reply.contains(r#""status":500,"code":"internal""#)),
            "{replies:?}"
        );
    }
    assert_eq!(system.read("a").await.status, 404, "a batch is applied as a whole or not at all");
    system.writer.readiness().await.expect("the lane works");
    let log = system.writer.log();
    assert!(log.contains("poison") && !log.contains(key), "the log names the key, escaped: {log}");
}

async fn a_store_takes_writes_again_once_its_only_key_was_repaired(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    socket.set("poison", "before").await;
    exhaust(&system, "poison").await;
    socket.refuses(single("poison"), 500, "internal").await;
    system.database.execute("update entries set rev = 7").await;
    let begun = Instant::now();
    assert_eq!(socket.ask(single("poison")).await, r#"{"message":"poison updated","status":200}"#);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

async fn a_locked_row_does_not_delay_writes_that_do_not_name_it(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    socket.set("held", "before").await;
    let _holder = holder(&system, "select * from entries where k = 'held' for update").await;
    // A store of one row, which a server may rather scan than look up sixteen keys.
    let ops: Vec<Value> =
        (0..16).map(|n| json!({"key": format!("k{n}"), "value": "x", "if_rev": 0})).collect();
    let begun = Instant::now();
    assert_eq!(status(&socket.ask(json!({"op": "batch", "ops": ops}).to_string()).await), 200);
    assert!(begun.elapsed() < SLOW, "{:?}", begun.elapsed());
}

/// Somebody who holds the gap locked in which new keys that begin with `gap/` would be. The keys of [`Others`] exist, so they are not in the
/// gap.
async fn gap_holder(system: &System) -> MySqlConnection {
    let mut socket = system.socket().await;
    for key in ["gap", "gaq"] {
        socket.set(key, "before").await;
    }
    drop(Others::work(system, Instant::now() + Duration::from_secs(2), single).await);
    holder(system, "select * from entries where k between 'gap/a' and 'gap/z' for update").await
}

async fn a_locked_gap_does_not_stop_other_keys(engine: EngineKind) {
    let system = System::start_with_settings(engine, &SETTINGS).await;
    let mut holder = gap_holder(&system).await;
    let now = Instant::now();
    let new_rows = ["gap/b", "gap/c", "gap/d"].map(|key| keep_writing(&system, now + HOLD / 2, single(key)));
    let (others, replies) = tokio::join!(Others::work(&system, now + HOLD, single), join_all(new_rows));
    assert!(others.refused.is_empty() && others.slow <= 2 && others.written > 100, "{others:?}");
    assert!(replies.iter().flatten().all(|reply| status(reply) == 503), "{replies:?}");
    holder.execute("rollback").await.expect("it is open");
    assert_eq!(status(&system.socket().await.ask(single("gap/b")).await), 200);
}

async fn many_new_keys_in_a_locked_gap_do_not_stop_other_keys(engine: EngineKind) {
    let system = System::start_with_settings(engine, &SETTINGS).await;
    let mut holder = gap_holder(&system).await;
    let now = Instant::now();
    let new_rows =
        (0..100).map(|number| keep_writing(&system, now + HOLD / 9, single(&format!("gap/b{number}"))));
    let (others, replies) = tokio::join!(Others::work(&system, now + HOLD, single), join_all(new_rows));
    assert!(others.refused.is_empty() && others.slow <= 2 && others.written > 100, "{others:?}");
    assert!(replies.iter().flatten().all(|reply| status(reply) == 503), "{replies:?}");
    holder.execute("rollback").await.expect("it is open");
    assert_eq!(status(&system.socket().await.ask(single("gap/b1")).await), 200);
}
