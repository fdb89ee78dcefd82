//! A watch against a server that does what the test says.

use std::future::ready;
use std::time::Duration;

use clap::Parser as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

#[derive(Debug, clap::Parser)]
struct CommandLine {
    #[command(flatten)]
    args: WatchArgs,
}

/// A running watch.
struct Running {
    listener: TcpListener,
    /// What it has printed. A line of stderr begins with `# `.
    printed: UnboundedReceiver<String>,
    task: JoinHandle<Result<(), Failure>>,
}

/// What `future` brings within 10 s.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), future).await.unwrap_or_else(|_| panic!("{what}: not within 10 s"))
}

impl Running {
    /// Starts `keywire watch` with `args`.
    async fn start(args: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is open"));
        let args = [&["watch", "--url", &url], args].concat();
        let line = CommandLine::try_parse_from(args).expect("valid arguments");
        let (sender, printed) = unbounded_channel();
        let task = tokio::spawn(async move {
            let mut watch = Watch::new(&line.args, line.args.target.read_target());
            watch.run(|output| ready(print(&sender, output))).await
        });
        Self { listener, printed, task }
    }

    /// The next request: its target, and the connection.
    async fn asked(&mut self) -> (String, TcpStream) {
        let (mut stream, _) = soon("a connection", self.listener.accept()).await.expect("it can be accepted");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon("a request", stream.read_u8()).await.expect("a whole request"));
        }
        let head = String::from_utf8(head).expect("text");
        (head.split(' ').nth(1).expect("a target").to_owned(), stream)
    }

    /// Takes the next request and answers with `text`.
    async fn answer(&mut self, text: &str) -> (String, TcpStream) {
        let (target, mut stream) = self.asked().await;
        say(&mut stream, text).await;
        (target, stream)
    }

    /// Checks that exactly these lines are printed next.
    async fn prints(&mut self, lines: &[&str]) {
        for line in lines {
            let printed = soon(line, self.printed.recv()).await;
            assert_eq!(printed.as_deref(), Some(*line));
        }
    }

    /// The result of the command.
    async fn ended(self) -> Result<(), Failure> {
        soon("the end", self.task).await.expect("it does not panic")
    }
}

fn print(sender: &UnboundedSender<String>, output: Output) -> Result<(), Failure> {
    let text = match output {
        Output::Lines(lines) => String::from_utf8(lines).expect("lines are text"),
        Output::Note(note) => format!("# {note}\n"),
    };
    assert!(text.ends_with('\n'), "{text:?}");
    for line in text.lines() {
        sender.send(line.into()).map_err(|_| Failure::StdoutClosed)?;
    }
    Ok(())
}

async fn say(stream: &mut TcpStream, text: &str) {
    soon("sending", stream.write_all(text.as_bytes())).await.expect("it reads");
}

fn put(key: &str, rev: u64) -> String {
    format!("event: put\ndata: {{\"key\":\"{key}\",\"value\":\"x\",\"rev\":{rev}}}\n\n")
}

fn id(name: &str, cursor: &str) -> String {
    format!("event: {name}\nid: {cursor}\ndata: {{}}\n\n")
}

fn problem(status: u16, code: &str) -> String {
    let body = format!(r#"{{"message":"the reason","status":{status},"code":"{code}"}}"#);
    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

const ENDED: &str = "# the server has ended the stream; connecting again";
const LIVE: &str = "# the stream is live again";

#[tokio::test]
async fn a_lost_stream_is_resumed_with_the_last_cursor_and_told_of_once() {
    let mut watch = Running::start(&["--prefix", "user/ä", "--no-values"]).await;
    let begin = HEAD.to_owned() + "retry: 0\n\n" + &put("a", 1) + &id("ready", "c-1") + &put("b", 2);
    let (target, mut stream) = watch.answer(&begin).await;
    assert_eq!(target, "/watch?prefix=user%2F%C3%A4&values=false");
    watch.prints(&["put a = x  (rev 1)", "ready", "put b = x  (rev 2)"]).await;
    say(&mut stream, &(id("progress", "c-2") + "event: delete\ndata: {\"key\":\"a\"}\n\nevent: put\n")).await;
    watch.prints(&["delete a"]).await;
    drop(stream);
    watch.prints(&[ENDED]).await;
    for _ in 0..3 {
        drop(watch.asked().await);
    }
    drop(watch.answer(&problem(503, "unavailable")).await);
    let resumed = HEAD.to_owned() + &put("b", 3) + &id("ready", "c-3");
    let (target, _stream) = watch.answer(&resumed).await;
    assert_eq!(target, "/watch?prefix=user%2F%C3%A4&values=false&after=c%2D2");
    watch.prints(&["put b = x  (rev 3)", "ready", LIVE]).await;
}

#[tokio::test]
async fn a_part_of_a_snapshot_is_void_when_its_stream_is_lost() {
    let mut watch = Running::start(&["--json", "--no-snapshot", "--after", "old", "k", "l"]).await;
    let reset = "event: reset\ndata: {\"code\":\"too_old\"}\n\n";
    let (target, stream) = watch.answer(&(HEAD.to_owned() + "retry: 0\n\n" + reset + &put("k", 1))).await;
    assert_eq!(target, "/watch?key=k&key=l&snapshot=false&after=old");
    let (reset, first) =
        (r#"{"event":"reset","code":"too_old"}"#, r#"{"event":"put","key":"k","value":"x","rev":1}"#);
    watch.prints(&[reset, first]).await;
    drop(stream);
    watch.prints(&[ENDED]).await;
    // The old cursor would lead on from what is void. And all that is there must come, whatever was asked for at first.
    let (target, stream) = watch.answer(&(HEAD.to_owned() + &put("l", 2) + &id("ready", "new"))).await;
    assert_eq!(target, "/watch?key=k&key=l");
    let lines = [
        r#"{"event":"reset","code":"interrupted"}"#,
        r#"{"event":"put","key":"l","value":"x","rev":2}"#,
        r#"{"event":"ready","id":"new"}"#,
        LIVE,
    ];
    watch.prints(&lines).await;
    drop(stream);
    assert_eq!(watch.asked().await.0, "/watch?key=k&key=l&snapshot=false&after=new");
}

#[tokio::test]
async fn a_watch_once_waits_for_the_server_and_ends_when_it_is_ready() {
    let mut watch = Running::start(&["--once"]).await;
    watch.answer(&problem(503, "unavailable")).await;
    watch.prints(&["# the reason; connecting again"]).await;
    let (target, _stream) =
        watch.answer(&(HEAD.to_owned() + &put("a", 1) + &id("ready", "c") + &put("b", 2))).await;
    assert_eq!(target, "/watch");
    watch.prints(&["put a = x  (rev 1)", "ready"]).await;
    assert!(watch.printed.recv().await.is_none(), "nothing after it is printed");
    watch.ended().await.expect("it is done");
}

#[tokio::test]
async fn a_refusal_is_final_also_after_a_stream() {
    let refusals = [(401, "unauthenticated"), (403, "forbidden"), (422, "bad_key"), (501, "watch_off")];
    for (status, code) in refusals {
        let mut watch = Running::start(&["k"]).await;
        if status == 401 {
            drop(watch.answer(&(HEAD.to_owned() + &id("ready", "c"))).await);
            watch.prints(&["ready", ENDED]).await;
        }
        watch.answer(&problem(status, code)).await;
        let end = watch.ended().await;
        assert!(
            matches!(&end, Err(Failure::Refused(why)) if why.starts_with("the reason")),
            "{code}: {end:?}"
        );
    }
}

#[tokio::test]
async fn something_else_than_a_stream_of_keywire_is_a_failure_at_once() {
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\ndata: {}\n\n";
    let endless = HEAD.to_owned() + &"x".repeat(9 << 20);
    let other = HEAD.to_owned() + "event: put\ndata: {}\n\n";
    for answer in ["nothing", page, &other, &endless] {
        let mut watch = Running::start(&[]).await;
        let (_, mut stream) = watch.asked().await;
        // The command does not read all of it.
        let _ = stream.write_all(answer.as_bytes()).await;
        let end = watch.ended().await.expect_err("it is no stream");
        assert!(matches!(end, Failure::Refused(_) | Failure::Unavailable(_)), "{end:?}");
    }
}

#[tokio::test]
async fn a_silent_stream_is_lost_after_30_s() {
    let mut watch = Running::start(&[]).await;
    let (_, mut stream) = watch.answer(&(HEAD.to_owned() + "retry: 0\n\n" + &id("ready", "c"))).await;
    watch.prints(&["ready"]).await;
    // From here on time passes as soon as nothing else happens.
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let comments = async {
        for _ in 0..6 {
            sleep(Duration::from_secs(20)).await;
            say(&mut stream, ":\n\n").await;
        }
    };
    comments.await;
    assert_eq!(watch.printed.recv().await.as_deref(), Some("# no reply within 30 s; connecting again"));
    let silent = begun.elapsed();
    assert!((Duration::from_secs(145)..Duration::from_secs(155)).contains(&silent), "{silent:?}");
}
