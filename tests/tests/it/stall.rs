//! A database that stands still for longer than a write may take does not keep the service from going on afterwards.

use std::time::Duration;

use e2e::{EngineKind, Socket, System, eventually, promises, write};

promises! {
    sqlite:
        writes_succeed_again_after_the_file_was_locked;
    sql:
        writes_succeed_again_after_the_database_stood_still;
}

/// Times that a write may take: shorter than a stall, and than the second in which a running statement may still end.
const OP_TIMEOUTS_MS: [&str; 2] = ["300", "1000"];

const STALL: Duration = Duration::from_secs(3);

/// Sends single writes and batches without waiting, as clients do who do not know of the stall.
async fn send_some(system: &System) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for number in 0..20 {
        let mut socket = system.socket().await;
        socket.send(write(&format!("k{number}"), "x")).await;
        sockets.push(socket);
    }
    sockets
}

/// Fresh writes of every lane succeed, one after another, and the service is ready.
async fn works_again(system: &System) {
    let mut socket = system.socket().await;
    eventually("a write succeeds", Duration::from_secs(15), async || {
        let reply = socket.ask(write("first", "x")).await;
        if reply.contains("200") { Ok(()) } else { Err(reply) }
    })
    .await;
    eventually("every lane works", Duration::from_secs(15), async || {
        for number in 0..20 {
            let reply = socket.ask(write(&format!("k{number}"), "after")).await;
            if !reply.contains("200") {
                return Err(reply);
            }
        }
        let batch = r#"{"op":"batch","ops":[{"key":"a","value":"x"},{"key":"b","value":"x"}]}"#;
        let reply = socket.ask(batch).await;
        if reply.contains(r#""status":200,"rev""#) { system.writer.readiness().await } else { Err(reply) }
    })
    .await;
}

async fn writes_succeed_again_after_the_file_was_locked(engine: EngineKind) {
    for op_timeout in OP_TIMEOUTS_MS {
        let system = System::start_with_settings(engine, &[("OP_TIMEOUT_MS", op_timeout)]).await;
        works_again(&system).await;
        let locked = system.database.locked().await;
        let sent = send_some(&system).await;
        tokio::time::sleep(STALL).await;
        for mut socket in sent {
            let reply = socket.next().await;
            assert!(reply.contains(r#""status":503"#), "nothing was written: {reply}");
        }
        drop(locked);
        works_again(&system).await;
    }
}

async fn writes_succeed_again_after_the_database_stood_still(engine: EngineKind) {
    let settings = |op_timeout| [("OP_TIMEOUT_MS", op_timeout)];
    let (server, mut system) = System::start_on_own_server(engine, &settings(OP_TIMEOUTS_MS[0])).await;
    for op_timeout in OP_TIMEOUTS_MS {
        system.set(&settings(op_timeout));
        system.restart().await;
        works_again(&system).await;
        server.freeze();
        let sent = send_some(&system).await;
        tokio::time::sleep(STALL).await;
        let unready = system.writer.readiness().await;
        assert!(unready.is_err(), "it is not ready while its database does not answer");
        for mut socket in sent {
            let reply = socket.next().await;
            assert!(reply.contains(r#""status":503"#) || reply.contains(r#""status":504"#), "{reply}");
        }
        server.thaw();
        works_again(&system).await;
    }
}
