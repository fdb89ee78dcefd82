//! An older program works on a newer schema that is marked compatible, so that services can be upgraded one by one.

use e2e::{EngineKind, PATIENCE, System, eventually, promises};

promises! {
    every:
        a_program_starts_and_works_on_a_newer_schema_that_is_compatible;
    sql:
        a_program_that_runs_stops_using_a_schema_that_becomes_too_new;
}

async fn a_program_starts_and_works_on_a_newer_schema_that_is_compatible(engine: EngineKind) {
    let mut system = System::start(engine).await;
    system.socket().await.set("a", "1").await;
    system.writer.terminate();
    system.writer.ended(PATIENCE).await;
    let newer = "insert into _sqlx_migrations (version, description, installed_on, success, checksum, execution_time) \
        values (9999, 'compatible thing', '2030-01-01 00:00:00', 1, x'00', 0)";
    system.database.execute(newer).await;
    system.restart_writer().await;
    let reply = system.socket().await.set("a", "2").await;
    assert_eq!(reply, r#"{"message":"a updated","status":200}"#);
    if engine != EngineKind::Sqlite {
        system.database.migrate();
    }
}

async fn a_program_that_runs_stops_using_a_schema_that_becomes_too_new(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    socket.set("a", "1").await;
    let newer = "insert into _sqlx_migrations (version, description, installed_on, success, checksum, execution_time) \
        values (9999, 'another layout', '2030-01-01 00:00:00', 1, x'00', 0)";
    system.database.execute(newer).await;
    for process in [&system.writer, system.reads()] {
        eventually("it says why it is not ready", PATIENCE, async || match process.readiness().await {
            Err(why) if why.contains("upgrade the program") => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
    system.read("a").await.refused(503, "unavailable");
    system.database.execute("delete from _sqlx_migrations where version = 9999").await;
    system.ready().await;
    assert_eq!(socket.set("a", "2").await, r#"{"message":"a updated","status":200}"#);
}
