//! `keywire watch`: a line for each change, through outages, for people and for programs.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use e2e::{EngineKind, PATIENCE, Role, ServiceProcess, System, Tokens, binary, promises, signal, within};
use serde_json::{Value, json};

use super::{env, keywire, printed, said};

promises! {
    every:
        what_is_there_and_what_changes_is_printed_line_by_line;
    sqlite:
        an_outage_is_told_once_and_nothing_is_missed,
        a_program_reads_every_event_and_goes_on_from_a_cursor,
        a_reader_that_has_gone_ends_the_command_without_an_event,
        a_reader_that_reads_nothing_does_not_keep_the_command_from_its_end,
        a_watch_that_is_refused_says_why;
}

/// A running `keywire watch`.
struct Watching {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Watching {
    fn start(system: &System, args: &[&str]) -> Self {
        let mut child = command(system, args).spawn().expect("it can be started");
        let stdout = lines(child.stdout.take().expect("it is a pipe"));
        let stderr = lines(child.stderr.take().expect("it is a pipe"));
        Self { child, stdout, stderr }
    }

    /// The next line of stdout.
    fn prints(&self) -> String {
        self.stdout.recv_timeout(PATIENCE).expect("a line of stdout")
    }

    /// The next line of stderr.
    fn says(&self) -> String {
        self.stderr.recv_timeout(PATIENCE).expect("a line of stderr")
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // Both fail if it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn command(system: &System, args: &[&str]) -> Command {
    let mut command = Command::new(binary("keywire"));
    command.arg("watch").args(args).envs(env(system)).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The lines of `stream`, as they come.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let line = line.expect("it prints text");
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Waits until `child` has ended.
async fn ended(child: &mut Child) -> ExitStatus {
    let ended = async {
        loop {
            if let Some(status) = child.try_wait().expect("it is our child") {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("the end of the command", PATIENCE, ended).await
}

/// A line without its rev.
fn without_rev(line: &str) -> String {
    let (before, rev) = line.split_once("rev ").unwrap_or_else(|| panic!("no rev: {line}"));
    before.to_owned() + rev.trim_start_matches(|char: char| char.is_ascii_digit())
}

async fn what_is_there_and_what_changes_is_printed_line_by_line(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    socket.set("k/b", "two\nlines").await;
    socket.set("other", "1").await;
    let mut watch = Watching::start(&system, &["--prefix", "k/"]);
    assert_eq!(without_rev(&watch.prints()), r#"put k/b = "two\nlines"  ()"#);
    assert_eq!(watch.prints(), "ready");
    socket.set("k/a\u{1b}", "1").await;
    socket.set("other", "2").await;
    socket.ask(json!({ "op": "delete", "key": "k/b" }).to_string()).await;
    socket.ask(json!({ "key": "k/c", "value": "", "ttl": 1 }).to_string()).await;
    let printed: Vec<_> = (0..4).map(|_| without_rev(&watch.prints())).collect();
    assert_eq!(
        printed,
        [
            r#"put "k/a\u001b" = 1  ()"#,
            "delete k/b  ()",
            "put k/c =   (, expires in 1 s)",
            "delete k/c  (, expired)"
        ]
    );
    signal("INT", watch.child.id());
    assert_eq!(ended(&mut watch.child).await.code(), Some(0), "Ctrl-C is the way to end it");
    assert_eq!(watch.stderr.recv().ok(), None, "there is nothing to say");

    let once = printed_once(&system, &["--once", "--no-values", "k/b", "other", "k/a\u{1b}"]);
    let once: Vec<_> = once.lines().collect();
    assert_eq!(once.len(), 3, "{once:?}");
    assert_eq!(without_rev(once[0]), r#"put "k/a\u001b"  ()"#);
    assert_eq!((without_rev(once[1]).as_str(), once[2]), ("put other  ()", "ready"));
}

/// The output of a watch that ends by itself.
fn printed_once(system: &System, args: &[&str]) -> String {
    printed(keywire(system, &[&["watch"], args].concat()))
}

async fn an_outage_is_told_once_and_nothing_is_missed(engine: EngineKind) {
    let mut system = System::start(engine).await;
    system.socket().await.set("a", "1").await;
    let mut watch = Watching::start(&system, &["--no-snapshot"]);
    assert_eq!(watch.prints(), "ready");
    system.socket().await.set("b", "2").await;
    assert_eq!(without_rev(&watch.prints()), "put b = 2  ()");
    system.writer.kill();
    let mut env = system.database.env(Role::Writer);
    env.push(("LISTEN_ADDR".into(), system.http().to_string()));
    system.writer = ServiceProcess::start("keywire", &env);
    system.ready().await;
    system.socket().await.set("c", "3").await;
    let mut told = vec![watch.prints()];
    while told.last().is_some_and(|line| line != "ready") {
        told.push(watch.prints());
    }
    if !told.iter().any(|line| line.starts_with("put c = 3")) {
        told.push(watch.prints());
    }
    assert!(told.iter().all(|line| !line.starts_with("reset") && !line.starts_with("put a")), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("put c = 3")), "{told:?}");
    let lost = watch.says();
    assert!(lost.starts_with("keywire: ") && lost.ends_with("; connecting again"), "{lost}");
    assert_eq!(watch.says(), "keywire: the stream is live again");
    signal("TERM", watch.child.id());
    assert_eq!(ended(&mut watch.child).await.code(), Some(0));
    assert_eq!(watch.stderr.recv().ok(), None, "nothing is said twice");
}

async fn a_program_reads_every_event_and_goes_on_from_a_cursor(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    socket.set("k", "é\n").await;
    let events = |args: &[&str]| -> Vec<Value> {
        let printed = printed_once(&system, &[&["--once", "--json"], args].concat());
        printed.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    };
    let first = events(&[]);
    let [put, ready] = &first[..] else { panic!("a put and ready: {first:?}") };
    assert_eq!((&put["event"], &put["value"]), (&json!("put"), &json!("é\n")));
    assert_eq!(ready["event"], "ready");
    let cursor = ready["id"].as_str().expect("it has a cursor");
    assert_eq!(events(&["--after", cursor]).len(), 1, "nothing has changed");
    socket.set("k", "2").await;
    let next = events(&["--after", cursor]);
    assert_eq!((&next[0]["event"], &next[0]["value"], next.len()), (&json!("put"), &json!("2"), 2));
    let void = events(&["--after", "no-cursor"]);
    assert_eq!(void[0], json!({ "event": "reset", "code": "bad_cursor" }));
    assert_eq!((&void[1]["event"], &void[2]["event"]), (&json!("put"), &json!("ready")));
}

async fn a_reader_that_has_gone_ends_the_command_without_an_event(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut child = command(&system, &[]).spawn().expect("it can be started");
    let mut first = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("it is a pipe"));
    out.read_line(&mut first).expect("a line");
    assert_eq!(first, "ready\n");
    drop(out);
    // Nothing changes, so nothing is printed that could fail.
    assert_eq!(ended(&mut child).await.code(), Some(1));
    let mut said = String::new();
    child.stderr.take().expect("it is a pipe").read_to_string(&mut said).expect("it can be read");
    assert_eq!(said, "");
}

async fn a_reader_that_reads_nothing_does_not_keep_the_command_from_its_end(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut socket = system.socket().await;
    for number in 0..20 {
        socket.set(&format!("k{number}"), &"x".repeat(10_000)).await;
    }
    // Far more than a pipe holds, and nobody reads it.
    let mut child = command(&system, &[]).spawn().expect("it can be started");
    let mut first = [0];
    child.stdout.as_mut().expect("it is a pipe").read_exact(&mut first).expect("it has begun to print");
    signal("INT", child.id());
    assert_eq!(ended(&mut child).await.code(), Some(0));
}

async fn a_watch_that_is_refused_says_why(engine: EngineKind) {
    let tokens = Tokens::new();
    drop(tokens.make("page", &["--read", "own/"]));
    let with_tokens = System::start_with_settings(engine, &[("TOKENS_FILE", &tokens.file())]).await;
    let refused = said(&keywire(&with_tokens, &["watch"]), 1);
    assert!(refused.starts_with("keywire: a token is needed; name a file"), "{refused}");
    let off = System::start_with_settings(engine, &[("CHANGES_RETENTION_S", "0")]).await;
    let refused = said(&keywire(&off, &["watch"]), 1);
    assert!(refused.contains("changes are not logged"), "{refused}");
    let refused = said(&keywire(&off, &["watch", ""]), 1);
    assert_eq!(refused, "keywire: key must not be empty");
    for (bytes, message) in
        [(200, "keywire: the request target has"), (500, "keywire: status 431: the request is too long")]
    {
        let keys: Vec<String> = (100..200).map(|number| format!("{number}{}", "k".repeat(bytes))).collect();
        let args: Vec<&str> = ["watch"].into_iter().chain(keys.iter().map(String::as_str)).collect();
        let refused = said(&keywire(&off, &args), 1);
        assert!(refused.starts_with(message), "{refused}");
    }
    let nobody = said(&keywire(&off, &["watch", "--url", "http://127.0.0.1:1"]), 69);
    assert!(nobody.starts_with("keywire: no connection to 127.0.0.1:1: "), "{nobody}");
    said(&keywire(&off, &["watch", "--prefix", "a", "b"]), 64);
}
