//! A server that is no longer the primary is not used: its data is of the past.

use e2e::{EngineKind, Load, PATIENCE, ServiceProcess, System, eventually, promises};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

promises! {
    sql:
        a_server_that_becomes_read_only_is_neither_written_nor_read,
        an_outage_is_a_line_for_each_cause_and_not_for_each_attempt;
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

/// The lines of a log at `INFO` and above.
fn lines(process: &ServiceProcess) -> Vec<String> {
    process.log().lines().filter(|line| !line.contains("DEBUG")).map(str::to_owned).collect()
}

async fn an_outage_is_a_line_for_each_cause_and_not_for_each_attempt(engine: EngineKind) {
    let (_server, system) = System::start_on_own_server(engine, &[("OP_TIMEOUT_MS", "1000")]).await;
    let load = Load::start(system.ws(), "load", 3, 32);
    load.acked(100, PATIENCE).await;
    let before = [&system.writer, system.reads()].map(|process| lines(process).len());
    let mut root = system.database.root().await;
    // Connections open, work for a moment, and fail again.
    let find = "select id from information_schema.processlist where db is not null and id <> connection_id()";
    for _ in 0..30 {
        for connection in root.fetch_all(find).await.expect("root sees all connections") {
            let id: u64 = connection.try_get_unchecked(0).expect("an id is a number");
            // It may have ended by itself.
            let _ = root.execute(AssertSqlSafe(format!("kill {id}"))).await;
        }
        load.acked(10, PATIENCE).await;
    }
    root.execute("set global read_only = 1").await.expect("root may set it");
    for process in [&system.writer, system.reads()] {
        eventually("it is not ready", PATIENCE, async || match process.readiness().await {
            Err(_) => Ok(()),
            Ok(()) => Err("it is ready".into()),
        })
        .await;
    }
    load.failed(100, PATIENCE).await;
    root.execute("set global read_only = 0").await.expect("root may set it");
    system.ready().await;
    load.acked(100, PATIENCE).await;
    drop(load.stop().await);
    // A reader says that the database works when it has read.
    system.read("k").await;
    for (process, before) in [&system.writer, system.reads()].into_iter().zip(before) {
        let said = || lines(process).split_off(before);
        let count = |text: &str| said().iter().filter(|line| line.contains(text)).count();
        eventually("it says that the database works again", PATIENCE, async || {
            let last = said().into_iter().rfind(|line| line.contains("db::outage"));
            if last.as_ref().is_some_and(|line| line.contains("works again")) {
                Ok(())
            } else {
                Err(format!("{last:?}"))
            }
        })
        .await;
        // A few lines about killed connections, one about the read-only server, and one at the end of each outage.
        assert!((2..=16).contains(&said().len()), "{:#?}", said());
        assert_eq!(count("so it is not the primary"), 1, "{:#?}", said());
        assert!((1..=count(" WARN ")).contains(&count("works again")), "{:#?}", said());
    }
}
