//! The disk of the database is full: no acknowledged write is lost, no refused write is applied, and gets are answered.

use std::convert::Infallible;
use std::time::Duration;

use e2e::{
    DatabaseServer, DiskPart, EngineKind, Load, PATIENCE, System, Tally, eventually, promises, skip, within,
    write,
};

promises! {
    sql:
        writes_are_refused_without_space_and_accepted_when_there_is_space_again,
        commits_that_wait_for_space_are_unknown_and_writes_are_accepted_again;
}

/// How long writes may still fail when there is room again. A server that waits to write its binlog checks once a minute.
const RECOVERY_MAX: Duration = Duration::from_secs(90);

/// The time limit of a get while the disk is full.
const GET_MAX: Duration = Duration::from_secs(2);

async fn writes_are_refused_without_space_and_accepted_when_there_is_space_again(engine: EngineKind) {
    // A short timeout, so that refusals come soon.
    let Some(tally) = fill_up(engine, DiskPart::Data, "1500").await else { return };
    assert!(!tally.refused.is_empty(), "there was no room");
    assert!(tally.unknown.is_empty(), "it is said before COMMIT: {:?}", tally.unknown);
}

async fn commits_that_wait_for_space_are_unknown_and_writes_are_accepted_again(engine: EngineKind) {
    // Longer than the wait for a lock, so that the next connection ends the one that hangs in its COMMIT.
    let Some(tally) = fill_up(engine, DiskPart::Binlog, "4000").await else { return };
    assert!(!tally.refused.is_empty(), "writes that wait for a COMMIT that hangs were never sent");
    assert!(!tally.unknown.is_empty(), "no COMMIT was under way");
}

/// Fills the disk under `part` while clients write and read, makes room again, and checks the outcome of every write.
async fn fill_up(engine: EngineKind, part: DiskPart, op_timeout_ms: &str) -> Option<Tally> {
    let mut server = DatabaseServer::new(engine, &[]);
    if let Err(reason) = server.confine(part) {
        skip(&format!("{engine:?}: no small file system: {reason}"));
        return None;
    }
    let (server, system) = System::start_on_server(server, &[("OP_TIMEOUT_MS", op_timeout_ms)]).await;
    assert!(system.socket().await.set("k", "v").await.contains("200"));
    // Long keys use the free space inside a table sooner.
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
    // One more row for the key "k".
    let entries = system.database.entries().await - 1;
    assert!(
        (acked..=acked + unknown).contains(&entries),
        "{acked} acked, {unknown} unknown, {entries} there"
    );
    Some(tally)
}

/// Waits until a write is refused as unavailable. Between two attempts of the service it may have another outcome.
async fn refused(system: &System) {
    let mut socket = system.socket().await;
    // A long value does not fit anywhere; a short one might.
    let large = write("large", &"x".repeat(1 << 20));
    eventually("a write is refused", PATIENCE, async || {
        let reply = socket.ask(large.clone()).await;
        assert!(!reply.contains(r#""status":200"#), "acknowledged without room: {reply}");
        let unavailable = reply.contains(r#""status":503,"code":"unavailable""#);
        if unavailable { Ok(()) } else { Err(reply) }
    })
    .await;
}

/// Gets the same key again and again.
async fn gets(system: &System) -> Infallible {
    loop {
        let response = within("a get", GET_MAX, system.read("k")).await;
        assert_eq!((response.status, &response.json()["value"]), (200, &"v".into()), "{response:?}");
        // The gets must not be a load themselves.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
