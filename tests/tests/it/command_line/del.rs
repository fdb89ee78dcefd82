//! `keywire del --prefix` deletes what it lists, and nothing that is written meanwhile. `keywire count` counts.

use std::net::SocketAddr;
use std::time::Duration;

use e2e::{BinaryRun, EngineKind, PATIENCE, System, Tokens, eventually, free_port, promises, signal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::import::{import, lines};
use super::{env, heard, keywire, printed, said};

promises! {
    every:
        keys_are_counted,
        keys_with_a_prefix_are_deleted_and_no_other;
    sqlite:
        everything_is_deleted_only_with_all,
        a_key_that_is_written_after_it_was_listed_is_kept,
        a_deletion_goes_on_when_the_service_is_back,
        a_deletion_goes_on_after_a_page_that_could_not_be_read,
        a_deletion_can_be_interrupted,
        keys_that_may_not_be_written_are_named_and_counted;
}

/// A system with this many keys `key/N`, and the keys `a` and `z`.
async fn filled(engine: EngineKind, settings: &[(&str, &str)], count: u32) -> System {
    let system = System::start_with_settings(engine, settings).await;
    assert!(import(&system, &lines(0..count, "v")).status.success());
    let mut socket = system.socket().await;
    socket.set("a", "first").await;
    socket.set("z", "last").await;
    system
}

fn count(system: &System, prefix: &str) -> u64 {
    printed(keywire(system, &["count", prefix])).trim_end().parse().expect("a number")
}

async fn keys_are_counted(engine: EngineKind) {
    let system = filled(engine, &[], 2500).await;
    system.database.put((0..20).map(|n| format!("key/dead{n:02}")), "", "0").await;
    assert_eq!(printed(keywire(&system, &["count"])), "2502\n");
    assert_eq!([count(&system, "key/"), count(&system, "key/24"), count(&system, "none")], [2500, 111, 0]);
    assert_eq!(printed(keywire(&system, &["count", "--prefix", "key/24"])), "111\n");
    assert_eq!(printed(keywire(&system, &["ls", "--prefix", "key/249"])).lines().count(), 11);
}

async fn keys_with_a_prefix_are_deleted_and_no_other(engine: EngineKind) {
    let system = filled(engine, &[], 2500).await;
    let dry = keywire(&system, &["del", "--prefix", "key/", "--dry-run"]);
    assert_eq!(
        (dry.status.code(), heard(&dry).as_str()),
        (Some(0), "keywire: 2,500 keys would be deleted\n")
    );
    assert_eq!(count(&system, ""), 2502, "nothing was deleted");
    let some = keywire(&system, &["del", "--prefix", "key/24"]);
    assert!(some.status.success() && heard(&some).starts_with("keywire: 111 keys deleted in "), "{some:?}");
    let all = keywire(&system, &["rm", "--prefix", "key/"]);
    assert!(all.status.success() && heard(&all).starts_with("keywire: 2,389 keys deleted in "), "{all:?}");
    assert_eq!((heard(&all).lines().count(), all.stdout.len()), (1, 0), "{all:?}");
    assert_eq!(printed(keywire(&system, &["ls"])), "a\nz\n");
    let none = keywire(&system, &["del", "--prefix", "key/"]);
    assert!(none.status.success() && heard(&none).starts_with("keywire: 0 keys deleted in "), "{none:?}");
}

async fn everything_is_deleted_only_with_all(engine: EngineKind) {
    let system = filled(engine, &[], 3).await;
    let refused = said(&keywire(&system, &["del", "--prefix", ""]), 64);
    assert!(refused.contains("would delete every key") && refused.contains("--all"), "{refused}");
    for wrong in [
        &["del"][..],
        &["del", "--dry-run"],
        &["del", "k", "--dry-run"],
        &["del", "k", "--prefix", "key/"],
        &["del", "k", "--all"],
        &["del", "--prefix", "key/", "--all"],
        &["del", "--prefix", "key/", "--if-rev", "1"],
    ] {
        said(&keywire(&system, wrong), 64);
    }
    assert_eq!(count(&system, ""), 5, "nothing was deleted");
    let dry = keywire(&system, &["del", "--prefix", "", "--dry-run"]);
    assert_eq!(heard(&dry), "keywire: 5 keys would be deleted\n");
    for (all, expected) in [(&["del", "--all"][..], "5 keys"), (&["del", "--prefix", "", "--all"], "0 keys")]
    {
        let deleted = keywire(&system, all);
        assert!(heard(&deleted).starts_with(&format!("keywire: {expected} deleted in ")), "{deleted:?}");
    }
    assert_eq!(count(&system, ""), 0);
}

/// A proxy in front of the write side. It holds what a client sends after its handshake until it is opened.
struct Gate {
    addr: SocketAddr,
    holds: watch::Receiver<bool>,
    open: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Gate {
    async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("it has an address");
        let (open, opened) = watch::channel(false);
        let (holding, holds) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("clients can be accepted");
                // The server may be away. Then the client is left without an answer, too.
                if let Ok(server) = TcpStream::connect(server).await {
                    connections.spawn(pass(client, server, opened.clone(), holding.clone()));
                }
            }
        });
        Self { addr, holds, open, _tasks: tasks }
    }

    /// Waits until it holds something.
    async fn holds(&mut self) {
        let held = tokio::time::timeout(PATIENCE, self.holds.wait_for(|holds| *holds)).await;
        drop(held.expect("something comes").expect("the gate is there"));
    }

    fn open(&self) {
        self.open.send_replace(true);
    }

    /// The environment with which the client writes through the gate.
    fn env(&self, system: &System) -> Vec<(String, String)> {
        let mut env = env(system);
        env.push(("KEYWIRE_WRITE_URL".into(), format!("http://{}", self.addr)));
        env
    }
}

async fn pass(
    client: TcpStream,
    server: TcpStream,
    mut opened: watch::Receiver<bool>,
    holding: watch::Sender<bool>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = async {
        let mut byte = [0];
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && from_client.read_exact(&mut byte).await.is_ok() {
            head.extend(byte);
            if to_server.write_all(&byte).await.is_err() {
                return;
            }
        }
        if from_client.peek(&mut byte).await.is_ok() {
            holding.send_replace(true);
        }
        if opened.wait_for(|open| *open).await.is_ok() {
            // A connection that breaks has ended.
            drop(copy(&mut from_client, &mut to_server).await);
        }
    };
    // Either side may end the connection.
    tokio::select! {
        () = asking => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}

async fn a_key_that_is_written_after_it_was_listed_is_kept(engine: EngineKind) {
    let system = filled(engine, &[], 10).await;
    let mut gate = Gate::start(system.ws()).await;
    let del = BinaryRun::start("keywire", &["del", "--prefix", "key/"], &gate.env(&system));
    gate.holds().await;
    system.socket().await.set("key/7", "newer").await;
    printed(keywire(&system, &["del", "key/8"]));
    gate.open();
    let deleted = del.end();
    assert!(deleted.status.success(), "{deleted:?}");
    let expected = "keywire: 8 keys deleted, 1 changed meanwhile and kept, 1 gone already in ";
    assert!(heard(&deleted).starts_with(expected), "{deleted:?}");
    assert_eq!(system.read("key/7").await.json()["value"], "newer");
    assert_eq!(printed(keywire(&system, &["ls"])), "a\nkey/7\nz\n");
}

async fn a_deletion_goes_on_when_the_service_is_back(engine: EngineKind) {
    let mut system = filled(engine, &[("LISTEN_ADDR", &free_port().to_string())], 3000).await;
    let mut gate = Gate::start(system.ws()).await;
    let del = BinaryRun::start("keywire", &["del", "--prefix", "key/"], &gate.env(&system));
    gate.holds().await;
    system.writer.kill();
    gate.open();
    system.restart_writer().await;
    // Before it writes again it waits until the writes of the broken socket are finished.
    eventually("it goes on", Duration::from_secs(30), async || match system.read("key/999").await.status {
        404 => Ok(()),
        status => Err(status.to_string()),
    })
    .await;
    let deleted = del.end();
    assert!(deleted.status.success(), "{deleted:?}");
    assert!(heard(&deleted).contains("; going on with key 1\n"), "{deleted:?}");
    assert!(heard(&deleted).contains("keywire: 3,000 keys deleted in "), "{deleted:?}");
    assert_eq!(printed(keywire(&system, &["ls"])), "a\nz\n");
}

/// A proxy in front of the read side whose second connection breaks. Each page of a list has a connection of its own.
async fn breaking_once(server: SocketAddr) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let addr = listener.local_addr().expect("it has an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        for number in 1.. {
            let (mut client, _) = listener.accept().await.expect("clients can be accepted");
            if number != 2 {
                let mut server = TcpStream::connect(server).await.expect("the server listens");
                connections.spawn(async move {
                    // A connection that breaks has ended.
                    drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
                });
            }
        }
    });
    (addr, tasks)
}

async fn a_deletion_goes_on_after_a_page_that_could_not_be_read(engine: EngineKind) {
    let system = filled(engine, &[], 2500).await;
    let (addr, _tasks) = breaking_once(system.http()).await;
    let args = ["del", "--prefix", "key/", "--url", &format!("http://{addr}")];
    let deleted = BinaryRun::start("keywire", &args, &env(&system)).end();
    assert!(deleted.status.success(), "{deleted:?}");
    assert!(heard(&deleted).starts_with("keywire: 2,500 keys deleted in "), "{deleted:?}");
    assert_eq!(count(&system, ""), 2);
}

async fn a_deletion_can_be_interrupted(engine: EngineKind) {
    let system = filled(engine, &[], 10).await;
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let mut gate = Gate::start(system.ws()).await;
        let del = BinaryRun::start("keywire", &["del", "--prefix", "key/"], &gate.env(&system));
        gate.holds().await;
        signal(name, del.id());
        let interrupted = said(&del.end(), code);
        assert!(interrupted.starts_with("keywire: interrupted; "), "{interrupted}");
        assert_eq!(count(&system, "key/"), 10);
    }
}

async fn keys_that_may_not_be_written_are_named_and_counted(engine: EngineKind) {
    let tokens = Tokens::new();
    let admin = tokens.make("admin", &["--read", "", "--write", ""]);
    let reader = tokens.make("reader", &["--read", "", "--write", "other/"]);
    let system = System::start_with_settings(engine, &[("TOKENS_FILE", &tokens.file())]).await;
    let with = |token: &str, args: &[&str], input: &str| {
        let file = system.database.folder().join("token");
        std::fs::write(&file, token).expect("a file can be written");
        let mut env = env(&system);
        env.push(("KEYWIRE_TOKEN_FILE".into(), file.display().to_string()));
        let mut run = BinaryRun::start("keywire", args, &env);
        run.feed(input.as_bytes());
        run.end()
    };
    assert!(with(&admin, &["import"], &lines(0..30, "v")).status.success());
    let refused = with(&reader, &["del", "--prefix", "key/"], "");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = heard(&refused);
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said[0], r#"keywire: key 1: the key "key/0": this token may not write here"#);
    assert!(said.len() == 21 && said[20].starts_with("keywire: 0 keys deleted, 30 refused in "), "{said:?}");
    assert_eq!(printed(with(&admin, &["count"], "")), "30\n");
}
