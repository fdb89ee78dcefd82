//! A database that may lose committed writes is not used, unless the operator allows it.

use e2e::{
    Database, DatabaseServer, EngineKind, Load, PATIENCE, ServiceProcess, System, eventually, promises,
};
use sqlx::{AssertSqlSafe, Executor as _};

promises! {
    sql:
        a_database_that_is_not_durable_is_not_used_unless_told_so,
        a_database_that_ceases_to_be_durable_is_no_longer_used,
        a_server_that_syncs_nothing_is_not_used,
        tables_without_transactions_are_not_used,
        an_acknowledged_write_was_synced_to_the_disk;
}

/// Waits until both processes are not ready, for a reason that contains `why`.
async fn wait_both_not_ready(system: &System, why: &str) {
    for process in [&system.writer, system.reads()] {
        wait_not_ready(process, why).await;
    }
}

async fn wait_not_ready(process: &ServiceProcess, why: &str) {
    eventually("it says why it is not ready", PATIENCE, async || match process.readiness().await {
        Err(reason) if reason.contains(why) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

async fn a_database_that_is_not_durable_is_not_used_unless_told_so(engine: EngineKind) {
    let mut server = DatabaseServer::new(engine, &[]);
    server.start().await;
    let database = Database::planned(engine, Some(server.url()));
    database.create().await;
    database.migrate();
    let mut root = database.root().await;
    for name in ["sync_binlog", "innodb_flush_log_at_trx_commit"] {
        let weaken = format!("set global {name} = 0");
        root.execute(AssertSqlSafe(weaken)).await.expect("root may set it");
        let system = System::start_processes(database.again(), &[("OP_TIMEOUT_MS", "1000")]);
        let why = format!("{name} is 0 and must be 1");
        wait_both_not_ready(&system, &why).await;
        for process in [&system.writer, system.reads()] {
            assert!(process.log().contains(&why), "the log says it too: {}", process.log());
        }
        let mut socket = system.socket().await;
        socket.refuses(r#"{"key":"k","value":"v"}"#, 503, "unavailable").await;
        system.read("k").await.refused(503, "unavailable");

        let told = System::start_processes(database.again(), &[("ALLOW_UNSAFE_DURABILITY", "true")]);
        told.ready().await;
        let reply = told.socket().await.set(name, "unsafe").await;
        assert_eq!(reply, format!(r#"{{"message":"{name} created","status":200}}"#));
        let log = told.writer.log();
        assert!(
            log.lines().any(|line| line.contains("WARN") && line.contains(&why)),
            "it is said loudly: {log}"
        );

        let strengthen = format!("set global {name} = 1");
        root.execute(AssertSqlSafe(strengthen)).await.expect("root may set it");
        // The processes that refused the database notice the change by themselves.
        system.ready().await;
        let reply = socket.set(name, "safe").await;
        assert_eq!(reply, format!(r#"{{"message":"{name} updated","status":200}}"#));
    }
}

async fn a_database_that_ceases_to_be_durable_is_no_longer_used(engine: EngineKind) {
    let (_server, system) = System::start_on_own_server(engine, &[("OP_TIMEOUT_MS", "1000")]).await;
    let mut root = system.database.root().await;
    for name in ["sync_binlog", "innodb_flush_log_at_trx_commit"] {
        // No lane is ever idle.
        let load = Load::start(system.ws(), name, 3, 32);
        load.acked(1000, PATIENCE).await;
        let weaken = format!("set global {name} = 0");
        root.execute(AssertSqlSafe(weaken)).await.expect("root may set it");
        wait_both_not_ready(&system, &format!("{name} is 0 and must be 1")).await;
        let tally = load.stop().await;
        assert!(!tally.refused.is_empty(), "nothing was refused");
        system.socket().await.refuses(r#"{"key":"k","value":"v"}"#, 503, "unavailable").await;
        system.read("k").await.refused(503, "unavailable");
        let strengthen = format!("set global {name} = 1");
        root.execute(AssertSqlSafe(strengthen)).await.expect("root may set it");
        system.ready().await;
        tally.check(system.http()).await;
    }
}

async fn a_server_that_syncs_nothing_is_not_used(engine: EngineKind) {
    let (args, why): (&[&str], _) = match engine {
        EngineKind::Sqlite => return,
        EngineKind::MariaDb => (&["--innodb-flush-method=nosync"], "innodb_flush_method"),
        EngineKind::MySql => (&[], "Innodb_redo_log_enabled"),
    };
    let mut server = DatabaseServer::new(engine, args);
    server.start().await;
    let database = Database::planned(engine, Some(server.url()));
    database.create().await;
    database.migrate();
    if engine == EngineKind::MySql {
        let disable = "alter instance disable innodb redo_log";
        database.root().await.execute(disable).await.expect("root may disable it");
    }
    let system = System::start_processes(database.again(), &[]);
    wait_both_not_ready(&system, why).await;
}

async fn tables_without_transactions_are_not_used(engine: EngineKind) {
    let system = System::start(engine).await;
    for table in ["entries", "writers", "expiries", "changes", "store"] {
        system.database.execute(&format!("alter table {table} engine = MyISAM")).await;
        wait_not_ready(&system.writer, table).await;
        // The user of the reader may not see the hints of the sweeper.
        if table != "expiries" {
            wait_not_ready(system.reads(), table).await;
        }
        system.database.execute(&format!("alter table {table} engine = InnoDB")).await;
        system.ready().await;
    }
}

async fn an_acknowledged_write_was_synced_to_the_disk(engine: EngineKind) {
    let (_server, system) = System::start_on_own_server(engine, &[("ALLOW_UNSAFE_DURABILITY", "true")]).await;
    let mut root = system.database.root().await;
    let mut socket = system.socket().await;
    // MariaDB 10.11 counts all syncs together.
    let syncs = if engine == EngineKind::MySql { "Innodb_os_log_fsyncs" } else { "Innodb_data_fsyncs" };
    let before = Database::counted(&mut root, syncs).await;
    for n in 0..200 {
        socket.set(&format!("k{n}"), "v").await;
    }
    let synced = Database::counted(&mut root, syncs).await - before;
    assert!(synced >= 200, "200 writes, one after the other, and {synced} syncs");
    // The count can tell: without durable settings there are fewer syncs.
    root.execute("set global innodb_flush_log_at_trx_commit = 0").await.expect("root may set it");
    let before = Database::counted(&mut root, syncs).await;
    for n in 0..200 {
        socket.set(&format!("l{n}"), "v").await;
    }
    let synced = Database::counted(&mut root, syncs).await - before;
    assert!(synced < 200, "{synced} syncs where none is asked for");
}
