//! A service whose user loses a right, or whose table is gone, is not ready until both are back. It does not become ready in between.

use std::time::{Duration, Instant};

use e2e::{EngineKind, Load, PATIENCE, Role, ServiceProcess, System, eventually, promises};

promises! {
    sql:
        under_load_a_service_without_a_right_or_a_table_is_steadily_not_ready,
        an_idle_service_without_a_right_is_steadily_not_ready;
}

/// Longer than the longest wait of a connection attempt.
const BUSY: Duration = Duration::from_secs(4);

/// Longer than an idle connection waits before it looks at its schema.
const IDLE: Duration = Duration::from_secs(12);

/// Something that is taken away from the services, and how to give it back.
struct Loss {
    take: String,
    give: String,
    writes: bool,
    reads: bool,
}

/// The loss of `right`, such as `insert on entries`.
fn right(system: &System, role: Role, right: &str) -> Loss {
    let user = system.database.user(role);
    let (take, give) =
        (format!("revoke {right} from '{user}'@'%'"), format!("grant {right} to '{user}'@'%'"));
    Loss { take, give, writes: matches!(role, Role::Writer), reads: matches!(role, Role::Reader) }
}

/// The loss of a table.
fn table(name: &str, reads: bool) -> Loss {
    let (take, give) = (format!("rename table {name} to gone"), format!("rename table gone to {name}"));
    Loss { take, give, writes: true, reads }
}

/// Waits until `process` is not ready, and looks at it until `until`. Returns what it said, without repetitions.
async fn said(process: &ServiceProcess, time: Duration) -> Vec<(Duration, Result<(), String>)> {
    eventually("it is not ready", PATIENCE, async || {
        process.readiness().await.is_err().then_some(()).ok_or_else(|| "ready".into())
    })
    .await;
    let begun = Instant::now();
    let mut all: Vec<(Duration, Result<(), String>)> = Vec::new();
    while begun.elapsed() < time {
        let now = process.readiness().await;
        if all.last().is_none_or(|(_, last)| *last != now) {
            all.push((begun.elapsed(), now));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    all
}

/// Takes something away, looks for `time` at the services that need it, and gives it back.
async fn lose(system: &System, loss: &Loss, time: Duration) {
    system.database.execute(&loss.take).await;
    let writer = async { if loss.writes { said(&system.writer, time).await } else { Vec::new() } };
    let reader = async { if loss.reads { said(system.reads(), time).await } else { Vec::new() } };
    let (writer, reader) = tokio::join!(writer, reader);
    for said in [writer, reader] {
        assert!(said.iter().all(|(_, said)| said.is_err()), "{}: {said:#?}", loss.take);
    }
    system.database.execute(&loss.give).await;
    system.ready().await;
}

async fn under_load_a_service_without_a_right_or_a_table_is_steadily_not_ready(engine: EngineKind) {
    let system = System::start_with_settings(engine, &[("OP_TIMEOUT_MS", "1000")]).await;
    let http = system.http();
    let gets = tokio::spawn(async move {
        loop {
            e2e::get(http, "/storage/k").await;
        }
    });
    for loss in [
        right(&system, Role::Writer, "insert on entries"),
        right(&system, Role::Writer, "update on entries"),
        right(&system, Role::Writer, "select on entries"),
        right(&system, Role::Writer, "insert on writers"),
        right(&system, Role::Writer, "insert on expiries"),
        right(&system, Role::Writer, "insert on changes"),
        right(&system, Role::Reader, "select on entries"),
        right(&system, Role::Reader, "select on changes"),
        right(&system, Role::Reader, "select on store"),
        table("entries", true),
        table("writers", true),
        table("expiries", false),
        table("changes", true),
    ] {
        let load = Load::start(system.ws(), &format!("{}/", loss.take), 3, 4);
        lose(&system, &loss, BUSY).await;
        load.acked(10, PATIENCE).await;
        let tally = load.stop().await;
        assert!(tally.strange.is_empty(), "{}: {:?}", loss.take, tally.strange);
    }
    gets.abort();
}

async fn an_idle_service_without_a_right_is_steadily_not_ready(engine: EngineKind) {
    let system = System::start(engine).await;
    lose(&system, &right(&system, Role::Writer, "insert on entries"), IDLE).await;
    lose(&system, &right(&system, Role::Reader, "select on entries"), IDLE).await;
    lose(&system, &table("entries", true), IDLE).await;
}
