//! An older program works on a newer schema that is marked compatible, so that services can be upgraded one by one.

use e2e::{EngineKind, PATIENCE, System, promises};

promises! {
    every:
        a_program_starts_and_works_on_a_newer_schema_that_is_compatible;
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
