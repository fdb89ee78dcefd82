//! Every option of every binary refuses a bad value, in one line that names the option, with exit code 64.

use std::collections::BTreeSet;

use e2e::run_to_end;

/// The commands of each binary. Without a command it serves.
const COMMANDS: [(&str, &[&str]); 3] = [
    (
        "keywire",
        &[
            "check", "migrate", "watch", "put", "get", "del", "ls", "count", "export", "import", "token",
            "bench",
        ],
    ),
    ("ws-ingest", &["check", "migrate"]),
    ("rest-read", &["check", "openapi"]),
];

/// What is not a whole number: nothing, a sign, units, a fraction, another base, blanks, and more than 64 bits.
const NO_NUMBERS: [&str; 10] =
    ["", "-1", "1s", "10k", "1_000", "1.5", "0x10", " 5", "ten", "99999999999999999999"];
const ADDRESSES: [&str; 5] = ["", "127.0.0.1", ":8000", "localhost:8000", "127.0.0.1:65536"];
const PATHS: [&str; 5] = ["~/file", "$HOME/file", "file\r", "file ", "a\nb"];
const SERVERS: [&str; 6] =
    ["", "127.0.0.1:8000", "ftp://h", "http://u:sesame@h", "http://:sesame@h", "http://h:1\r"];
const DATABASES: [&str; 12] = [
    "ftp://127.0.0.1/x",
    "mysql://u:sesame@127.0.0.1:nonsense/x",
    "mysql://u:sesame@127.0.0.1",
    "mysql://u:sesame@127.0.0.1/x?tls=true",
    "mysql://u:sesame@127.0.0.1/x?useSSL=true",
    "mysql://u:sesame@127.0.0.1/x\r",
    "sqlite://",
    "sqlite://kv.db?mode=rwc",
    "sqlite://kv.db\r",
    "sqlite://~/kv.db",
    "sqlite://$HOME/kv.db",
    " sqlite://kv.db",
];

/// The bad values of an option. Empty: every text is a valid value, or the option has no value. `None`: this test does not know the option.
fn bad_values(flag: &str) -> Option<Vec<&'static str>> {
    let with = |more: &[&'static str]| Some([&NO_NUMBERS, more].concat());
    match flag {
        "lanes" | "readers" | "listers" | "exports-max" | "watch-snapshots" => with(&["0", "65"]),
        "batch-ops-max" => with(&["0", "4097"]),
        "queue-ops-max" | "lookup-queue-max" | "watches-max" => with(&["0", "1048577"]),
        "queue-bytes-max" => with(&["0", "8388607", "2147483648"]),
        "lookup-keys-max" => with(&["0", "129"]),
        "list-queue-max" => with(&["0", "65537"]),
        "op-timeout-ms" | "sweep-interval-ms" => with(&["0", "99", "86400001"]),
        "changes-retention-s" => with(&["604801"]),
        "changes-bytes-max" => with(&["0", "1048575"]),
        "header-timeout-ms" | "drain-timeout-ms" => with(&["0", "86400001", "18446744073709551615"]),
        "key-bytes-max" => with(&["0", "513"]),
        "value-bytes-max" | "value-bytes" => with(&["1048577"]),
        "connections-max" | "ops-per-second" => with(&["0", "4294967296"]),
        "connection-ops-per-second" => with(&["4294967296"]),
        "ttl" => with(&["0", "3153600001"]),
        "if-rev" => with(&["9223372036854775808"]),
        "clients" => with(&["0", "65537", "18446744073709551615"]),
        "pipeline" => with(&["0", "1025"]),
        "threads" => with(&["0", "1025", "18446744073709551615"]),
        "keys" | "count" | "rate" => with(&["0"]),
        "reads" => with(&["101"]),
        "seconds" => Some(vec!["", "-1", "0", "1s", "nan", "inf", "86401"]),
        "distribution" => Some(vec!["", "normal"]),
        "listen-addr" => Some([&ADDRESSES[..], &["0.0.0.0:0", "[::]:0"]].concat()),
        "admin-addr" => Some(ADDRESSES.to_vec()),
        "database-url" | "from" => Some(DATABASES.to_vec()),
        "database-password-file"
        | "tls-cert-file"
        | "tls-key-file"
        | "token-file"
        | "ca-file"
        | "from-password-file" => {
            Some([&PATHS[..], &["", "/does/not/exist", "/dev/null", "/dev/zero", "/"]].concat())
        }
        // An empty pipe: what a command printed may have been lost. Only /dev/null, by name, means no tokens.
        "tokens-file" => Some(
            [&PATHS[..], &["", "/does/not/exist", "/dev/stdin", "/dev/../dev/null", "/dev/zero", "/"]]
                .concat(),
        ),
        "into" => Some(PATHS.to_vec()),
        "url" | "write-url" => Some(SERVERS.to_vec()),
        "allow-unsafe-durability" | "allow-anonymous" | "trust-forwarded-for" => {
            Some(vec!["", "perhaps", "2"])
        }
        "public-hosts" => Some(vec!["http://x", "a.example:80", "a/b", "*.a.example"]),
        "allowed-origins" => Some(vec!["app.example", "*", "https://a.example/", "null"]),
        "log" => Some(vec!["", "warning", "verbose", "nonsense=info", "=[", "info,debug"]),
        "otel-exporter-otlp-endpoint" => Some(vec!["127.0.0.1:4318", "ftp://127.0.0.1", "http://h:1\r"]),
        "writer-user" | "reader-user" | "otel-service-name" => Some(vec!["keywire\r", " keywire"]),
        "otel-resource-attributes" => Some(vec!["keywire", "=a", "a=%ff"]),
        // Any text, or no value.
        "prefix" | "key-prefix" | "table" | "key-column" | "value-column" | "read" | "write" | "help"
        | "version" | "rev" | "long" | "ids" | "no-fill" | "json" | "if-absent" | "dry-run" | "verify"
        | "keep" | "all" | "restored" | "no-values" | "no-snapshot" | "once" | "after" => Some(vec![]),
        _ => None,
    }
}

/// An option as the help shows it.
struct HelpOption {
    flag: String,
    variable: Option<String>,
}

/// The options of a binary, or of one of its commands.
fn options(name: &str, command: Option<&str>) -> Vec<HelpOption> {
    let args: Vec<&str> = command.into_iter().chain(["--help"]).collect();
    let help = run_to_end(name, &args, &[]);
    assert!(help.status.success(), "{name} {args:?}: {help:?}");
    let mut options: Vec<HelpOption> = Vec::new();
    for line in String::from_utf8_lossy(&help.stdout).lines() {
        let line = line.trim_start();
        if line.starts_with('-')
            && let Some((_, flag)) = line.split_once("--")
        {
            let end = flag.find(|char: char| char != '-' && !char.is_ascii_alphanumeric());
            let flag = flag[..end.unwrap_or(flag.len())].to_owned();
            options.push(HelpOption { flag, variable: None });
        }
        if let Some((_, variable)) = line.split_once("[env: ") {
            let variable = variable.split([']', '=']).next().map(str::to_owned);
            options.last_mut().expect("an option has the variable").variable = variable;
        }
    }
    assert!(options.iter().any(|option| option.flag == "help"), "{name} {args:?}: {help:?}");
    options
}

/// Runs a process that must be refused with a message that names `flag`. The error says what was wrong.
fn refused(name: &str, args: &[&str], env: &[(&str, &str)], flag: &str) -> Result<(), String> {
    // If a process accepts the bad value, it must not use the port of another process.
    let mut all = vec![
        ("LISTEN_ADDR", "127.0.0.1:0"),
        ("ADMIN_ADDR", "127.0.0.1:0"),
        ("DATABASE_URL", "mysql://nobody@127.0.0.1:1/none"),
    ];
    all.retain(|(name, _)| !env.iter().any(|(other, _)| other == name));
    all.extend_from_slice(env);
    let all: Vec<_> = all.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let output = run_to_end(name, args, &all);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let why = if output.status.code() != Some(64) {
        "it is not refused"
    } else if said.trim_end_matches('\n').lines().count() != 1 || said.contains(['\r', '\u{1b}']) {
        "it is not one line"
    } else if said.contains("sesame") {
        "a password is shown"
    } else if !said.to_lowercase().replace('_', "-").contains(flag) {
        "the option is not named"
    } else if !output.stdout.is_empty() {
        "a port was opened"
    } else {
        return Ok(());
    };
    Err(format!("{why}: {name} {args:?} {env:?}: {output:?}"))
}

/// Tries the bad values of all options of a binary. Returns what was wrong, and how many options there are.
fn try_all(name: &str, commands: &[&str]) -> (Vec<String>, usize) {
    let (mut wrong, mut tried) = (Vec::new(), BTreeSet::new());
    for command in [None].into_iter().chain(commands.iter().copied().map(Some)) {
        for HelpOption { flag, variable } in options(name, command) {
            // The options that several commands share are tried once.
            if !tried.insert((flag.clone(), variable.clone())) {
                continue;
            }
            let Some(bad) = bad_values(&flag) else {
                wrong.push(format!("{name} {command:?}: this test needs bad values of --{flag}"));
                continue;
            };
            let mut args: Vec<&str> = command.into_iter().collect();
            if flag == "from-password-file" {
                args.push("--from=mysql://u@127.0.0.1/x");
            }
            for value in bad {
                let with_flag = format!("--{flag}={value}");
                wrong.extend(refused(name, &[&args[..], &[&with_flag]].concat(), &[], &flag).err());
                // An empty variable counts as not set.
                if let Some(variable) = variable.as_deref().filter(|_| !value.is_empty()) {
                    wrong.extend(refused(name, &args, &[(variable, value)], &flag).err());
                }
            }
        }
    }
    (wrong, tried.len())
}

#[test]
fn every_option_refuses_a_bad_value_and_is_named() {
    let tried = std::thread::scope(|scope| {
        let tries = COMMANDS.map(|(name, commands)| scope.spawn(move || try_all(name, commands)));
        tries.map(|tries| tries.join().expect("it does not panic"))
    });
    let wrong: Vec<_> = tried.iter().flat_map(|(wrong, _)| wrong).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let tried = tried.map(|(_, count)| count);
    assert!(tried.iter().all(|count| *count > 20), "the help was not understood: {tried:?}");
}

#[test]
fn an_unknown_argument_and_an_option_that_is_given_twice_are_refused() {
    for (name, _) in COMMANDS {
        assert_eq!(refused(name, &["--no-such-flag"], &[], "--no-such-flag"), Ok(()));
        assert_eq!(refused(name, &["no-such-command"], &[], "no-such-command"), Ok(()));
        let twice = ["--listen-addr=127.0.0.1:0", "--listen-addr=127.0.0.1:0"];
        assert_eq!(refused(name, &twice, &[], "listen-addr"), Ok(()));
    }
}
