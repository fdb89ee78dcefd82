//! The database's disk is full: nothing acknowledged is lost, nothing refused is there, and gets are answered.

use std::convert::Infallible;
use std::time::Duration;

use e2e::{Engine, Load, PATIENCE, Part, Server, System, Tally, eventually, promises, skip, within, write};

promises! {
    sql:
        writes_that_find_no_room_are_refused_and_taken_again,
        commits_that_wait_for_room_are_in_doubt_and_taken_again;
}

/// How long after there is room writes may still fail: a server that waits to write its binlog looks once a minute.
const RECOVERY_MAX: Duration = Duration::from_secs(90);

/// Every other get is answered meanwhile, so none has to wait.
const GET_MAX: Duration = Duration::from_secs(2);

async fn writes_that_find_no_room_are_refused_and_taken_again(engine: Engine) {
    // So that refusals come soon.
    let Some(tally) = fill_up(engine, Part::Data, "1500").await else { return };
    assert!(!tally.refused.is_empty(), "there was no room");
    assert!(tally.unknown.is_empty(), "it is said before COMMIT: {:?}", tally.unknown);
}

async fn commits_that_wait_for_room_are_in_doubt_and_taken_again(engine: Engine) {
    // Longer than a lock is waited for, so that the connection that hangs in its COMMIT is ended by the next.
    let Some(tally) = fill_up(engine, Part::Binlog, "4000").await else { return };
    assert!(!tally.refused.is_empty(), "writes behind a COMMIT that hangs were never sent");
    assert!(!tally.unknown.is_empty(), "no COMMIT was under way");
}

/// Fills the disk under `part` while clients write and read, makes room again, and checks what became of every write.
async fn fill_up(engine: Engine, part: Part, op_timeout_ms: &str) -> Option<Tally> {
    let mut server = Server::new(engine, &[]);
    if let Err(reason) = server.confine(part) {
        skip(&format!("{engine:?}: no small file system: {reason}"));
        return None;
    }
    let (server, system) = System::upon(server, &[("OP_TIMEOUT_MS", op_timeout_ms)]).await;
    assert!(system.socket().await.set("k", "v").await.contains("200"));
    // Long keys use up sooner what room a table has within itself.
    let load = Load::start(system.ws(), &"long".repeat(25), 3, 32);
    let writes = async {
        load.acked(1000, PATIENCE).await;
        server.fill();
        load.failed(100, PATIENCE * 2).await;
        refused(&system).await;
        server.empty();
        load.acked(1000, RECOVERY_MAX).await;
    };
    tokio::select! {
        () = writes => {}
        never = gets(&system) => match never {}
    }
    let tally = load.stop().await;
    assert!(tally.closes.is_empty(), "no socket is closed for it: {:?}", tally.closes);
    tally.check(system.http()).await;
    let (acked, unknown) = (tally.acked.len() as u64, tally.unknown.len() as u64);
    // And "k".
    let entries = system.database.entries().await - 1;
    assert!(
        (acked..=acked + unknown).contains(&entries),
        "{acked} acked, {unknown} unknown, {entries} there"
    );
    Some(tally)
}

/// Waits until a write is told that the database is not available, which is not so in each moment between two attempts.
async fn refused(system: &System) {
    let mut socket = system.socket().await;
    // It fits nowhere, where a short one may still find its place.
    let large = write("large", &"x".repeat(1 << 20));
    eventually("a write is refused", PATIENCE, async || {
        let reply = socket.ask(large.clone()).await;
        assert!(!reply.contains(r#""status":200"#), "acknowledged without room: {reply}");
        let unavailable = reply.contains(r#""status":503,"code":"unavailable""#);
        if unavailable { Ok(()) } else { Err(reply) }
    })
    .await;
}

/// Gets the same key over and over.
async fn gets(system: &System) -> Infallible {
    loop {
        let response = within("a get", GET_MAX, system.read("k")).await;
        assert_eq!((response.status, &response.json()["value"]), (200, &"v".into()), "{response:?}");
        // Not to be the load itself.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
