//! Answers of the database are lost, also answers to COMMIT: a write is still applied once, and its reply says how.

use e2e::{EngineKind, Proxy, Role, ServiceProcess, Socket, System, promises, storage, write};
use serde_json::Value;
use tokio::task::JoinSet;

promises! {
    sql:
        a_write_whose_commit_got_no_answer_is_applied_once_and_its_reply_is_true;
}

const SOCKETS: usize = 8;
const WRITES: usize = 250;

/// Each key is written once. A write applied twice would be answered `updated`, or 412 if it has a condition.
async fn write_once(mut socket: Socket, name: usize) -> Vec<String> {
    let mut acked = Vec::new();
    for number in 0..WRITES {
        let key = format!("{name}/{number}");
        let other = format!("{key}/other");
        let (message, did) = match number % 3 {
            0 => (write(&key, &key), format!("{key} created")),
            1 => (format!(r#"{{"key":"{key}","value":"{key}","if_rev":0}}"#), format!("{key} created")),
            _ => {
                let ops = format!(
                    r#"{{"key":"{key}","value":"{key}","if_rev":0}},{{"key":"{other}","value":"v"}}"#
                );
                (format!(r#"{{"op":"batch","ops":[{ops}]}}"#), "2 ops committed".into())
            }
        };
        answered(&mut socket, message, &did).await;
        if number % 3 == 2 {
            // A delete that is applied twice would be a 404.
            answered(
                &mut socket,
                format!(r#"{{"op":"delete","key":"{other}"}}"#),
                &format!("{other} deleted"),
            )
            .await;
        }
        acked.push(key);
    }
    acked
}

async fn answered(socket: &mut Socket, message: String, did: &str) {
    let reply: Value = serde_json::from_str(&socket.ask(message).await).expect("JSON");
    assert_eq!(
        reply["status"], 200,
        "the outcome can be found out in time, and it was applied once: {reply}"
    );
    assert_eq!(reply["message"], did, "it was applied once");
}

async fn a_write_whose_commit_got_no_answer_is_applied_once_and_its_reply_is_true(engine: EngineKind) {
    let system = System::start(engine).await;
    let proxy = Proxy::start(system.database.addr(), 30).await;
    let mut env = system.database.env_at(Role::Writer, &proxy.addr.to_string());
    env.push(("LANES".into(), "2".into()));
    // The test counts lost answers in the log. At `info` each cause would be logged only once a minute.
    env.push(("LOG".to_owned(), "info,db=debug".to_owned()));
    let writer = ServiceProcess::start("ws-ingest", &env);
    writer.ready().await;

    let mut sockets = JoinSet::new();
    for name in 0..SOCKETS {
        sockets.spawn(write_once(Socket::open(writer.public).await, name));
    }
    let acked = sockets.join_all().await.concat();

    let commits = writer.log().matches("COMMIT got no answer").count();
    assert!(proxy.lost() >= 20 && commits >= 5, "too little was lost: {} {commits}", proxy.lost());
    let mut connection = system.connection().await;
    for key in &acked {
        let found = connection.get(&storage(key)).await;
        assert_eq!((found.status, &found.json()["value"]), (200, &key.as_str().into()), "{key}");
    }
    let live = "select count(*) from entries where expires_at is null";
    assert_eq!(system.database.number(live).await, acked.len() as u64);
}
