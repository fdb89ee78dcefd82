//! The database user of a service may do what the service needs, and nothing else.

use e2e::{EngineKind, Role, System, promises};
use sqlx::{AssertSqlSafe, Executor as _, MySqlConnection};

promises! {
    sql:
        the_services_users_have_the_least_rights;
}

/// Statements that must be denied.
async fn denied(user: &mut MySqlConnection, statements: &[&str]) {
    for statement in statements {
        let done = user.execute(AssertSqlSafe((*statement).to_owned())).await;
        let error = done.expect_err(statement).to_string();
        assert!(error.contains("denied"), "{statement}: {error}");
    }
}

async fn the_services_users_have_the_least_rights(engine: EngineKind) {
    let system = System::start(engine).await;
    system.socket().await.set("k", "v").await;
    let mut root = system.database.root().await;
    let other = format!("create table {}.other (a int)", system.database.name);
    root.execute(AssertSqlSafe(other)).await.expect("root may do anything");

    let mut writer = system.database.login(Role::Writer).await;
    let mut reader = system.database.login(Role::Reader).await;
    for user in [&mut writer, &mut reader] {
        // The users can log in and do their work: without this check the refusals below would prove nothing.
        user.execute("select k, v, rev from entries").await.expect("the entries can be read");
        let statements = [
            "drop table entries",
            "truncate table entries",
            "alter table entries add column x int",
            "create table more (a int)",
            "create index i on entries (rev)",
            "create view v as select 1",
            "select * from other",
            "insert into other values (1)",
            "drop table other",
            "select * from mysql.user",
            "create user 'another'@'%' identified by 'x'",
            "grant select on entries to current_user()",
            "set global sync_binlog = 0",
            "shutdown",
        ];
        denied(user, &statements).await;
    }
    let statements = [
        "insert into entries (k, v, rev, born) values ('x', 'x', 1, 1)",
        "update entries set v = 'x'",
        "delete from entries",
        "insert into writers (id, seq, rev) values (1, 1, 1)",
        "insert into changes (lane, seq, part, at, ks) values (1, 1, 1, 1, 'x')",
        "delete from changes",
        "update store set floor = 0",
        "select * from expiries",
    ];
    denied(&mut reader, &statements).await;
    let statements =
        ["update changes set at = 1", "delete from store", "insert into store values (1, 1, 1, 1)"];
    denied(&mut writer, &statements).await;
    assert_eq!(system.read("k").await.json()["value"], "v");
}
