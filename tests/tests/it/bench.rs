//! `keywire bench` makes the load that it is asked for and reports the results.

use std::process::Output;

use e2e::{BinaryRun, EngineKind, PATIENCE, System, eventually, promises, run_to_end, signal};
use serde_json::Value;

promises! {
    every:
        it_writes_and_reads_as_often_as_requested,
        at_a_fixed_rate_it_keeps_to_the_rate,
        what_is_refused_is_counted_by_its_code;
    sqlite:
        its_keys_are_deleted_unless_they_are_to_be_kept,
        an_interrupted_run_reports_what_it_has_measured;
}

fn bench(system: &System, args: &[&str]) -> Value {
    let (write, read) = (format!("http://{}", system.ws()), format!("http://{}", system.http()));
    let all = [&["bench", "--json", "--url", &read, "--write-url", &write], args].concat();
    let output = run_to_end("keywire", &all, &[]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

async fn it_writes_and_reads_as_often_as_requested(engine: EngineKind) {
    let system = System::start(engine).await;
    let filled = ["--count", "2000", "--keys", "300", "--reads", "100", "--clients", "4", "--pipeline", "8"];
    let read = bench(&system, &filled);
    assert_eq!((&read["reads"]["count"], &read["writes"]["count"]), (&2000.into(), &0.into()), "{read}");
    assert_eq!((&read["missing"], &read["refused"]), (&0.into(), &serde_json::json!({})), "{read}");
    assert_eq!(system.database.entries().await, 300, "every key was written before");

    let written =
        ["--count", "500", "--keys", "10", "--reads", "0", "--key-prefix", "zipf/", "--distribution", "zipf"];
    let written = bench(&system, &written);
    assert_eq!(written["writes"]["count"], 500, "{written}");
    assert_eq!(system.database.entries().await, 310, "ten more keys");
    let shown = ["--count", "500", "--keys", "10", "--reads", "0", "--ids"];
    let shown = bench(&system, &shown);
    assert_eq!(
        (&shown["writes"]["count"], &shown["refused"]),
        (&500.into(), &serde_json::json!({})),
        "{shown}"
    );
    let empty = ["--count", "100", "--keys", "10", "--reads", "100", "--key-prefix", "never/", "--no-fill"];
    assert_eq!(bench(&system, &empty)["missing"], 100);
}

async fn at_a_fixed_rate_it_keeps_to_the_rate(engine: EngineKind) {
    let system = System::start(engine).await;
    let load = ["--rate", "300", "--seconds", "2", "--clients", "8", "--keys", "100", "--reads", "50"];
    let result = bench(&system, &load);
    let count = |kind: &str| result[kind]["count"].as_u64().expect("a number");
    // Every operation that fell due is either answered or reported as unsent.
    assert_eq!(
        count("writes") + count("reads") + result["unsent"].as_u64().expect("a number"),
        600,
        "{result}"
    );
    assert!(result["seconds"].as_f64().is_some_and(|seconds| seconds > 1.9), "{result}");
}

async fn what_is_refused_is_counted_by_its_code(engine: EngineKind) {
    let system = System::start_with_settings(engine, &[("VALUE_BYTES_MAX", "50")]).await;
    let write = format!("http://{}", system.ws());
    let args = ["bench", "--json", "--url", &write, "--reads", "0", "--count", "20", "--value-bytes", "51"];
    let output = run_to_end("keywire", &args, &[]);
    assert_eq!(output.status.code(), Some(1), "nothing was done: {output:?}");
    let result: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(result["refused"], serde_json::json!({ "too_large": 20 }), "{result}");
}

/// The environment with which the client finds `system`.
fn env(system: &System) -> [(String, String); 1] {
    [("KEYWIRE_URL".to_owned(), format!("http://{}", system.http()))]
}

fn keys(system: &System) -> String {
    let count = run_to_end("keywire", &["count"], &env(system));
    String::from_utf8_lossy(&count.stdout).trim_end().to_owned()
}

async fn its_keys_are_deleted_unless_they_are_to_be_kept(engine: EngineKind) {
    let system = System::start(engine).await;
    system.socket().await.set("bench:of somebody else", "v").await;
    let load = ["--count", "200", "--keys", "3000", "--clients", "4", "--pipeline", "8"];
    for (more, left) in
        [(&[][..], "1"), (&["--reads", "0"], "1"), (&["--keep"], "3001"), (&["--no-fill"], "3001")]
    {
        bench(&system, &[&load, more].concat());
        assert_eq!(keys(&system), left, "{more:?}");
    }
    bench(&system, &load);
    assert_eq!(keys(&system), "1", "the key of somebody else stays");
}

async fn an_interrupted_run_reports_what_it_has_measured(engine: EngineKind) {
    let system = System::start(engine).await;
    for (options, code) in [(&["--json"][..], 130), (&[], 143), (&["--rate", "500", "--json"], 143)] {
        let args = [&["bench", "--seconds", "600", "--keys", "100", "--clients", "4"], options].concat();
        let run = BinaryRun::start("keywire", &args, &env(&system));
        let sets = "select count(*) from entries where rev > born";
        eventually("keys are overwritten", PATIENCE, async || match system.database.number(sets).await {
            more if more > 10 => Ok(()),
            other => Err(other.to_string()),
        })
        .await;
        signal(if code == 130 { "INT" } else { "TERM" }, run.id());
        let output = run.end();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(code), 0), "{output:?}");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if options.contains(&"--json") {
            let result: Value = serde_json::from_str(&printed).expect("JSON");
            assert_eq!(result["interrupted"], true, "{result}");
            assert!(result["writes"]["count"].as_u64().is_some_and(|count| count > 0), "{result}");
        } else {
            assert!(printed.contains("interrupted: this is what was measured until then"), "{printed}");
            assert!(printed.contains("  writes ") && printed.contains("  reads "), "{printed}");
            assert!(printed.lines().all(|line| line.chars().count() <= 80), "{printed}");
        }
        assert_eq!(keys(&system), "0", "its keys are deleted");
        system.database.execute("delete from entries").await;
    }
}

#[test]
fn a_failure_is_one_line() {
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    let nobody = run_to_end("keywire", &["bench", "--url", "http://127.0.0.1:1"], &[]);
    assert_eq!((nobody.status.code(), said(&nobody).lines().count()), (Some(1), 1), "{nobody:?}");
    assert!(said(&nobody).contains("127.0.0.1:1"), "{nobody:?}");
    for bad in [["--pipeline", "1025"], ["--url", "ftp://127.0.0.1"], ["--seconds", "0"], ["--clients", "0"]]
    {
        let refused = run_to_end("keywire", &[&["bench"], &bad[..]].concat(), &[]);
        assert_eq!((refused.status.code(), said(&refused).lines().count()), (Some(64), 1), "{refused:?}");
    }
}
