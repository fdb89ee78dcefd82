//! The file of a store: nothing else is changed, nothing is acknowledged into a file that is gone, and only its owner may read it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::{
    Database, EngineKind, Load, PATIENCE, ServiceProcess, Socket, System, eventually, get, promises,
    run_to_end, within,
};
use tempfile::TempDir;

promises! {
    sqlite:
        nothing_is_acknowledged_into_a_file_that_was_removed,
        an_idle_service_notices_within_a_second_that_its_file_is_gone,
        a_folder_renamed_under_load_holds_all_that_was_acknowledged,
        a_file_that_takes_the_place_of_the_store_is_opened,
        a_removed_log_costs_nothing_that_was_acknowledged,
        nothing_is_acknowledged_into_a_log_that_was_emptied,
        a_checkpoint_that_truncates_the_wal_raises_no_alarm,
        only_the_owner_may_read_a_new_store;
}

/// A short timeout, so that refusals come soon.
const SETTINGS: [(&str, &str); 1] = [("OP_TIMEOUT_MS", "1500")];

/// Waits until the process is not ready, and returns why.
async fn unready(process: &ServiceProcess, limit: Duration) -> String {
    eventually("it is not ready", limit, async || match process.readiness().await {
        Ok(()) => Err("it is ready".to_owned()),
        Err(why) => Ok(why),
    })
    .await
}

async fn nothing_is_acknowledged_into_a_file_that_was_removed(engine: EngineKind) {
    let system = System::start_with_settings(engine, &SETTINGS).await;
    let mut socket = system.socket().await;
    socket.set("a", "1").await;
    fs::remove_file(system.database.file()).expect("it is there");
    socket.refuses(r#"{"key":"b","value":"2"}"#, 503, "unavailable").await;
    let why = unready(&system.writer, Duration::from_secs(1)).await;
    assert!(why.contains("keywire.db: the file was removed or renamed"), "{why}");
    for target in ["/storage/a", "/storage", "/export"] {
        get(system.http(), target).await.refused(503, "unavailable");
    }
    socket.refuses(r#"{"key":"c","value":"3"}"#, 503, "unavailable").await;
    assert!(!system.database.file().exists(), "a running process makes no new store");
}

async fn an_idle_service_notices_within_a_second_that_its_file_is_gone(engine: EngineKind) {
    let system = System::start(engine).await;
    let file = system.database.file();
    let away = file.with_extension("away");
    for round in 0..3 {
        fs::rename(&file, &away).expect("it is there");
        unready(&system.writer, Duration::from_secs(1)).await;
        fs::rename(&away, &file).expect("nothing is in its place");
        system.ready().await;
        let key = round.to_string();
        assert!(system.socket().await.set(&key, "v").await.contains("created"), "the same file goes on");
    }
}

async fn a_folder_renamed_under_load_holds_all_that_was_acknowledged(engine: EngineKind) {
    let system = System::start_with_settings(engine, &SETTINGS).await;
    let folder = system.database.file().parent().expect("a file has a folder").to_owned();
    let away = folder.with_extension("away");
    let load = Load::start(system.ws(), "load", 3, 32);
    for _ in 0..3 {
        load.acked(500, PATIENCE).await;
        fs::rename(&folder, &away).expect("it is there");
        load.failed(50, PATIENCE).await;
        fs::rename(&away, &folder).expect("nothing is in its place");
        load.acked(500, PATIENCE * 2).await;
    }
    let tally = load.stop().await;
    assert!(!tally.refused.is_empty(), "writes that no COMMIT carried are refused");
    tally.check(system.http()).await;
    let (acked, unknown) = (tally.acked.len() as u64, tally.unknown.len() as u64);
    let entries = system.database.entries().await;
    assert!(
        (acked..=acked + unknown).contains(&entries),
        "{acked} acked, {unknown} unknown, {entries} there"
    );
}

async fn a_file_that_takes_the_place_of_the_store_is_opened(engine: EngineKind) {
    let mut other = System::start(engine).await;
    other.socket().await.set("other", "here").await;
    other.writer.stop().await;
    let mut system = System::start(engine).await;
    let large = "x".repeat(10_000);
    for key in ["old", "other"] {
        system.socket().await.set(key, &large).await;
    }
    let file = system.database.file();
    let before = file.with_extension("before");
    fs::hard_link(&file, &before).expect("links can be made");
    fs::rename(other.database.file(), &file).expect("both are on one disk");
    // A get that begins now is not answered from the old file.
    let found = within("a get", PATIENCE, system.read("other")).await;
    assert_eq!(found.json()["value"], "here", "{found:?}");
    assert_eq!(system.read("old").await.status, 404);
    system.ready().await;
    assert!(system.socket().await.set("new", "1").await.contains("new created"));
    assert_eq!(get(system.http(), "/storage").await.json()["items"].as_array().map(Vec::len), Some(2));
    let is_sound = system.database.number("select integrity_check = 'ok' from pragma_integrity_check").await;
    assert_eq!(is_sound, 1, "the log of the old file is not taken for its own");
    system.writer.stop().await;
    // What the old file lacked was written from the log into it.
    fs::rename(&before, &file).expect("it is there");
    system.restart_writer().await;
    assert_eq!(system.read("old").await.json()["value"], large);
}

async fn a_removed_log_costs_nothing_that_was_acknowledged(engine: EngineKind) {
    let mut system = System::start_with_settings(engine, &SETTINGS).await;
    let log = companion(&system.database.file(), "-wal");
    let mut acked = Vec::new();
    for round in 0..3 {
        let mut socket = system.socket().await;
        for number in 0..20 {
            let key = format!("{round}.{number}");
            if number == 10 {
                fs::remove_file(&log).expect("it is there");
            }
            if socket.set(&key, "v").await.contains("200") {
                acked.push(key);
            }
        }
        eventually("it writes again", PATIENCE, async || {
            let reply = socket.set("again", "v").await;
            if reply.contains("200") { Ok(()) } else { Err(reply) }
        })
        .await;
        system.writer.kill();
        system.restart_writer().await;
        for key in &acked {
            assert_eq!(system.read(key).await.status, 200, "{key} of {}", acked.len());
        }
    }
}

async fn nothing_is_acknowledged_into_a_log_that_was_emptied(engine: EngineKind) {
    let mut system = System::start_with_settings(engine, &SETTINGS).await;
    let log = companion(&system.database.file(), "-wal");
    // The last one cuts it to a part, which cannot be used either.
    for (round, left) in [0, 0, 5_000].into_iter().enumerate() {
        let mut socket = system.socket().await;
        for number in 0..20 {
            socket.set(&format!("{round}.{number}"), "v").await;
        }
        let log = File::options().write(true).open(&log).expect("it is there");
        log.set_len(left).expect("it can be cut");
        let mut acked = Vec::new();
        eventually("it writes again", PATIENCE, async || {
            let key = format!("{round}.after.{}", acked.len());
            let reply = system.socket().await.set(&key, "v").await;
            if reply.contains("200") {
                acked.push(key);
            }
            if acked.len() == 20 { Ok(()) } else { Err(reply) }
        })
        .await;
        let said = system.writer.log();
        system.writer.kill();
        system.restart_writer().await;
        for key in &acked {
            assert_eq!(system.read(key).await.status, 200, "{key} after a crash");
        }
        assert!(said.contains("acknowledged writes that were only in it are lost"), "{said}");
        let is_sound = "select integrity_check = 'ok' from pragma_integrity_check";
        assert_eq!(system.database.number(is_sound).await, 1, "the database is whole");
    }
}

async fn a_checkpoint_that_truncates_the_wal_raises_no_alarm(engine: EngineKind) {
    let system = System::start(engine).await;
    let load = Load::start(system.ws(), "load", 2, 16);
    for _ in 0..50 {
        load.acked(20, PATIENCE).await;
        system.database.execute("pragma wal_checkpoint(truncate)").await;
    }
    let tally = load.stop().await;
    assert_eq!((tally.refused.len(), tally.unknown.len()), (0, 0), "{}", system.writer.log());
    tally.check(system.http()).await;
}

async fn only_the_owner_may_read_a_new_store(engine: EngineKind) {
    let mut system = System::start(engine).await;
    system.socket().await.set("k", "v").await;
    let file = system.database.file();
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(file.parent().expect("a file has a folder")), 0o700);
    for suffix in ["", "-wal", "-shm", "-lock"] {
        assert_eq!(mode(&companion(&file, suffix)), 0o600, "{suffix}");
    }
    system.writer.stop().await;
    fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("it is ours");
    system.restart_writer().await;
    for suffix in ["", "-wal", "-shm"] {
        assert_eq!(mode(&companion(&file, suffix)), 0o640, "an existing file keeps its mode: {suffix}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_beside_the_store_stay_as_they_are_whatever_its_name() {
    let folder = Folder::new();
    for (name, neighbour) in [("Cargo.db", "Cargo.lock"), ("store.lock", "store.db"), ("db", "db-lock")] {
        fs::write(folder.path(neighbour), "mine\n").expect("a file can be written");
        for (round, said) in ["created", "updated", "updated"].into_iter().enumerate() {
            let mut process = ServiceProcess::start("keywire", &folder.env(name));
            let reply = Socket::open(process.public).await.set("k", &round.to_string()).await;
            assert!(reply.contains(said), "{name}, start {round}: {reply}");
            process.stop().await;
        }
        assert_eq!(fs::read_to_string(folder.path(neighbour)).expect("it is there"), "mine\n", "{neighbour}");
    }
    symlink(folder.path("Cargo.lock"), folder.path("linked-lock")).expect("links can be made");
    folder.refuses("linked");
    assert_eq!(fs::read_to_string(folder.path("Cargo.lock")).expect("it is there"), "mine\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_store_is_refused_in_one_line_and_not_changed() {
    let folder = Folder::new();
    fs::write(folder.path("notes"), "some notes\n".repeat(1000)).expect("a file can be written");
    fs::create_dir(folder.path("folder")).expect("a folder can be made");
    symlink(folder.path("nowhere"), folder.path("dangling")).expect("links can be made");
    symlink(folder.path("notes"), folder.path("linked-wal")).expect("links can be made");
    for name in ["taken-wal", "taken2-journal", "taken3-shm"] {
        fs::copy(folder.path("notes"), folder.path(name)).expect("a file can be copied");
    }
    let foreign = Database::planned(EngineKind::Sqlite, None);
    foreign.migrate();
    foreign.execute("drop table writers; pragma journal_mode = delete").await;
    fs::copy(foreign.file(), folder.path("foreign")).expect("a file can be copied");
    for name in ["notes", "folder", "dangling", "linked", "taken", "taken2", "taken3", "foreign"] {
        let before = folder.contents();
        let said = folder.refuses(name);
        assert!(said.contains(name), "{name} is named: {said}");
        assert_eq!(folder.contents(), before, "{name}");
    }
}

/// The path of a file that belongs to the store `file`.
fn companion(file: &Path, suffix: &str) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// A folder with the stores of one test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder can be made"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn env(&self, name: &str) -> Vec<(String, String)> {
        vec![("DATABASE_URL".into(), format!("sqlite://{}", self.path(name).display()))]
    }

    /// Starts on the store `name`, which must fail with one line. Returns the line.
    fn refuses(&self, name: &str) -> String {
        let mut env = self.env(name);
        env.extend(["LISTEN_ADDR", "ADMIN_ADDR"].map(|name| (name.to_owned(), "127.0.0.1:0".to_owned())));
        let output = run_to_end("keywire", &[], &env);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{name}: {output:?}");
        said
    }

    /// The names and the contents of all files, without the files of locks, which are empty.
    fn contents(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(self.0.path()).expect("a folder can be read");
        let paths = entries.map(|entry| entry.expect("a folder can be read").path());
        let mut all: Vec<_> = paths
            .filter(|path| !path.to_string_lossy().ends_with("-lock"))
            .map(|path| (fs::read(&path).unwrap_or_default(), path))
            .map(|(content, path)| (path, content))
            .collect();
        all.sort();
        all
    }
}
