//! The command line client: put, get, del and ls, each by itself against a running pair.

use std::process::Output;

use e2e::{Engine, Run, System, promises, run_to_end};

promises! {
    what_is_put_is_got_to_the_byte,
    what_is_not_there_is_one_line_and_exit_code_1,
    what_is_refused_is_the_services_word_and_exit_code_1,
}

/// Where the client finds `system`.
pub(crate) fn env(system: &System) -> Vec<(String, String)> {
    let url = |name: &str, addr| (name.to_owned(), format!("http://{addr}"));
    vec![url("KEYWIRE_URL", system.http()), url("KEYWIRE_WRITE_URL", system.ws())]
}

fn keywire(system: &System, args: &[&str]) -> Output {
    run_to_end("keywire", args, &env(system))
}

/// What a command that must succeed prints; it must say nothing else.
fn printed(output: Output) -> String {
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).expect("keys and values are UTF-8")
}

/// The one line that a command which must fail says.
fn said(output: &Output, exit_code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.lines().count()), (Some(exit_code), 1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    said.trim_end().to_owned()
}

async fn what_is_put_is_got_to_the_byte(engine: Engine) {
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
        // A value as large as the last is over what a command line holds.
        let mut put = Run::start("keywire", &["put", "--", key, "-"], &env(&system));
        put.feed(value.as_bytes());
        assert_eq!(printed(put.end()), "", "{key:?}");
    }
    for (key, value) in entries {
        assert!(printed(keywire(&system, &["get", "--", key])) == value, "{key:?} is not as it was put");
    }
    assert_eq!(printed(keywire(&system, &["put", "word", "-1.5"])), "");
    let rev = printed(keywire(&system, &["put", "word", "by word", "--rev"]));
    assert_eq!(printed(keywire(&system, &["get", "word", "--rev"])), format!("{rev}by word"));
    assert_eq!(system.read("word").await.header("etag"), Some(format!("\"{}\"", rev.trim_end()).as_str()));
}

async fn what_is_not_there_is_one_line_and_exit_code_1(engine: Engine) {
    let system = System::start(engine).await;
    for (key, named) in [("nope", "nope"), ("..", ".."), ("a\nb", r"a\nb")] {
        let missing = keywire(&system, &["get", key]);
        assert_eq!(said(&missing, 1), format!("keywire: No value found for key {named}"));
    }
}

async fn what_is_refused_is_the_services_word_and_exit_code_1(engine: Engine) {
    let system = System::with(engine, &[("VALUE_BYTES_MAX", "5")]).await;
    let large = said(&keywire(&system, &["put", "k", "123456"]), 1);
    assert_eq!(large, "keywire: value has 6 bytes; at most 5 are allowed");
    assert_eq!(said(&keywire(&system, &["put", "", "v"]), 1), "keywire: key must not be empty");
    assert_eq!(said(&keywire(&system, &["get", ""]), 1), "keywire: key is empty");
    for (input, word) in [(&b"ab\xff"[..], "not UTF-8"), (&vec![b'x'; 1_048_577], "more than 1048576 bytes")]
    {
        let mut put = Run::start("keywire", &["put", "k", "-"], &env(&system));
        put.feed(input);
        let said = said(&put.end(), 1);
        assert!(said.contains(word), "{said}");
    }
    assert_eq!(system.database.entries().await, 0);
}

#[test]
fn a_service_that_is_not_there_is_one_line_and_exit_code_69() {
    let nowhere = [("KEYWIRE_URL".to_owned(), "http://127.0.0.1:1".to_owned())];
    let commands: [&[&str]; 6] =
        [&["put", "k", "v"], &["get", "k"], &["del", "k"], &["ls"], &["export"], &["import"]];
    for args in commands {
        let said = said(&run_to_end("keywire", args, &nowhere), 69);
        assert!(said.starts_with("keywire: no connection to 127.0.0.1:1: "), "{args:?}: {said}");
    }
}

#[test]
fn a_bad_command_line_is_one_line_and_exit_code_64() {
    let commands: [&[&str]; 8] = [
        &["put", "k"],
        &["put", "k", "v", "--ttl", "0"],
        &["put", "k", "v", "--if-rev", "-1"],
        &["put", "k", "v", "--if-rev", "9223372036854775808"],
        &["get"],
        &["get", "k", "--url", "https://127.0.0.1"],
        &["ls", "a", "b"],
        &["import", "--url", "http://127.0.0.1:8000/base"],
    ];
    for args in commands {
        said(&run_to_end("keywire", args, &[]), 64);
    }
}

#[test]
fn every_command_says_its_exit_codes_and_where_it_looks() {
    for command in ["put", "get", "del", "ls", "export", "import"] {
        let help = run_to_end("keywire", &[command, "--help"], &[]);
        let text = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(help.status.success(), "{help:?}");
        for word in ["Exit codes: 0", "69", "KEYWIRE_URL", "http://127.0.0.1:8000"] {
            assert!(text.contains(word), "{command} --help does not name {word}: {text}");
        }
        assert!(!text.contains("DATABASE_URL") && !text.contains("ADMIN_ADDR"), "{text}");
    }
}
