//! No variable of a database server changes an answer: each connection sets the variables that could. A server that cannot log writes is refused.

use std::time::Duration;

use e2e::{
    Database, DatabaseServer, EngineKind, PATIENCE, Role, ServiceProcess, System, eventually, promises,
    within,
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _};

promises! {
    sql:
        answers_do_not_depend_on_the_variables_of_the_server,
        a_server_that_logs_statements_is_not_written_to,
        a_server_without_a_log_may_have_any_format_of_it;
}

/// Variables of both servers, with values that would change answers or keep the services from working.
const HOSTILE: [(&str, &str); 15] = [
    ("sql_select_limit", "1"),
    ("max_join_size", "1"),
    ("sql_safe_updates", "1"),
    ("sql_auto_is_null", "1"),
    (
        "sql_mode",
        "'ANSI,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,NO_UNSIGNED_SUBTRACTION'",
    ),
    ("completion_type", "2"),
    ("max_sort_length", "8"),
    ("time_zone", "'-11:00'"),
    ("autocommit", "0"),
    // For such a session the uptime of the server is negative, as after a clock that was set back to before the start.
    ("init_connect", "'set sql_select_limit = 1, autocommit = 0, timestamp = 1000000000'"),
    ("innodb_lock_wait_timeout", "1000"),
    ("lock_wait_timeout", "1"),
    ("wait_timeout", "1"),
    ("net_write_timeout", "1"),
    ("character_set_server", "'utf16'"),
];

/// Variables that only one of the servers has.
fn hostile_to(engine: EngineKind) -> &'static [(&'static str, &'static str)] {
    match engine {
        EngineKind::Sqlite => &[],
        EngineKind::MariaDb => &[
            ("max_statement_time", "0.0001"),
            ("idle_transaction_timeout", "1"),
            ("in_predicate_conversion_threshold", "2"),
            ("tx_isolation", "'SERIALIZABLE'"),
            ("tx_read_only", "1"),
        ],
        EngineKind::MySql => &[
            ("max_execution_time", "1"),
            ("transaction_isolation", "'SERIALIZABLE'"),
            ("transaction_read_only", "1"),
        ],
    }
}

/// Gets, lists, exports and writes on `database`, whose keys begin with `prefix`.
async fn answers_are_right(database: Database, prefix: &str) {
    let system = System::start_processes(database, &[]);
    system.ready().await;
    let mut socket = system.socket().await;
    let key = |number: usize| format!("{prefix}/{}{number}", "long/".repeat(20));
    for number in 0..4 {
        let reply = socket.set(&key(number), &number.to_string()).await;
        assert_eq!(reply, format!(r#"{{"message":"{} created","status":200}}"#, key(number)), "{prefix}");
    }
    let batch = |number| format!(r#"{{"op":"delete","key":"{}"}}"#, key(number));
    let ops: Vec<String> = [2, 0, 1].map(batch).into();
    let set = format!(r#"{{"key":"{}","value":"3","if_rev":0}}"#, key(4));
    let reply = socket.ask(format!(r#"{{"op":"batch","ops":[{},{set}]}}"#, ops.join(","))).await;
    assert!(reply.contains(r#""message":"4 ops committed""#), "{prefix}: {reply}");
    for number in 0..3 {
        let reply = socket.ask(format!(r#"{{"key":"{}","value":"{number}","ttl":100}}"#, key(number))).await;
        assert!(reply.contains("created"), "{prefix}: {reply}");
    }

    let mut connection = system.connection().await;
    let keys: Vec<String> = (0..5).map(|number| format!("key={}", key(number))).collect();
    let got = connection.get(&format!("/storage?{}", keys.join("&"))).await.json();
    assert_eq!(got["missing"], Value::Array(Vec::new()), "{prefix}: {got}");
    let listed = connection.get(&format!("/storage?prefix={prefix}/")).await.json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(5), "{prefix}: {listed}");
    let exported = connection.get(&format!("/export?prefix={prefix}/")).await.body;
    assert_eq!(exported.lines().count(), 5, "{prefix}: {exported}");
    let deleted = socket.ask(format!(r#"{{"op":"delete","key":"{}"}}"#, key(3))).await;
    assert!(deleted.contains("deleted"), "{prefix}: {deleted}");
    assert_eq!(connection.get(&e2e::storage(&key(3))).await.status, 404, "{prefix}");
}

async fn answers_do_not_depend_on_the_variables_of_the_server(engine: EngineKind) {
    let mut server = DatabaseServer::new(engine, &[]);
    server.start().await;
    let database = Database::planned(engine, Some(server.url()));
    database.create().await;
    database.migrate();
    let mut root = database.root().await;
    let variables: Vec<_> = HOSTILE.iter().chain(hostile_to(engine)).collect();
    for (name, value) in &variables {
        let set = format!("set global {name} = {value}");
        root.execute(AssertSqlSafe(set)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        answers_are_right(database.again(), name).await;
        let reset = format!("set global {name} = default");
        root.execute(AssertSqlSafe(reset)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for (name, value) in &variables {
        let set = format!("set global {name} = {value}");
        root.execute(AssertSqlSafe(set)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    database.migrate();
    answers_are_right(database.again(), "all").await;
    for (name, _) in &variables {
        let reset = format!("set global {name} = default");
        root.execute(AssertSqlSafe(reset)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// What the services say of a server that logs statements.
const LOG_FORMAT: &str = "binlog_format is STATEMENT";

/// Waits until the process says that the format of the log is wrong.
async fn wait_not_ready(process: &ServiceProcess) {
    eventually("it says why it is not ready", PATIENCE, async || match process.readiness().await {
        Err(why) if why.contains(LOG_FORMAT) && why.contains("set global") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

/// Writes are refused long before their deadline, which is after 10 s.
async fn refuses_soon(system: &System) {
    let mut socket = system.socket().await;
    for _ in 0..3 {
        let refused = socket.refuses(r#"{"key":"k","value":"v"}"#, 503, "unavailable");
        within("a refusal", Duration::from_secs(5), refused).await;
    }
}

async fn a_server_that_logs_statements_is_not_written_to(engine: EngineKind) {
    let mut server = DatabaseServer::new(engine, &["--binlog-format=STATEMENT"]);
    server.start().await;
    let database = Database::planned(engine, Some(server.url()));
    database.create().await;
    let output = database.build.run_to_end("ws-ingest", &["migrate"], &database.migration_env());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(LOG_FORMAT), "{output:?}");

    let mut root = database.root().await;
    root.execute("set global binlog_format = 'MIXED'").await.expect("root may set it");
    database.migrate();
    root.execute("set global binlog_format = 'STATEMENT'").await.expect("root may set it");
    let system = System::start_processes(database.again(), &[]);
    wait_not_ready(&system.writer).await;
    refuses_soon(&system).await;
    system.reads().ready().await;
    assert_eq!(system.read("k").await.status, 404);

    // The service notices by itself.
    root.execute("set global binlog_format = 'ROW'").await.expect("root may set it");
    system.ready().await;
    let mut socket = system.socket().await;
    assert_eq!(socket.set("k", "1").await, r#"{"message":"k created","status":200}"#);

    // Sessions that are open keep their format, new ones do not.
    root.execute("set global binlog_format = 'STATEMENT'").await.expect("root may set it");
    assert_eq!(socket.set("k", "2").await, r#"{"message":"k updated","status":200}"#);
    for connection in database.connections(Role::Writer).await {
        let kill = format!("kill {connection}");
        // That of the sweeper may have ended meanwhile.
        drop(root.execute(AssertSqlSafe(kill)).await);
    }
    wait_not_ready(&system.writer).await;
    refuses_soon(&system).await;
    root.execute("set global binlog_format = 'MIXED'").await.expect("root may set it");
    system.ready().await;
    assert_eq!(socket.set("k", "3").await, r#"{"message":"k updated","status":200}"#);
    assert_eq!(system.read("k").await.json()["value"], "3");
}

async fn a_server_without_a_log_may_have_any_format_of_it(engine: EngineKind) {
    let server = DatabaseServer::new(engine, &["--skip-log-bin", "--binlog-format=STATEMENT"]);
    let (_server, system) = System::start_on_server(server, &[("ALLOW_UNSAFE_DURABILITY", "true")]).await;
    let reply = system.socket().await.set("k", "v").await;
    assert_eq!(reply, r#"{"message":"k created","status":200}"#);
}
