//! The help, and what valid configurations do. `bad_values` has the invalid ones.

use std::net::TcpListener;

use e2e::{EngineKind, ServiceProcess, Socket, System, binary, promises, run_to_end, write};

const BINARIES: [&str; 3] = ["ws-ingest", "rest-read", "keywire"];

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(name, value)| (name.into(), value.into())).collect()
}

#[test]
fn every_binary_says_its_version_and_its_help() {
    for name in BINARIES {
        let version = run_to_end(name, &["--version"], &[]);
        assert!(version.status.success(), "{version:?}");
        let text = String::from_utf8_lossy(&version.stdout).into_owned();
        assert_eq!(text, format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
        let help = run_to_end(name, &["--help"], &[]);
        assert!(help.status.success(), "{help:?}");
        let text = String::from_utf8_lossy(&help.stdout).into_owned();
        for word in ["LISTEN_ADDR", "ADMIN_ADDR", "DATABASE_URL", "ALLOW_ANONYMOUS", "check"] {
            assert!(text.contains(word), "{name} --help does not name {word}: {text}");
        }
    }
}

#[test]
fn help_names_variables_and_shows_no_value_of_them() {
    let url = "mysql://u:sesame@127.0.0.1/x";
    let env = env(&[
        ("DATABASE_URL", url),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:sesame@127.0.0.1"),
        ("TOKENS_FILE", "sesame"),
        ("KEYWIRE_TOKEN_FILE", "sesame"),
        ("KEYWIRE_URL", "http://u:sesame@127.0.0.1"),
        ("WRITER_USER", "sesame"),
    ]);
    let mut helps: Vec<(&str, Vec<&str>)> = BINARIES.map(|name| (name, vec![])).into();
    helps.push(("ws-ingest", vec!["migrate"]));
    let commands = ["check", "put", "get", "del", "ls", "count", "export", "import", "token", "bench"];
    helps.extend(commands.map(|command| ("keywire", vec![command])));
    for (name, mut args) in helps {
        for flag in ["--help", "-h"] {
            args.push(flag);
            let help = run_to_end(name, &args, &env);
            let text = String::from_utf8_lossy(&help.stdout).into_owned();
            assert!(help.status.success(), "{name} {args:?}: {help:?}");
            assert!(text.contains("Usage:") && !text.contains("sesame"), "{name} {args:?}: {text}");
            args.pop();
        }
    }
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let empty = [
        "TOKENS_FILE",
        "TLS_CERT_FILE",
        "DATABASE_PASSWORD_FILE",
        "LANES",
        "READERS",
        "CONNECTIONS_MAX",
        "ADMIN_ADDR",
    ];
    let env = env(&empty.map(|name| (name, "")));
    let specification = run_to_end("rest-read", &["openapi"], &env);
    assert!(specification.status.success(), "{specification:?}");
    for name in BINARIES {
        // Nothing listens there: the command reached that point.
        let check = run_to_end(name, &["check", "--admin-addr", "127.0.0.1:9"], &env);
        assert_ne!(check.status.code(), Some(64), "{check:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_address_is_served_when_told_so() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let url = format!("sqlite://{}", folder.path().join("keywire.db").display());
    let settings = [("LISTEN_ADDR", "0.0.0.0:0"), ("ALLOW_ANONYMOUS", "true"), ("DATABASE_URL", &url)];
    let process = ServiceProcess::start("keywire", &env(&settings));
    let mut socket = Socket::open(([127, 0, 0, 1], process.public.port()).into()).await;
    assert_eq!(socket.set("k", "v").await, r#"{"message":"k created","status":200}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_tells_whether_a_service_is_ready() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let url = format!("sqlite://{}", folder.path().join("keywire.db").display());
    let process = ServiceProcess::start("keywire", &env(&[("DATABASE_URL", &url)]));
    process.ready().await;
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let closed = nobody.local_addr().expect("it has an address").to_string();
    drop(nobody);
    for name in BINARIES {
        let check = |admin: &str| {
            let env = env(&[("ADMIN_ADDR", admin), ("DATABASE_URL", &url)]);
            run_to_end(name, &["check"], &env).status.code()
        };
        assert_eq!(check(&process.admin.to_string()), Some(0), "{name}");
        assert_eq!(check(&closed), Some(1), "{name}");
    }
}

#[test]
fn the_committed_specification_is_what_the_code_makes() {
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi/rest-read.json");
    let committed = std::fs::read_to_string(committed).expect("the specification is committed");
    let printed = run_to_end("rest-read", &["openapi"], &[]);
    assert!(printed.status.success(), "{printed:?}");
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(
        committed == printed,
        "stale: {} openapi > openapi/rest-read.json",
        binary("rest-read").display()
    );
}

promises! {
    every:
        smaller_limits_are_applied;
}

async fn smaller_limits_are_applied(engine: EngineKind) {
    let limits = [("KEY_BYTES_MAX", "8"), ("VALUE_BYTES_MAX", "16")];
    let system = System::start_with_settings(engine, &limits).await;
    let mut socket = system.socket().await;
    let reply = socket.set("12345678", "1234567890123456").await;
    assert_eq!(reply, r#"{"message":"12345678 created","status":200}"#);
    let reply = socket.refuses(write("123456789", "v"), 413, "too_large").await;
    assert!(reply.contains('8') && reply.contains('9'), "{reply}");
    let reply = socket.refuses(write("k", "12345678901234567"), 413, "too_large").await;
    assert!(reply.contains("16") && reply.contains("17"), "{reply}");
    assert_eq!(system.read("12345678").await.status, 200);
    system.read("123456789").await.refused(413, "too_large");
}
