//! `--url` with a path: every command works behind a proxy that serves Keywire below a path.

use std::net::SocketAddr;

use e2e::{BinaryRun, EngineKind, System, promises, run_to_end};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::import::lines;
use super::{heard, printed, said};

promises! {
    sqlite:
        every_command_works_below_a_path;
}

/// The path below which the proxy serves.
const BASE: &str = "/kv/v1";

/// A proxy that takes the path away from each request. A request outside of it breaks the connection.
async fn sub_path_proxy(server: SocketAddr) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let addr = listener.local_addr().expect("it has an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (client, _) = listener.accept().await.expect("clients can be accepted");
            let server = TcpStream::connect(server).await.expect("the server listens");
            connections.spawn(async move {
                // A connection that breaks has ended.
                drop(forward(client, server).await);
            });
        }
    });
    (addr, tasks)
}

async fn forward(client: TcpStream, server: TcpStream) -> std::io::Result<()> {
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut from_client = BufReader::new(from_client);
    let requests = async {
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if from_client.read_line(&mut head).await? == 0 {
                    return Ok(());
                }
            }
            let below = head.replacen(&format!(" {BASE}/"), " /", 1);
            if below == head {
                return Ok(());
            }
            to_server.write_all(below.as_bytes()).await?;
            // What follows the handshake of a socket is no request.
            if head.to_ascii_lowercase().contains("\r\nupgrade: websocket\r\n") {
                return copy(&mut from_client, &mut to_server).await.map(drop);
            }
        }
    };
    tokio::select! {
        done = requests => done,
        done = copy(&mut from_server, &mut to_client) => done.map(drop),
    }
}

async fn every_command_works_below_a_path(engine: EngineKind) {
    let system = System::start(engine).await;
    let (addr, _tasks) = sub_path_proxy(system.http()).await;
    for base in [BASE.to_owned(), format!("{BASE}/")] {
        let env = [("KEYWIRE_URL".to_owned(), format!("http://{addr}{base}"))];
        let run = |args: &[&str]| run_to_end("keywire", args, &env);
        assert_eq!(printed(run(&["put", "a/b", "1"])), "");
        assert_eq!(printed(run(&["get", "a/b"])), "1");
        let mut import = BinaryRun::start("keywire", &["import"], &env);
        import.feed(lines(0..1500, "v").as_bytes());
        assert!(heard(&import.end()).contains("1,500 lines written"));
        assert_eq!(printed(run(&["count"])), "1501\n");
        assert_eq!(printed(run(&["ls", "a"])), "a/b\n");
        assert_eq!(String::from_utf8_lossy(&run(&["export"]).stdout).lines().count(), 1501);
        let bench = run(&["bench", "--count", "500", "--keys", "50", "--clients", "4", "--json"]);
        assert!(
            bench.status.success() && String::from_utf8_lossy(&bench.stdout).contains("\"missing\":0"),
            "{bench:?}"
        );
        assert_eq!(printed(run(&["del", "a/b"])), "");
        assert!(heard(&run(&["del", "--all"])).contains("1,500 keys deleted"));
    }
    let outside = [("KEYWIRE_URL".to_owned(), format!("http://{addr}/other"))];
    said(&run_to_end("keywire", &["get", "a"], &outside), 69);
    for bad in ["http://h/kv?x=1", "http://h/kv#x", "http://user@h/", "http://:p@h/", "ftp://h/kv"] {
        said(&run_to_end("keywire", &["ls", "--url", bad], &[]), 64);
    }
}
