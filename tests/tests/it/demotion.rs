//! A server that is no longer the primary is not used: its data is of the past.

use e2e::{EngineKind, PATIENCE, System, eventually, promises};
use sqlx::Executor as _;

promises! {
    sql:
        a_server_that_becomes_read_only_is_neither_written_nor_read;
}

async fn a_server_that_becomes_read_only_is_neither_written_nor_read(engine: EngineKind) {
    let (_server, system) = System::start_on_own_server(engine, &[("OP_TIMEOUT_MS", "1000")]).await;
    let mut socket = system.socket().await;
    socket.set("k", "1").await;
    assert_eq!(system.read("k").await.json()["value"], "1");
    let mut root = system.database.root().await;
    root.execute("set global read_only = 1").await.expect("root may set it");
    for process in [&system.writer, system.reads()] {
        eventually("it says why it is not ready", PATIENCE, async || match process.readiness().await {
            Err(why) if why.contains("read_only") => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
    socket.refuses(r#"{"key":"k","value":"2"}"#, 503, "unavailable").await;
    let mut connection = system.connection().await;
    for target in ["/storage/k", "/storage?prefix=k"] {
        connection.get(target).await.refused(503, "unavailable");
    }
    root.execute("set global read_only = 0").await.expect("root may set it");
    system.ready().await;
    assert_eq!(socket.set("k", "3").await, r#"{"message":"k updated","status":200}"#);
    assert_eq!(system.read("k").await.json()["value"], "3");
}
