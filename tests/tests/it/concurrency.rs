//! Several processes on one database behave like one.

use std::collections::{HashMap, HashSet};

use e2e::{Database, EngineKind, HttpConnection, Role, ServiceProcess, Socket, System, promises, storage};
use serde_json::Value;
use tokio::task::JoinSet;

promises! {
    every:
        between_writers_the_last_commit_wins,
        every_process_sees_the_writes_of_every_other;
}

/// One acknowledged write: its key, its value and its revision.
type Acked = (String, String, u64);

/// Writes the same keys again and again. Returns the acknowledged writes.
async fn contend(mut socket: Socket, name: usize) -> (Vec<Acked>, usize) {
    let (mut acked, mut created) = (Vec::new(), 0);
    for n in 0..400 {
        let (key, value) = (format!("shared{}", (n * 7 + name) % 10), format!("{name}-{n}"));
        let text = format!(r#"{{"id":{n},"key":"{key}","value":"{value}"}}"#);
        let reply: Value = serde_json::from_str(&socket.ask(text).await).expect("JSON");
        assert_eq!(reply["status"], 200, "contention is no error: {reply}");
        created += usize::from(reply["message"] == format!("{key} created"));
        acked.push((key, value, reply["rev"].as_u64().expect("an id brings a rev")));
    }
    (acked, created)
}

async fn between_writers_the_last_commit_wins(engine: EngineKind) {
    let system = System::start(engine).await;
    let other = system.another_writer().await;
    let mut sockets = JoinSet::new();
    for name in 0..4 {
        let addr = if name % 2 == 0 { system.ws() } else { other.public };
        sockets.spawn(contend(Socket::open(addr).await, name));
    }
    let all = sockets.join_all().await;
    assert_eq!(all.iter().map(|(_, created)| created).sum::<usize>(), 10, "each key once");
    let mut last: HashMap<&str, (u64, &str)> = HashMap::new();
    let mut revs = HashSet::new();
    for (key, value, rev) in all.iter().flat_map(|(acked, _)| acked) {
        assert!(revs.insert((key, rev)), "rev {rev} of {key} was given twice");
        let newest = last.entry(key).or_default();
        *newest = (*newest).max((*rev, value));
    }
    let mut connection = system.connection().await;
    for (key, (rev, value)) in last {
        let found = connection.get(&storage(key)).await;
        assert_eq!(found.json()["value"], value, "{key}");
        assert_eq!(found.header("etag"), Some(format!("\"{rev}\"").as_str()), "{key}");
    }
}

async fn every_process_sees_the_writes_of_every_other(engine: EngineKind) {
    let system = System::start(engine).await;
    let other_writer = system.another_writer().await;
    let other_reader = system.another_reader().await;
    let mut writers = [system.socket().await, Socket::open(other_writer.public).await];
    let mut readers = vec![system.connection().await, HttpConnection::open(other_reader.public).await];
    if engine == EngineKind::Sqlite {
        // The second process reads too.
        readers.push(HttpConnection::open(other_writer.public).await);
    }
    for n in 0..100 {
        let value = n.to_string();
        let reply = writers[n % 2].set("shared", &value).await;
        let verb = if n == 0 { "created" } else { "updated" };
        assert_eq!(reply, format!(r#"{{"message":"shared {verb}","status":200}}"#));
        for reader in &mut readers {
            let found = reader.get("/storage/shared").await;
            assert_eq!(found.json()["value"], value.as_str());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_together_on_a_new_file_all_become_ready() {
    let database = Database::fresh(EngineKind::Sqlite).await;
    let env = database.env(Role::Writer);
    let starts = (0..4).map(|_| {
        let env = env.clone();
        std::thread::spawn(move || ServiceProcess::start("keywire", &env))
    });
    let starts: Vec<_> = starts.collect();
    for (n, start) in starts.into_iter().enumerate() {
        let process = start.join().expect("it starts");
        process.ready().await;
        let reply = Socket::open(process.public).await.set(&format!("k{n}"), "v").await;
        assert_eq!(reply, format!(r#"{{"message":"k{n} created","status":200}}"#));
    }
    assert_eq!(database.entries().await, 4);
}
