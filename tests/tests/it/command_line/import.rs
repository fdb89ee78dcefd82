//! `keywire import`: every line is written, in order, or reported as refused.

use std::net::SocketAddr;
use std::process::Output;
use std::time::{Duration, Instant};

use e2e::{
    BinaryRun, EngineKind, PATIENCE, System, eventually, free_port, promises, run_to_end, storage, write,
};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{closed_pipe, env, full, heard};

promises! {
    every:
        refused_lines_are_reported_by_number_and_the_rest_is_written,
        an_import_without_a_reader_of_its_messages_writes_everything,
        a_line_is_any_write_message,
        an_input_of_another_format_is_named_and_nothing_is_written,
        expired_lines_are_skipped_and_counted_separately,
        a_line_over_the_message_limit_is_refused_and_the_rest_is_written,
        an_import_that_was_interrupted_and_runs_again_ends_the_same;
}

/// Imports `lines` from a file.
pub(super) fn import(system: &System, lines: &str) -> Output {
    let file = system.database.folder().join("lines.ndjson");
    std::fs::write(&file, lines).expect("a file can be written");
    run_to_end("keywire", &["import", &file.display().to_string()], &env(system))
}

/// Lines that write `value`, with one key for each of `numbers`.
pub(super) fn lines(numbers: std::ops::Range<u32>, value: &str) -> String {
    numbers.map(|number| write(&format!("key/{number}"), value) + "\n").collect()
}

async fn entries(system: &System, count: u64) {
    eventually("this many entries are there", PATIENCE, async || match system.database.entries().await {
        found if found == count => Ok(()),
        found => Err(format!("{found} of {count}")),
    })
    .await;
}

async fn a_line_is_any_write_message(engine: EngineKind) {
    let system = System::start(engine).await;
    let input = [
        r#"{"key":"a","value":"1"}"#,
        r#"{"op":"delete","key":"a"}"#,
        // A delete of an absent key is a success: the key is absent, as the line wants it.
        r#"{"op":"delete","key":"a"}"#,
        r#"{"id":1,"op":"batch","ops":[{"key":"b","value":"2"},{"key":"c","value":"3"}]}"#,
        r#"{"key":"b","value":"4","if_rev":0}"#,
    ]
    .join("\n");
    let output = import(&system, &input);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = heard(&output);
    assert!(
        said.starts_with("keywire: line 5: rev mismatch for key b\nkeywire: 4 lines written, 1 refused in "),
        "{said}"
    );
    assert_eq!((system.read("a").await.status, &system.read("b").await.json()["value"]), (404, &"2".into()));
}

async fn an_input_of_another_format_is_named_and_nothing_is_written(engine: EngineKind) {
    let system = System::start(engine).await;
    let message = r#"{"key":"a","value":"1"}"#;
    let utf16: Vec<u8> = message.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let dump = r#"[{"model":"storage.keyvaluepair","pk":1,"fields":{"key":"a","value":"1"}}]"#;
    let folder = system.database.folder();
    for (name, bytes, named) in [
        ("all.ndjson.gz", &b"\x1f\x8b\x08\0\n\n"[..], "(gzip); unpack it: gunzip -c "),
        ("utf16.ndjson", &utf16, "UTF-16; convert it: iconv -f UTF-16 -t UTF-8 "),
        ("array.json", format!("[{message},{message}]").as_bytes(), "a JSON array; "),
        ("dump.json", dump.as_bytes(), "keywire import --from "),
        ("table.csv", b"key,value\na,1\nb,2\n", "CSV"),
    ] {
        let file = folder.join(name);
        std::fs::write(&file, bytes).expect("a file can be written");
        let path = file.display().to_string();
        let refused = super::said(&run_to_end("keywire", &["import", &path], &env(&system)), 1);
        assert!(refused.starts_with(&format!("keywire: {path} cannot be imported as it is: ")), "{refused}");
        assert!(refused.contains(named), "{refused}");
        let mut piped = BinaryRun::start("keywire", &["import", "-"], &env(&system));
        piped.feed(bytes);
        let refused = super::said(&piped.end(), 1);
        assert!(refused.starts_with("keywire: stdin cannot be imported as it is: "), "{refused}");
    }
    assert_eq!(system.database.entries().await, 0);
}

async fn expired_lines_are_skipped_and_counted_separately(engine: EngineKind) {
    let system = System::start(engine).await;
    let expired = r#"{"key":"key/1","value":"old","expires_at":1700000000000000}"#;
    let output = import(&system, &(lines(0..2, "v") + expired + "\n"));
    assert!(output.status.success(), "{output:?}");
    assert!(heard(&output).starts_with("keywire: 2 lines written, 1 expired in "), "{output:?}");
    assert_eq!(system.read("key/1").await.json()["value"], "v");
}

async fn refused_lines_are_reported_by_number_and_the_rest_is_written(engine: EngineKind) {
    let system = System::start(engine).await;
    let long = "x".repeat(513);
    let input = [
        r#"{"key":"a","value":"1"}"#,
        "",
        "nonsense",
        r#"{"key":"b","value":2}"#,
        "   ",
        &write(&long, "v"),
        &write("c", &"\u{1}".repeat(1_048_576)),
        r#"{"key":"a","value":"2"}"#,
        r#"{"op":"delete","key":"a","expires_at":1}"#,
        // Without its expiry it would stay for ever.
        r#"{"key":"d","value":"v","TTL":60}"#,
    ]
    .join("\n");
    let output = import(&system, &input);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = heard(&output);
    let said: Vec<&str> = said.lines().collect();
    assert!(said[0].starts_with("keywire: line 3: not one JSON object"), "{said:?}");
    assert_eq!(said[1], "keywire: line 4: value must be a string, not a number");
    assert_eq!(said[2], "keywire: line 6: key has 513 bytes; at most 512 are allowed");
    assert!(said[3].starts_with("keywire: line 9: "), "{said:?}");
    assert_eq!(said[4], "keywire: line 10: unknown member TTL; did you mean ttl?");
    assert!(said[5].starts_with("keywire: 3 lines written, 5 refused in "), "{said:?}");
    assert_eq!((said.len(), output.stdout.len()), (6, 0), "nothing else is said in a pipe: {said:?}");
    assert_eq!(system.read("a").await.json()["value"], "2");
    assert_eq!(system.database.entries().await, 2);
}

async fn an_import_without_a_reader_of_its_messages_writes_everything(engine: EngineKind) {
    let refused = "nonsense\n".repeat(3);
    for (at, gone) in [closed_pipe(), full()].into_iter().enumerate() {
        let system = System::start(engine).await;
        let mut run = BinaryRun::start_unheard("keywire", &["import"], &env(&system), gone);
        run.feed((refused.clone() + &lines(0..100, "v") + &refused).as_bytes());
        assert_eq!(run.end().status.code(), Some(1), "{at}");
        assert_eq!(system.database.entries().await, 100);
        assert_eq!(system.read("key/1").await.status, 200);
    }
}

async fn a_line_over_the_message_limit_is_refused_and_the_rest_is_written(engine: EngineKind) {
    let system = System::start_with_settings(engine, &[("VALUE_BYTES_MAX", "100")]).await;
    let long = write("long", &"x".repeat(10_000)) + "\n";
    let output = import(&system, &(lines(0..100, "v") + &long + &lines(100..200, "v") + &long));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = heard(&output);
    for named in ["line 101: longer than", "line 202: longer than", "200 lines written, 2 refused in "] {
        assert!(said.contains(&format!("keywire: {named}")), "{said}");
    }
    assert_eq!(system.database.entries().await, 200);
}

async fn an_import_that_was_interrupted_and_runs_again_ends_the_same(engine: EngineKind) {
    let system = System::start(engine).await;
    let (first, rest) = (lines(0..700, "first"), lines(700..1500, "first") + &lines(0..200, "last"));
    let mut interrupted = BinaryRun::start("keywire", &["import"], &env(&system));
    interrupted.feed(first.as_bytes());
    entries(&system, 700).await;
    interrupted.kill();
    let again = import(&system, &(first + &rest));
    assert!(again.status.success(), "{again:?}");
    assert!(heard(&again).starts_with("keywire: 1,700 lines written in "), "{again:?}");
    assert_eq!((heard(&again).lines().count(), again.stdout.len()), (1, 0), "{again:?}");
    assert_eq!(system.database.entries().await, 1500);
    let mut connection = system.connection().await;
    for (number, value) in [(0, "last"), (199, "last"), (200, "first"), (1499, "first")] {
        let found = connection.get(&storage(&format!("key/{number}"))).await;
        assert_eq!(found.json()["value"], value, "{number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_goes_on_when_the_service_is_back() {
    let mut system =
        System::start_with_settings(EngineKind::Sqlite, &[("LISTEN_ADDR", &free_port().to_string())]).await;
    let mut running = BinaryRun::start("keywire", &["import"], &env(&system));
    running.feed(lines(0..100, "v").as_bytes());
    entries(&system, 100).await;
    system.writer.kill();
    running.feed(lines(100..200, "v").as_bytes());
    system.restart_writer().await;
    entries(&system, 200).await;
    let output = running.end();
    assert!(output.status.success(), "{output:?}");
    assert!(heard(&output).contains("keywire: 200 lines written in "), "{output:?}");
}

/// The messages that a service received on two sockets, one after the other.
struct ReceivedMessages {
    lines: [Vec<String>; 2],
    /// The time from the end of the first socket to the beginning of the second.
    between: Duration,
}

/// A service that takes two sockets. `answer` gets the number of the socket and of the message; for `None` the socket is broken.
async fn answering_with(
    answer: fn(usize, usize) -> Option<&'static str>,
) -> (SocketAddr, tokio::task::JoinHandle<ReceivedMessages>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let addr = listener.local_addr().expect("it has an address");
    let service = tokio::spawn(async move {
        let (mut lines, mut ends, mut between) = ([Vec::new(), Vec::new()], None, Duration::ZERO);
        for (turn, lines) in lines.iter_mut().enumerate() {
            let (stream, _) = listener.accept().await.expect("a client comes");
            between = ends.map(|ends: Instant| ends.elapsed()).unwrap_or_default();
            let mut socket = accept(stream).await;
            while let Some(Ok(Message::Text(text))) = socket.next().await {
                let Some(answer) = answer(turn, lines.len()) else { break };
                lines.push(text.as_str().to_owned());
                socket.send(Message::text(answer)).await.expect("the client reads on");
            }
            ends = Some(Instant::now());
        }
        ReceivedMessages { lines, between }
    });
    (addr, service)
}

/// Answers the handshake of a client that speaks `kv.v1`.
async fn accept(mut stream: TcpStream) -> WebSocketStream<TcpStream> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("the client sends a handshake"));
    }
    let head = String::from_utf8(head).expect("a handshake is text");
    let fields: Vec<_> = head.lines().filter_map(|line| line.split_once(": ")).collect();
    let field = |name: &str| {
        let field = fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.unwrap_or_else(|| panic!("no {name}: {head}")).1
    };
    assert_eq!(field("Sec-WebSocket-Protocol"), "kv.v1");
    let key = derive_accept_key(field("Sec-WebSocket-Key").as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Protocol: kv.v1\r\nSec-WebSocket-Accept: {key}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.expect("the client is there");
    WebSocketStream::from_raw_socket(stream, Role::Server, None).await
}

/// Imports ten lines at `addr`. Returns the lines, and what the command reported.
fn import_ten(addr: SocketAddr) -> (Vec<String>, String) {
    let all = lines(0..10, "v");
    let env = [("KEYWIRE_URL".to_owned(), format!("http://{addr}"))];
    let mut import = BinaryRun::start("keywire", &["import"], &env);
    import.feed(all.as_bytes());
    let output = import.end();
    assert!(output.status.success(), "{output:?}");
    assert!(heard(&output).contains("keywire: 10 lines written in "), "{output:?}");
    (all.lines().map(str::to_owned).collect(), heard(&output))
}

const CREATED: &str = r#"{"message":"k created","status":200}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_was_not_applied_is_sent_again_with_all_lines_after_it() {
    let (addr, service) = answering_with(|turn, number| match (turn, number) {
        (0, 3) => Some(r#"{"message":"the database is away","status":503,"code":"unavailable"}"#),
        _ => Some(CREATED),
    })
    .await;
    let (all, said) = import_ten(addr);
    assert!(said.starts_with("keywire: the database is away; going on with line 4\n"), "{said}");
    let [first, second] = service.await.expect("the service does not fail").lines;
    assert_eq!(first, all, "every answer was waited for");
    assert_eq!(second, all[3..], "the same lines in the same order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_of_a_broken_socket_are_finished_before_they_are_sent_again() {
    let (addr, service) =
        answering_with(|turn, number| if (turn, number) == (0, 3) { None } else { Some(CREATED) }).await;
    let (all, said) = import_ten(addr);
    assert!(said.contains("; going on with line 4\n"), "{said}");
    let ReceivedMessages { lines: [first, second], between } =
        service.await.expect("the service does not fail");
    assert_eq!((&first[..], &second[..]), (&all[..3], &all[3..]));
    assert!(between >= Duration::from_secs(10), "a write may take 10 s, it came again after {between:?}");
}
