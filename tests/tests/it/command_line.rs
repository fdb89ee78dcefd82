//! The command-line client: `put`, `get`, `del` and `ls` on a running system.

mod base_path;
mod del;
mod export;
mod foreign;
mod import;
mod messages;
mod watch;

use std::process::{Output, Stdio};

use e2e::{BinaryRun, EngineKind, PATIENCE, System, eventually, promises, run_to_end, write};

promises! {
    every:
        get_returns_the_bytes_that_put_wrote,
        a_missing_key_is_one_line_and_exit_code_1,
        a_refusal_is_the_message_of_the_service_and_exit_code_1,
        a_deleted_key_is_absent,
        a_condition_holds_or_nothing_is_written,
        a_key_written_with_a_ttl_expires,
        keys_are_listed_page_after_page_in_the_order_of_their_bytes;
}

/// The environment with which the client finds `system`.
fn env(system: &System) -> Vec<(String, String)> {
    let url = |name: &str, addr| (name.to_owned(), format!("http://{addr}"));
    vec![url("KEYWIRE_URL", system.http()), url("KEYWIRE_WRITE_URL", system.ws())]
}

fn keywire(system: &System, args: &[&str]) -> Output {
    run_to_end("keywire", args, &env(system))
}

/// The output of a command. It must succeed and write nothing to stderr.
fn printed(output: Output) -> String {
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).expect("keys and values are UTF-8")
}

/// What a command wrote to stderr.
fn heard(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The line that a command wrote to stderr. It must fail with exactly one line.
fn said(output: &Output, exit_code: i32) -> String {
    let said = heard(output);
    assert_eq!((output.status.code(), said.lines().count()), (Some(exit_code), 1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    said.trim_end().to_owned()
}

/// The rev on the first line of the output.
fn rev(printed: &str) -> u64 {
    printed.lines().next().and_then(|line| line.parse().ok()).unwrap_or_else(|| panic!("no rev: {printed:?}"))
}

/// A stderr that nobody reads: a pipe whose reader is closed.
fn closed_pipe() -> Stdio {
    std::io::pipe().expect("pipes can be made").1.into()
}

/// A stderr on which every write fails.
fn full() -> Stdio {
    std::fs::OpenOptions::new().write(true).open("/dev/full").expect("it is there").into()
}

#[test]
fn a_message_without_a_reader_does_not_change_the_exit_code() {
    let nowhere = "http://127.0.0.1:1";
    for stderr in [closed_pipe, full] {
        for (args, code) in [
            (&["get", "k", "--url", nowhere][..], 69),
            (&["export", "--url", nowhere], 69),
            (&["import", "/no/such/file"], 74),
            (&["bench", "--count", "1", "--url", nowhere], 1),
            (&["get"], 64),
            (&["check", "--admin-addr", "127.0.0.1:1"], 1),
            (&["--database-url", "sqlite:///dev/null/file"], 1),
        ] {
            let ended = BinaryRun::start_unheard("keywire", args, &[], stderr()).end();
            assert_eq!(ended.status.code(), Some(code), "{args:?}: {ended:?}");
        }
    }
}

#[test]
fn a_token_that_could_not_be_printed_is_not_in_the_file() {
    let tokens = e2e::Tokens::new();
    let seen = tokens.make("seen", &["--read", ""]);
    let before = std::fs::read_to_string(tokens.file()).expect("it was made");
    let mut unseen = std::process::Command::new(e2e::binary("keywire"));
    let output =
        unseen.args(["token", "unseen", "--read", "", "--into", &tokens.file()]).stdout(full()).output();
    assert_eq!(
        said(&output.expect("it can be started"), 74),
        "keywire: cannot print: No space left on device (os error 28)"
    );
    assert_eq!(std::fs::read_to_string(tokens.file()).expect("it is there"), before);
    assert!(!before.contains(&seen) && before.contains("seen"));
}

async fn get_returns_the_bytes_that_put_wrote(engine: EngineKind) {
    let system = System::start(engine).await;
    let entries = [
        (".", "dot"),
        ("..", "dots"),
        ("a/b", "slash"),
        ("a b?c=d&e#f%41+", ""),
        ("line\nend", "line\nend\n"),
        ("\u{1f600}", "\u{1f600}"),
        ("-5", "-5"),
        ("large", &"x\u{fc}\n".repeat(200_000)),
    ];
    for (key, value) in entries {
        // The last value is too large for a command line.
        let mut put = BinaryRun::start("keywire", &["put", "--", key, "-"], &env(&system));
        put.feed(value.as_bytes());
        assert_eq!(printed(put.end()), "", "{key:?}");
    }
    for (key, value) in entries {
        assert!(printed(keywire(&system, &["get", "--", key])) == value, "{key:?} is not as it was put");
    }
    assert_eq!(printed(keywire(&system, &["put", "word", "-1.5"])), "");
    let rev = rev(&printed(keywire(&system, &["put", "word", "by word", "--rev"])));
    assert_eq!(printed(keywire(&system, &["get", "word", "--rev"])), format!("{rev}\nby word"));
    assert_eq!(system.read("word").await.header("etag"), Some(format!("\"{rev}\"").as_str()));
}

async fn a_missing_key_is_one_line_and_exit_code_1(engine: EngineKind) {
    let system = System::start(engine).await;
    for (key, named) in [("nope", "nope"), ("..", ".."), ("a\nb", r"a\nb")] {
        let missing = keywire(&system, &["get", key]);
        assert_eq!(said(&missing, 1), format!("keywire: No value found for key {named}"));
    }
}

async fn a_refusal_is_the_message_of_the_service_and_exit_code_1(engine: EngineKind) {
    let system = System::start_with_settings(engine, &[("VALUE_BYTES_MAX", "5")]).await;
    let large = said(&keywire(&system, &["put", "k", "123456"]), 1);
    assert_eq!(large, "keywire: value has 6 bytes; at most 5 are allowed");
    assert_eq!(said(&keywire(&system, &["put", "", "v"]), 1), "keywire: key must not be empty");
    assert_eq!(said(&keywire(&system, &["get", ""]), 1), "keywire: key must not be empty");
    let elsewhere = keywire(&system, &["get", "k", "--url", &format!("http://{}", system.reads().admin)]);
    assert!(said(&elsewhere, 69).contains("check --url"), "{elsewhere:?}");
    for (input, word) in [(&b"ab\xff"[..], "not UTF-8"), (&vec![b'x'; 1_048_577], "more than 1048576 bytes")]
    {
        let mut put = BinaryRun::start("keywire", &["put", "k", "-"], &env(&system));
        put.feed(input);
        let said = said(&put.end(), 1);
        assert!(said.contains(word), "{said}");
    }
    assert_eq!(system.database.entries().await, 0);
}

async fn a_deleted_key_is_absent(engine: EngineKind) {
    let system = System::start(engine).await;
    for key in ["..", "a\nb", "kept"] {
        assert_eq!(printed(keywire(&system, &["put", key, "v"])), "");
    }
    assert_eq!(printed(keywire(&system, &["del", ".."])), "");
    assert_eq!(said(&keywire(&system, &["get", ".."]), 1), "keywire: No value found for key ..");
    assert_eq!(said(&keywire(&system, &["del", ".."]), 1), "keywire: No value found for key ..");
    let put = rev(&printed(keywire(&system, &["get", "a\nb", "--rev"])));
    let deleted = rev(&printed(keywire(&system, &["del", "a\nb", "--rev"])));
    assert!(deleted > put, "{deleted} is not after {put}");
    assert_eq!(printed(keywire(&system, &["get", "kept"])), "v");
}

async fn a_condition_holds_or_nothing_is_written(engine: EngineKind) {
    let system = System::start(engine).await;
    let first = rev(&printed(keywire(&system, &["put", "k", "1", "--if-rev", "0", "--rev"])));
    let mismatch = "keywire: rev mismatch for key k";
    assert_eq!(said(&keywire(&system, &["put", "k", "2", "--if-rev", "0"]), 1), mismatch);
    assert_eq!(said(&keywire(&system, &["del", "k", "--if-rev", &(first + 1).to_string()]), 1), mismatch);
    assert_eq!(printed(keywire(&system, &["get", "k"])), "1");
    assert_eq!(printed(keywire(&system, &["put", "k", "2", "--if-rev", &first.to_string()])), "");
    assert_eq!(printed(keywire(&system, &["get", "k"])), "2");
}

async fn a_key_written_with_a_ttl_expires(engine: EngineKind) {
    let system = System::start(engine).await;
    assert_eq!(printed(keywire(&system, &["put", "short", "v", "--ttl", "1"])), "");
    assert_eq!(printed(keywire(&system, &["put", "long", "v", "--ttl", "3153600000"])), "");
    eventually("it expires", PATIENCE, async || match system.read("short").await.status {
        404 => Ok(()),
        status => Err(status.to_string()),
    })
    .await;
    assert_eq!(said(&keywire(&system, &["get", "short"]), 1), "keywire: No value found for key short");
    assert_eq!(printed(keywire(&system, &["get", "long"])), "v");
}

async fn keys_are_listed_page_after_page_in_the_order_of_their_bytes(engine: EngineKind) {
    let system = System::start(engine).await;
    let mut keys: Vec<String> = (0..2500).map(|number| format!("user/{}", number * 7919 % 2500)).collect();
    keys.extend(
        ["user", "user/\u{ffff}", "user/\u{10ffff}", "user0", "User/1", "a\nb", "\"quoted\""].map(Into::into),
    );
    let mut import = BinaryRun::start("keywire", &["import"], &env(&system));
    let lines: String = keys.iter().map(|key| write(key, &key.repeat(2)) + "\n").collect();
    import.feed(lines.as_bytes());
    assert!(import.end().status.success());

    keys.sort();
    let shown = |key: &String| match key.as_str() {
        "a\nb" => r#""a\nb""#.to_owned(),
        "\"quoted\"" => r#""\"quoted\"""#.to_owned(),
        _ => key.clone(),
    };
    let all: Vec<String> = keys.iter().map(shown).collect();
    assert_eq!(printed(keywire(&system, &["ls"])).lines().collect::<Vec<_>>(), all);
    let users: Vec<&String> = keys.iter().filter(|key| key.starts_with("user/")).collect();
    assert_eq!(printed(keywire(&system, &["ls", "user/"])).lines().collect::<Vec<_>>(), users);
    assert_eq!(printed(keywire(&system, &["ls", "nobody/"])), "");

    let tag = system.read("user/1").await.header("etag").expect("it is there").trim_matches('"').to_owned();
    let long = printed(keywire(&system, &["ls", "--long", "user/1"]));
    let first: Vec<&str> = long.lines().next().expect("it is there").split_whitespace().collect();
    assert_eq!(first, [tag.as_str(), "12", "user/1"]);
}

#[test]
fn a_service_that_is_not_there_is_one_line_and_exit_code_69() {
    let nowhere = [("KEYWIRE_URL".to_owned(), "http://127.0.0.1:1".to_owned())];
    let commands: [&[&str]; 8] = [
        &["put", "k", "v"],
        &["get", "k"],
        &["del", "k"],
        &["del", "--all"],
        &["ls"],
        &["count"],
        &["export"],
        &["import"],
    ];
    for args in commands {
        let said = said(&run_to_end("keywire", args, &nowhere), 69);
        assert!(said.starts_with("keywire: no connection to 127.0.0.1:1: "), "{args:?}: {said}");
        assert!(
            said.ends_with("is Keywire running? `keywire` starts it, --url names another server"),
            "{said}"
        );
    }
}

#[test]
fn a_bad_command_line_is_one_line_and_exit_code_64() {
    let commands: [&[&str]; 11] = [
        &["put", "k"],
        &["put", "k", "v", "--ttl", "0"],
        &["put", "k", "v", "--if-rev", "-1"],
        &["put", "k", "v", "--if-rev", "9223372036854775808"],
        &["get"],
        &["get", "k", "--url", "ftp://127.0.0.1"],
        &["ls", "a", "b"],
        &["import", "--url", "http://127.0.0.1:8000/?base"],
        &["ls", "a", "--prefix", "a"],
        &["count", "--url", "127.0.0.1:8000"],
        &["token", "app", "--into", "/no/such/folder/tokens.json"],
    ];
    for args in commands {
        said(&run_to_end("keywire", args, &[]), 64);
    }
}

#[test]
fn tokens_made_at_the_same_time_are_all_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (file, link) = (folder.path().join("tokens.json"), folder.path().join("link.json"));
    std::fs::write(&file, "[]").expect("a file can be written");
    std::os::unix::fs::symlink(&file, &link).expect("links can be made");
    let make = |name: usize| {
        let into = if name.is_multiple_of(2) { &file } else { &link };
        let args = ["token", &name.to_string(), "--read", "", "--into", &into.display().to_string()];
        BinaryRun::start("keywire", &args, &[])
    };
    let runs: Vec<_> = (0..12).map(make).collect();
    for run in runs {
        assert!(run.end().status.success());
    }
    let text = std::fs::read_to_string(&file).expect("it is there");
    let tokens: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(tokens.as_array().map(Vec::len), Some(12), "{text}");
    assert!(link.is_symlink());
}

#[test]
fn a_dangling_link_is_neither_followed_nor_replaced() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let link = folder.path().join("link.json");
    std::os::unix::fs::symlink("nowhere", &link).expect("links can be made");
    let args = ["token", "name", "--read", "", "--into", &link.display().to_string()];
    let output = run_to_end("keywire", &args, &[]);
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("it is a dangling symbolic link"), "{output:?}");
    assert!(link.is_symlink() && !folder.path().join("nowhere").exists());
}
