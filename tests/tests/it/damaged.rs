//! Rows that Keywire did not write: each fails alone, and the log names its key.

use e2e::{EngineKind, PATIENCE, System, eventually, promises};
use futures_util::future::join_all;

promises! {
    every:
        a_damaged_row_fails_no_get_but_its_own,
        a_list_ends_before_a_damaged_row_and_tells_how_to_continue,
        an_export_breaks_off_at_a_damaged_row;
}

/// A store with the keys `a` and `z`, and damaged rows between them.
async fn damaged(engine: EngineKind) -> System {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    socket.set("a", "1").await;
    socket.set("z", "2").await;
    // In SQLite the column is signed, in the others it is not.
    let rev = if engine == EngineKind::Sqlite { "-1" } else { "9223372036854775808" };
    let bad_rev = format!("x'64', x'31', {rev}, 1");
    for row in ["x'62', x'ff', 1, 1", "x'63ff', x'31', 1, 1", &bad_rev] {
        system.database.execute(&format!("insert into entries (k, v, rev, born) values ({row})")).await;
    }
    system
}

/// How many lines of the log of the process that answers reads contain `text`.
fn logged(system: &System, text: &str) -> usize {
    system.reads().log().lines().filter(|line| line.contains(text)).count()
}

async fn a_damaged_row_fails_no_get_but_its_own(engine: EngineKind) {
    let system = damaged(engine).await;
    let ask = async |target: &str, status: u16| {
        let mut connection = system.connection().await;
        for _ in 0..50 {
            let response = connection.get(target).await;
            assert_eq!(response.status, status, "{target}: {response:?}");
            assert_eq!(response.body.contains(" is damaged: "), status == 500, "{response:?}");
        }
    };
    let asked = [
        ("/storage/a", 200),
        ("/storage/b", 500),
        ("/storage/d", 500),
        ("/storage?key=a&key=z", 200),
        ("/storage?key=a&key=b&key=z", 500),
        ("/storage?key=a&key=none", 200),
    ];
    join_all(asked.iter().chain(&asked).map(|(target, status)| ask(target, *status))).await;
    assert_eq!(logged(&system, "is damaged"), 1, "once a minute: {}", system.reads().log());
    assert!(system.reads().readiness().await.is_ok(), "its connections are still good");
    system.socket().await.set("b", "repaired").await;
    assert_eq!(system.read("b").await.json()["value"], "repaired");
}

async fn a_list_ends_before_a_damaged_row_and_tells_how_to_continue(engine: EngineKind) {
    let system = damaged(engine).await;
    let mut connection = system.connection().await;
    let page = connection.get("/storage").await;
    assert_eq!((page.status, page.json()["items"][0]["key"].as_str()), (200, Some("a")), "{page:?}");
    let mut after = page.json()["next"].as_str().expect("there is more").to_owned();
    for named in [r#""b" is damaged"#, r#""c\xff" is damaged"#, r#""d" is damaged"#] {
        let refused = connection.get(&format!("/storage?after={after}")).await;
        refused.refused(500, "internal");
        let message = refused.json()["message"].as_str().expect("it has a message").to_owned();
        let (what, cursor) = message.split_once("after=").expect("it tells how to continue");
        assert!(what.contains(named), "{message}");
        cursor.clone_into(&mut after);
    }
    let rest = connection.get(&format!("/storage?after={after}")).await;
    let rest = rest.json();
    assert_eq!((&rest["items"][0]["key"], &rest["next"]), (&"z".into(), &serde_json::Value::Null));
    assert_eq!(logged(&system, "is damaged"), 1, "once a minute: {}", system.reads().log());
}

async fn an_export_breaks_off_at_a_damaged_row(engine: EngineKind) {
    let system = damaged(engine).await;
    let mut connection = system.connection().await;
    let refused = connection.get("/export").await;
    refused.refused(500, "internal");
    assert!(refused.body.contains(r#"the key \"b\" is damaged"#), "{refused:?}");
    // After a part was already sent, the body can only be broken off.
    let mut socket = system.socket().await;
    for key in 0..200 {
        socket.set(&format!("Z{key}"), &"v".repeat(2000)).await;
    }
    let mut connection = system.connection().await;
    connection.send("GET", "/export").await;
    assert!(connection.try_response().await.is_err(), "it is not complete");
    eventually("the log names the row", PATIENCE, async || match logged(&system, "is damaged") {
        1 => Ok(()),
        other => Err(format!("{other} lines")),
    })
    .await;
    assert!(system.reads().readiness().await.is_ok());
    let rest = system.connection().await.get("/export?prefix=z").await;
    assert_eq!(rest.body, "{\"key\":\"z\",\"value\":\"2\"}\n", "other exports go on");
}
