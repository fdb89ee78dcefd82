//! `--url` with a path: every command works behind a proxy that serves Keywire below a path.

use e2e::{BinaryRun, EngineKind, SubpathProxy, System, promises, run_to_end};

use super::import::lines;
use super::{heard, printed, said};

promises! {
    sqlite:
        every_command_works_below_a_path;
}

/// The path below which the proxy serves.
const BASE: &str = "/kv/v1";

async fn every_command_works_below_a_path(engine: EngineKind) {
    let system = System::start(engine).await;
    let proxy = SubpathProxy::start(system.http(), BASE).await;
    let addr = proxy.addr;
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
