//! A migration that was stopped anywhere can be run again, and several may run at once.

use std::time::Duration;

use e2e::{BinaryRun, Database, EngineKind, PATIENCE, Role, ServiceProcess, System, eventually, promises};
use sqlx::{AssertSqlSafe, Executor as _};
use tempfile::TempDir;

promises! {
    every:
        a_migration_that_was_killed_is_run_again,
        migrations_that_run_at_once_do_not_disturb_each_other;
    sql:
        a_migration_goes_on_from_any_statement,
        a_service_without_a_right_waits_for_the_migration,
        a_migration_waits_for_one_that_runs_and_not_for_one_that_died;
}

/// What a killed migration leaves: the statements that undo all that it had not done yet, from the last to the first.
const UNDONE: [&str; 13] = [
    "delete from _sqlx_migrations where version = 0",
    "update _sqlx_migrations set success = 0 where version = 3",
    "alter table writers drop column logged",
    "delete from store",
    "drop table store",
    "drop table changes",
    "delete from _sqlx_migrations where version = 3",
    "update _sqlx_migrations set success = 0 where version = 2",
    "drop table expiries",
    "delete from _sqlx_migrations where version = 2",
    "update _sqlx_migrations set success = 0 where version = 1",
    "drop table writers",
    "drop table entries",
];

fn start(database: &Database) -> BinaryRun {
    BinaryRun::start("ws-ingest", &["migrate"], &database.migration_env())
}

/// The services work on the database.
async fn works(database: Database) {
    let system = System::start_processes(database, &[]);
    system.ready().await;
    assert_eq!(system.socket().await.set("k", "v").await, r#"{"message":"k created","status":200}"#);
    assert_eq!(system.read("k").await.json()["value"], "v");
}

async fn a_migration_goes_on_from_any_statement(engine: EngineKind) {
    let database = Database::fresh(engine).await;
    for undone in 1..=UNDONE.len() {
        database.migrate();
        for statement in &UNDONE[..undone] {
            database.execute(statement).await;
        }
        database.migrate();
        let done = "select count(*) from _sqlx_migrations where success = 1";
        assert_eq!(database.number("select count(*) from store where id > 0 and floor = 0").await, 1);
        assert_eq!(database.number(done).await, 3, "after {:?}", &UNDONE[..undone]);
    }
    let (name, reader) = (&database.name, database.user(Role::Reader));
    let mut root = database.root().await;
    let revoke = format!("revoke select on {name}.entries from '{reader}'@'%'");
    root.execute(AssertSqlSafe(revoke)).await.expect("root may do anything");
    database.migrate();
    works(database).await;
}

async fn a_service_without_a_right_waits_for_the_migration(engine: EngineKind) {
    let database = Database::fresh(engine).await;
    database.migrate();
    let (name, user) = (&database.name, database.user(Role::Reader));
    let revoke = format!("revoke select on {name}.writers from '{user}'@'%'");
    database.root().await.execute(AssertSqlSafe(revoke)).await.expect("root may do anything");
    let system = System::start_processes(database.again(), &[]);
    let reader = system.reads();
    eventually("it says what to do", PATIENCE, async || match reader.readiness().await {
        Err(why) if why.contains("run `ws-ingest migrate`") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    database.migrate();
    system.ready().await;
}

async fn a_migration_that_was_killed_is_run_again(engine: EngineKind) {
    let mut database = Database::fresh(engine).await;
    for round in 0..20 {
        let migration = start(&database);
        tokio::time::sleep(Duration::from_millis(round * 7)).await;
        migration.kill();
        if round % 4 == 3 {
            database.migrate();
            works(std::mem::replace(&mut database, Database::fresh(engine).await)).await;
        }
    }
    database.migrate();
    works(database).await;
}

async fn migrations_that_run_at_once_do_not_disturb_each_other(engine: EngineKind) {
    let database = Database::fresh(engine).await;
    let migrations = [(); 4].map(|()| start(&database));
    for migration in migrations {
        let output = migration.end();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    works(database).await;
}

async fn a_migration_waits_for_one_that_runs_and_not_for_one_that_died(engine: EngineKind) {
    let database = Database::fresh(engine).await;
    let mut other = database.root().await;
    let lock = format!("do get_lock('keywire.migrate.{}', 0)", database.name);
    other.execute(AssertSqlSafe(lock)).await.expect("the lock is free");
    let waiting = start(&database);
    eventually("it waits for the lock", PATIENCE, async || {
        let waits = "select count(*) from information_schema.processlist where info like '%keywire.migrate.%' \
            and info like '%get_lock%' and info not like '%processlist%'";
        if database.number(waits).await == 1 { Ok(()) } else { Err("it does not".into()) }
    })
    .await;
    drop(other);
    let output = waiting.end();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    works(database).await;
}

#[tokio::test]
async fn a_file_that_does_not_exist_is_named_with_what_makes_it() {
    let folder = TempDir::new().expect("a folder can be made");
    let url = format!("sqlite://{}", folder.path().join("kv.db").display());
    for service in ["ws-ingest", "rest-read"] {
        let process = ServiceProcess::start(service, &[("DATABASE_URL".into(), url.clone())]);
        eventually("it says why", PATIENCE, async || match process.readiness().await {
            Err(why) if why.contains("kv.db does not exist: `ws-ingest migrate` makes it") => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
}
