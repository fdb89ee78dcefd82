//! No variable of a database server changes an answer: each connection sets those that could.

use e2e::{Database, DatabaseServer, EngineKind, System, promises};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _};

promises! {
    sql:
        answers_do_not_depend_on_the_variables_of_the_server;
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
