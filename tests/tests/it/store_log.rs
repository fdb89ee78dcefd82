//! The write-ahead log of `SQLite`: gone after an ordered stop, and small again once no reader holds an old snapshot.

use std::fs;
use std::path::PathBuf;

use e2e::{EngineKind, HttpConnection, PATIENCE, System, eventually, promises, signal};

promises! {
    sqlite:
        after_an_ordered_stop_the_file_alone_has_everything,
        the_log_stays_while_another_process_has_the_file_open,
        the_log_shrinks_when_a_held_export_has_ended;
}

fn log_of(system: &System) -> PathBuf {
    let mut path = system.database.file().into_os_string();
    path.push("-wal");
    path.into()
}

async fn after_an_ordered_stop_the_file_alone_has_everything(engine: EngineKind) {
    let mut system = System::start(engine).await;
    for round in 0..12 {
        let key = round.to_string();
        system.socket().await.set(&key, "v").await;
        if round % 3 == 0 {
            // A connection of each kind: a get, a list, and an export that its client leaves.
            assert_eq!(system.read(&key).await.status, 200);
            assert_eq!(system.connection().await.get("/storage").await.status, 200);
            system.connection().await.send("GET", "/export").await;
        }
        signal(if round % 2 == 0 { "TERM" } else { "INT" }, system.writer.id());
        let status = system.writer.ended(PATIENCE).await;
        assert!(status.success(), "{status}: {}", system.writer.log());
        assert!(!log_of(&system).exists(), "stop {round} left the log");
        let copy = system.database.copied();
        let reader = System::start_processes(copy, &[]);
        reader.ready().await;
        for key in 0..=round {
            assert_eq!(reader.read(&key.to_string()).await.status, 200, "{key} after stop {round}");
        }
        system.restart_writer().await;
    }
}

async fn the_log_stays_while_another_process_has_the_file_open(engine: EngineKind) {
    let mut system = System::start(engine).await;
    let mut reader = system.another_reader().await;
    system.socket().await.set("k", "v").await;
    system.writer.stop().await;
    assert_eq!(e2e::get(reader.public, "/storage/k").await.json()["value"], "v", "it has what it needs");
    reader.stop().await;
    assert!(!log_of(&system).exists(), "the last process removes it");
    system.database.migrate();
    assert!(!log_of(&system).exists(), "so does a migration");
}

async fn the_log_shrinks_when_a_held_export_has_ended(engine: EngineKind) {
    let system = System::start(engine).await;
    // Without the service, which is faster: it gives an export up whose client reads nothing for 10 s.
    let fill = "with recursive n (i) as (select 10 union all select i + 1 from n where i < 40) \
                insert into entries (k, v, rev, born) select cast(i as blob), zeroblob(1000000), 1, 1 from n";
    system.database.execute(fill).await;
    let mut export = HttpConnection::open(system.http()).await;
    export.send("GET", "/export").await;
    export.begun().await;
    let bytes = || fs::metadata(log_of(&system)).map_or(0, |found| found.len());
    system.database.execute("update entries set v = zeroblob(900000)").await;
    assert!(bytes() > 25_000_000, "the log holds what the export may still read: {} bytes", bytes());
    drop(export);
    // Nobody writes meanwhile.
    eventually("the log is small", PATIENCE, async || match bytes() {
        0..=16_777_216 => Ok(()),
        bytes => Err(format!("{bytes} bytes")),
    })
    .await;
    assert!(system.socket().await.set("k", "v").await.contains("created"));
}
