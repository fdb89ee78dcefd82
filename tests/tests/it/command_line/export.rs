//! `keywire export`: everything, or an error.

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use e2e::{BinaryRun, EngineKind, PATIENCE, System, binary, eventually, promises, run_to_end, signal, write};

use super::import::{import, lines};
use super::{env, heard};

promises! {
    every:
        an_export_imported_elsewhere_exports_the_same_bytes;
    sqlite:
        an_export_goes_on_however_slowly_it_is_read;
}

/// Exports to a file in the folder of the database. Returns its bytes.
fn export(system: &System, prefix: &str) -> Vec<u8> {
    let file = system.database.folder().join("export.ndjson");
    let output =
        run_to_end("keywire", &["export", "--prefix", prefix, &file.display().to_string()], &env(system));
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let bytes = std::fs::read(&file).expect("an export makes its file");
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').count();
    let counted = if lines == 1 { "1 line".into() } else { format!("{lines} lines") };
    assert!(heard(&output).starts_with(&format!("keywire: {counted} exported, ")), "{output:?}");
    assert_eq!(heard(&output).lines().count(), 1, "nothing else is said in a pipe: {output:?}");
    bytes
}

async fn an_export_imported_elsewhere_exports_the_same_bytes(engine: EngineKind) {
    let (from, to) = (System::start(engine).await, System::start(engine).await);
    assert_eq!(export(&from, ""), b"", "an empty store exports nothing");
    let odd = [
        (".", ""),
        ("..", "dots"),
        ("a/b", "\u{0}\u{1f}\"\\"),
        ("line\nend", "line\nend\n"),
        ("\u{1f600}", "\u{fffd}\u{1f600}"),
        ("large", &"\u{1}".repeat(1_048_576)),
    ];
    let odd = odd.map(|(key, value)| write(key, value) + "\n").concat();
    assert!(import(&from, &(odd + &lines(0..800, "v"))).status.success());
    let later = r#"{"op":"set","key":"session","value":"v","ttl":86400}"#;
    assert!(import(&from, later).status.success());

    let first = export(&from, "");
    let text = String::from_utf8(first.clone()).expect("an export is UTF-8");
    assert_eq!(text.lines().count(), 807);
    assert!(text.contains(r#"{"key":"session","value":"v","expires_at":"#), "the expiry goes along");
    let taken = import(&to, &text);
    assert!(heard(&taken).starts_with("keywire: 807 lines written in "), "{taken:?}");
    assert!(export(&to, "") == first, "the same bytes come out");
    let some: String = text.split_inclusive('\n').filter(|line| line.contains("\"key/7")).collect();
    assert_eq!(export(&to, "key/7"), some.as_bytes());
    let printed = run_to_end("keywire", &["export"], &env(&to));
    assert!(printed.status.success() && printed.stdout == first, "stdout has them too");
}

async fn an_export_goes_on_however_slowly_it_is_read(engine: EngineKind) {
    let system = System::start(engine).await;
    let value = "v".repeat(1 << 20);
    for key in 0..16 {
        system.socket().await.set(&key.to_string(), &value).await;
    }
    let mut export = Command::new(binary("keywire"));
    let env = env(&system);
    let export = export.arg("export").envs(env).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut export = export.spawn().expect("the binary can be started");
    let mut out = export.stdout.take().expect("it is piped");
    // Fast at first, so that all buffers on the way grow. Then 20 kB/s, for much longer than the time after which a client that
    // takes nothing is reset.
    let mut all = vec![0; 5 << 20];
    out.read_exact(&mut all).expect("a pipe can be read");
    let (mut some, started) = ([0; 2000], Instant::now());
    let mut due = tokio::time::interval(Duration::from_millis(100));
    while started.elapsed() < Duration::from_secs(25) {
        due.tick().await;
        let read = out.read(&mut some).expect("a pipe can be read");
        all.extend_from_slice(&some[..read]);
    }
    out.read_to_end(&mut all).expect("a pipe can be read");
    let output = export.wait_with_output().expect("it ends");
    assert!(output.status.success(), "after {} bytes: {output:?}", all.len());
    assert_eq!(String::from_utf8_lossy(&all).lines().count(), 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_replaces_a_file_and_keeps_its_mode() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("all.ndjson");
    std::fs::write(&file, "before").expect("a file can be written");
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("it is ours");
    let link = folder.path().join("nowhere");
    std::os::unix::fs::symlink(folder.path().join("gone"), &link).expect("links can be made");
    let export = |to: &Path| {
        let (addr, service) = answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}\n");
        let url = format!("http://{addr}");
        let run = BinaryRun::start("keywire", &["export", "--url", &url, &to.display().to_string()], &[]);
        (run, service)
    };
    let (run, service) = export(&file);
    drop(service.join().expect("the service does not fail"));
    assert!(run.end().status.success());
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "{}\n");
    let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "what only its owner could read is not for others now");

    let (run, _service) = export(&link);
    let refused = run.end();
    assert_eq!(refused.status.code(), Some(74), "{refused:?}");
    assert!(heard(&refused).contains("dangling symbolic link") && link.is_symlink(), "{refused:?}");
}

/// Answers one request with exactly these bytes. Dropping the result closes the connection.
fn answering(answer: &'static str) -> (SocketAddr, JoinHandle<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let addr = listener.local_addr().expect("it has an address");
    let service = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client comes");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).expect("a whole request");
            request.extend(byte);
        }
        client.write_all(answer.as_bytes()).expect("the client reads on");
        client
    });
    (addr, service)
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder can be read");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn an_incomplete_export_is_exit_code_69_and_keeps_the_old_file() {
    let broken = [
        ("2 lines:", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{}\n{}\n\r\n4\r\n{}"),
        ("2 lines:", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{}\n{}\n\r\n"),
        ("1 line:", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}\n"),
        ("1 line:", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}\n{}"),
        ("hides where the export ends", "HTTP/1.1 200 OK\r\n\r\n{}\n{}\n"),
        (
            "too many exports",
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 66\r\n\r\n{\"message\":\"too many exports\",\"status\":503,\"code\":\"overloaded\"}   ",
        ),
    ];
    for (named, answer) in broken {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = folder.path().join("all.ndjson");
        std::fs::write(&file, "before").expect("a file can be written");
        let (addr, service) = answering(answer);
        let url = format!("http://{addr}");
        let run = BinaryRun::start("keywire", &["export", "--url", &url, &file.display().to_string()], &[]);
        drop(service.join().expect("the service does not fail"));
        let output = run.end();
        assert_eq!(output.status.code(), Some(69), "{answer:?}: {output:?}");
        assert!(heard(&output).contains(named) && heard(&output).lines().count() == 1, "{output:?}");
        assert_eq!(files(folder.path()), ["all.ndjson"]);
        assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "before");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_is_interrupted_leaves_nothing() {
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = folder.path().join("all.ndjson");
        let (addr, service) = answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n");
        let url = format!("http://{addr}");
        let run = BinaryRun::start("keywire", &["export", "--url", &url, &file.display().to_string()], &[]);
        let open = service.join().expect("the service does not fail");
        eventually("it is under way", PATIENCE, async || match files(folder.path()).len() {
            1 => Ok(()),
            other => Err(format!("{other} files")),
        })
        .await;
        signal(name, run.id());
        let output = run.end();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!(heard(&output), "keywire: interrupted; nothing was exported\n");
        assert!(files(folder.path()).is_empty());
        drop(open);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_to_a_pipe_can_be_interrupted() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo can be started");
    assert!(made.success());
    let (addr, service) = answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n");
    let url = format!("http://{addr}");
    let start = || BinaryRun::start("keywire", &["export", "--url", &url, &pipe.display().to_string()], &[]);

    let waits = start();
    eventually("it waits for somebody to read", PATIENCE, async || {
        let call = std::fs::read_to_string(format!("/proc/{}/wchan", waits.id()));
        match call.map_err(|error| error.to_string())? {
            call if call == "wait_for_partner" => Ok(()),
            other => Err(other),
        }
    })
    .await;
    signal("TERM", waits.id());
    assert_eq!(waits.end().status.signal(), Some(15));

    let writes = start();
    let mut reader = std::fs::File::open(&pipe).expect("somebody writes");
    let open = service.join().expect("the service does not fail");
    reader.read_exact(&mut [0; 3]).expect("it is under way");
    signal("TERM", writes.id());
    assert_eq!(writes.end().status.signal(), Some(15));
    drop((reader, open));
}
