//! `SQLite` cannot write: the disk is full, the largest size of a file is reached, another process keeps the file locked. Writes are
//! refused at once, gets go on, and writes are accepted again by themselves.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::{Build, Database, EngineKind, PATIENCE, Socket, System, eventually, promises, skip, write};

promises! {
    sqlite:
        a_full_disk_is_reported_at_once_until_there_is_room_again,
        a_file_that_may_not_grow_is_reported_at_once_until_it_may,
        a_file_that_another_process_keeps_locked_is_unavailable;
}

/// How soon "at once" is, on a busy machine. Without the promise it is the time limit of a write, 10 s.
const AT_ONCE: Duration = Duration::from_secs(2);

async fn a_full_disk_is_reported_at_once_until_there_is_room_again(engine: EngineKind) {
    let database = Database::planned(engine, None);
    let folder = database.file().parent().expect("a file has a folder").to_owned();
    let disk = match SmallDisk::mount(folder) {
        Ok(disk) => disk,
        Err(reason) => return skip(&format!("{engine:?}: no small file system: {reason}")),
    };
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![0; 1 << 20]).expect("there is room");
    let system = System::start_processes(database, &[]);
    system.ready().await;
    let acked = refused_at_once(&system).await;
    std::fs::remove_file(&ballast).expect("it is there");
    accepted_again(&system, acked).await;
}

async fn a_file_that_may_not_grow_is_reported_at_once_until_it_may(engine: EngineKind) {
    // In blocks of 512 bytes, or of 1024 in some shells.
    let limit = ["sh", "-c", r#"ulimit -S -f 3000; exec "$@""#, "sh"].map(str::to_owned);
    let build = Build::own().run_by(limit.to_vec());
    let system = System::start_processes(Database::planned(engine, None).used_by(&build), &[]);
    system.ready().await;
    let acked = refused_at_once(&system).await;
    let pid = system.writer.id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status();
    if !raised.is_ok_and(|status| status.success()) {
        return skip(&format!("{engine:?}: prlimit of util-linux is not there"));
    }
    accepted_again(&system, acked).await;
}

/// Writes until a write is refused, and checks how. Returns how many were acknowledged.
async fn refused_at_once(system: &System) -> usize {
    let (mut socket, value) = (system.socket().await, "x".repeat(20_000));
    let mut acked = 0;
    let refused = loop {
        let begun = Instant::now();
        let reply = socket.set(&format!("k{acked}"), &value).await;
        if !reply.contains(r#""status":200"#) {
            assert!(begun.elapsed() < AT_ONCE, "after {:?}: {reply}", begun.elapsed());
            break reply;
        }
        acked += 1;
        assert!(acked < 1000, "there is room for all");
    };
    assert!(refused.contains(r#""status":503,"code":"unavailable""#), "{refused}");
    // Not ready for as long as it lasts, also while nobody writes.
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_secs(3) {
        let why = system.writer.readiness().await.expect_err("it cannot write");
        assert!(why.contains("cannot write"), "{why}");
        let found = system.read("k0").await;
        assert_eq!(found.json()["value"], value, "gets go on");
        let missing = system.read(&format!("k{acked}")).await;
        assert_eq!(missing.status, 404, "what was refused was not applied");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let begun = Instant::now();
    socket.refuses(write("again", &value), 503, "unavailable").await;
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    acked
}

async fn accepted_again(system: &System, acked: usize) {
    system.ready().await;
    assert!(system.socket().await.set("room", &"x".repeat(20_000)).await.contains("room created"));
    let entries = system.database.entries().await;
    assert_eq!(entries, acked as u64 + 1, "what was acknowledged, and nothing that was refused");
}

async fn a_file_that_another_process_keeps_locked_is_unavailable(engine: EngineKind) {
    let system = System::start_with_settings(engine, &[("OP_TIMEOUT_MS", "4000")]).await;
    let mut socket = system.socket().await;
    socket.set("k", "v").await;
    let lock = system.database.locked().await;
    let mut idle = Socket::open(system.ws()).await;
    eventually("it is not ready", PATIENCE, async || match system.writer.readiness().await {
        Ok(()) => Err("it is ready".to_owned()),
        Err(_) => Ok(()),
    })
    .await;
    socket.refuses(write("k", "refused"), 503, "unavailable").await;
    assert_eq!(system.read("k").await.json()["value"], "v", "gets go on");
    drop(lock);
    system.ready().await;
    assert!(idle.set("k", "w").await.contains("k updated"));
}

/// A small file system. Only root may mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Result<Self, String> {
        std::fs::create_dir_all(&at).expect("a folder can be made");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"]).arg(&at).output();
        let mount = mount.map_err(|error| error.to_string())?;
        if mount.status.success() { Ok(Self(at)) } else { Err(String::from_utf8_lossy(&mount.stderr).into()) }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The service may still have files open there.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}
