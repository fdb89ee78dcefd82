//! Connections never take the descriptors that the rest of a process needs.

use std::path::Path;
use std::time::Duration;

use e2e::{
    Build, Database, EngineKind, HttpConnection, PATIENCE, Role, ServiceProcess, Socket, eventually, get,
    promises, within,
};
use futures_util::future::join_all;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

promises! {
    sqlite:
        the_soft_limit_of_open_files_is_raised,
        connections_that_do_not_fit_are_refused_and_everything_else_works,
        without_room_for_one_connection_the_service_does_not_start,
        a_full_table_of_descriptors_is_one_line_and_passes;
}

/// The binaries, each started under a limit of open files. `limit` is the arguments of `ulimit`.
fn build(limit: &str) -> Build {
    let script = format!(r#"ulimit {limit} && exec "$0" "$@""#);
    Build::own().run_by(vec!["sh".into(), "-c".into(), script])
}

/// Lines of the log that contain `text`.
fn count(process: &ServiceProcess, text: &str) -> usize {
    process.log().lines().filter(|line| line.contains(text)).count()
}

async fn the_soft_limit_of_open_files_is_raised(engine: EngineKind) {
    let database = Database::fresh(engine).await;
    let process = ServiceProcess::of(&build("-Sn 256"), "keywire", &database.env(Role::Writer));
    process.ready().await;
    let mut sockets = join_all((0..500).map(|_| Socket::open(process.public))).await;
    sockets.last_mut().expect("there are 500").set("k", "v").await;
    assert_eq!(get(process.admin, "/livez").await.status, 200);
    assert_eq!(count(&process, "CONNECTIONS_MAX"), 0, "{}", process.log());
}

async fn connections_that_do_not_fit_are_refused_and_everything_else_works(engine: EngineKind) {
    const OPEN_FILES: usize = 400;
    let database = Database::fresh(engine).await;
    let process =
        ServiceProcess::of(&build(&format!("-n {OPEN_FILES}")), "keywire", &database.env(Role::Writer));
    process.ready().await;
    assert_eq!(count(&process, "CONNECTIONS_MAX is lowered"), 1, "{}", process.log());
    let (mut open, mut refused) = (Vec::new(), 0);
    for _ in 0..2 * OPEN_FILES {
        match within("an answer", PATIENCE, Socket::try_open_at(process.public, "/ws/storage/")).await {
            Ok(socket) => open.push(socket),
            // Answered 503, or closed where too many wait for that answer.
            Err(_) => refused += 1,
        }
    }
    assert!((100..OPEN_FILES).contains(&open.len()) && refused > OPEN_FILES, "{} and {refused}", open.len());
    open[0].set("k", "v").await;
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(get(process.admin, path).await.status, 200, "{path}");
    }
    assert_eq!(count(&process, "refusing connections"), 1, "one line a minute: {}", process.log());
    assert_eq!(count(&process, "cannot accept"), 0, "{}", process.log());
    // With the public port full, the admin port still has all its own.
    let held = join_all((0..64).map(|_| HttpConnection::open(process.admin))).await;
    drop(held);
    let first = open.swap_remove(0);
    drop(first);
    eventually("the place is free", PATIENCE, async || {
        let socket = Socket::try_open_at(process.public, "/ws/storage/").await;
        socket.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

async fn without_room_for_one_connection_the_service_does_not_start(engine: EngineKind) {
    let database = Database::fresh(engine).await;
    let mut env = database.env(Role::Writer);
    for port in ["LISTEN_ADDR", "ADMIN_ADDR"] {
        env.push((port.into(), "127.0.0.1:0".into()));
    }
    let ended = build("-n 100").run_to_end("keywire", &[], &env);
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!((ended.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("ulimit -n") && said.contains("100"), "{said}");
}

async fn a_full_table_of_descriptors_is_one_line_and_passes(engine: EngineKind) {
    let database = Database::fresh(engine).await;
    let process = ServiceProcess::of(&Build::own(), "keywire", &database.env(Role::Writer));
    process.ready().await;
    let mut socket = Socket::open(process.public).await;
    socket.set("k", "v").await;
    let pid = Pid::from_raw(process.id().cast_signed()).expect("a process has an id");
    let mut before = None;
    // The system takes the connections; the process cannot.
    let mut waiting = loop {
        let old = prlimit(Some(pid), Resource::Nofile, limit_for(process.id())).expect("it is our child");
        before.get_or_insert(old);
        let mut waiting = HttpConnection::open(process.public).await;
        waiting.send("GET", "/storage/k").await;
        let refused = async {
            eventually("it says so", PATIENCE, async || match count(&process, "cannot accept connections") {
                0 => Err("no line".into()),
                _ => Ok(()),
            })
            .await;
            // Twenty more attempts to accept.
            tokio::time::sleep(Duration::from_secs(2)).await;
        };
        tokio::select! {
            () = refused => break waiting,
            // The process has closed another file meanwhile, and so had room for this connection.
            response = waiting.response() => assert_eq!(response.status, 200),
        }
    };
    assert_eq!(count(&process, "cannot accept connections"), 1, "{}", process.log());
    socket.set("k", "w").await;
    let before = before.expect("the limit was set");
    prlimit(Some(pid), Resource::Nofile, before).expect("it is our child");
    assert_eq!(waiting.response().await.json()["value"], "w");
}

/// A limit at which the process cannot open one more file: each new file gets the lowest number that is free.
fn limit_for(process: u32) -> Rlimit {
    let open = |number: u64| Path::new(&format!("/proc/{process}/fd/{number}")).exists();
    let lowest_free = (0..1 << 16).find(|&number| !open(number)).expect("few files are open");
    // It has raised its own limit to what this process may have too.
    Rlimit { current: Some(lowest_free), maximum: getrlimit(Resource::Nofile).maximum }
}
