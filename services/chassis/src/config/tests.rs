//! Which configurations are refused, and what the others mean.

use super::*;
use clap::Parser as _;
use secrecy::ExposeSecret as _;

#[derive(Debug, clap::Parser)]
struct Args {
    #[command(flatten)]
    public: PublicArgs,
}

fn validate(listen: &str, args: &[&str]) -> Result<Public, String> {
    let args = Args::try_parse_from([&["test"], args].concat());
    let args = args.map_err(command_line::message)?;
    let listen = listen.parse().expect("an address");
    args.public.validate(listen).map_err(|error| error.to_string())
}

#[test]
fn the_defaults_serve_this_machine() {
    let public = validate("127.0.0.1:8001", &[]).expect("defaults are valid");
    assert_eq!(public.limits, ConnectionLimits::default());
    assert_eq!(public.origin.public_hosts, ["localhost", "127.0.0.1", "[::1]"]);
    assert!(public.origin.allowed.is_empty());
    assert_eq!(public.drain_timeout, Duration::from_secs(15));
}

#[test]
fn a_collector_that_would_get_no_traces_is_refused() {
    let collector = "--otel-exporter-otlp-endpoint=http://localhost:4318";
    let endpoint = |args: &[&str]| validate("127.0.0.1:1", args).map(|public| public.otlp_endpoint);
    let used = Ok(Some("http://localhost:4318".to_owned()));
    assert_eq!(endpoint(&[collector]), used);
    assert_eq!(endpoint(&[collector, "--otel-exporter-otlp-protocol=http/protobuf"]), used);
    assert_eq!(endpoint(&[collector, "--otel-sdk-disabled=false"]), used);
    assert_eq!(endpoint(&[collector, "--otel-sdk-disabled=TRUE"]), Ok(None));
    assert_eq!(endpoint(&["--otel-exporter-otlp-protocol=grpc"]), Ok(None), "there are no traces");
    for (args, advice) in [
        (&[collector, "--otel-exporter-otlp-protocol=grpc"][..], "http/protobuf"),
        (&["--otel-exporter-otlp-endpoint=http://h:4318/v1/traces/"], "leave /v1/traces out"),
        (
            &["--otel-exporter-otlp-traces-endpoint=http://h:4318/v1/traces"],
            "set OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
    ] {
        let refusal = endpoint(args).expect_err(advice);
        assert!(refusal.contains(advice), "{refusal}");
    }
}

#[test]
fn other_machines_are_served_only_when_that_was_asked_for() {
    for listen in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"] {
        let refusal = validate(listen, &[]).expect_err("no tokens");
        assert!(refusal.contains("ALLOW_ANONYMOUS") && refusal.contains(listen));
        assert!(validate(listen, &["--allow-anonymous=false"]).is_err());
        assert!(validate(listen, &["--allow-anonymous"]).is_ok());
        assert!(validate(listen, &["--allow-anonymous=true"]).is_ok());
    }
    assert!(validate("[::1]:1", &[]).is_ok());
}

#[test]
fn an_invalid_value_is_refused_in_one_line_that_names_it() {
    let table = [
        ("--allowed-origins=*", "ALLOWED_ORIGINS"),
        ("--allowed-origins=https://a.example/", "ALLOWED_ORIGINS"),
        ("--allowed-origins=https://a.example:443", "ALLOWED_ORIGINS"),
        ("--allowed-origins=null", "ALLOWED_ORIGINS"),
        ("--allowed-origins=https://a.example,wss://b.example", "wss://b.example"),
        ("--allowed-origins=https://a.*.example", "ALLOWED_ORIGINS"),
        ("--public-hosts=a.example:80", "PUBLIC_HOSTS"),
        ("--public-hosts=b.example,*.a.example", "*.a.example"),
        ("--log=a=b=c", "LOG"),
        ("--log=warning", "LOG"),
        ("--connections-max=0", "--connections-max"),
        ("--header-timeout-ms=soon", "--header-timeout-ms"),
        ("--what", "--what"),
    ];
    for (arg, name) in table {
        let refusal = validate("127.0.0.1:1", &[arg]).expect_err(arg);
        assert!(refusal.contains(name) && !refusal.contains('\n'), "{refusal}");
    }
}

#[test]
fn empty_entries_are_no_entries() {
    let args = ["--allowed-origins=https://a.example, ,", "--otel-exporter-otlp-endpoint="];
    let public = validate("127.0.0.1:1", &args).expect("valid");
    assert_eq!(public.origin.allowed, ["https://a.example".parse().expect("an origin")]);
    assert_eq!(public.otlp_endpoint, None);
}

#[test]
fn a_secret_is_its_file_without_the_line_end_and_is_never_printed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("password");
    std::fs::write(&path, " pass word\r\n").expect("writable");
    let secret = read_secret(&path).expect("a secret");
    assert_eq!(secret.expose_secret(), " pass word");
    assert!(!format!("{secret:?}").contains("pass"));
    std::fs::write(&path, "\n").expect("writable");
    assert!(read_secret(&path).is_err());
    assert!(read_secret(&folder.path().join("missing")).is_err());
}

#[test]
fn an_empty_or_endless_file_is_refused_and_never_counts_as_a_setting_that_is_not_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").expect("writable");
    let text = folder.path().join("text");
    std::fs::write(&text, "no certificate\n").expect("writable");
    let paths = [empty.as_path(), &text, folder.path(), Path::new("/dev/null"), Path::new("/dev/zero")];
    for path in paths.map(|path| path.display().to_string()) {
        let tls = [format!("--tls-cert-file={path}"), format!("--tls-key-file={path}")];
        let refusal = validate("127.0.0.1:1", &[&tls[0], &tls[1]]).expect_err(&path);
        assert!(refusal.contains("TLS_CERT_FILE") && refusal.contains(&path), "{refusal}");
        if path != "/dev/null" {
            let refusal = validate("127.0.0.1:1", &[&format!("--tokens-file={path}")]).expect_err(&path);
            assert!(refusal.contains("TOKENS_FILE") && refusal.contains(&path), "{refusal}");
        }
        if path != text.display().to_string() {
            assert!(read_secret(Path::new(&path)).is_err(), "{path}");
        }
    }
}

#[test]
fn files_that_do_not_make_a_certificate_and_its_key_are_refused_in_words_that_help() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("writable");
        path.display().to_string()
    };
    let issue = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("it can be issued");
    let (own, other) = (issue(), issue());
    let cert = file("cert.pem", own.cert.pem().as_bytes());
    let key_pem = own.signing_key.serialize_pem();
    let key = file("key.pem", key_pem.as_bytes());
    let other_key = file("other.pem", other.signing_key.serialize_pem().as_bytes());
    let encrypted = key_pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let encrypted = file("encrypted.pem", encrypted.as_bytes());
    let older = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let older = file("older.pem", older.as_bytes());
    let text = file("text.pem", b"hello\n");
    let der = file("cert.der", own.cert.der());
    let cut = file("cut.pem", &own.cert.pem().as_bytes()[..200]);
    let tried = |cert: &str, key: &str| {
        let tls = [format!("--tls-cert-file={cert}"), format!("--tls-key-file={key}")];
        validate("127.0.0.1:1", &[&tls[0], &tls[1]])
    };
    assert!(tried(&cert, &key).is_ok());
    for (cert, key, setting, what) in [
        (&cert, &encrypted, "TLS_KEY_FILE", "openssl pkey"),
        (&cert, &older, "TLS_KEY_FILE", "is encrypted"),
        (&cert, &other_key, "TLS_KEY_FILE", "is not that of the first certificate"),
        (&key, &cert, "TLS_CERT_FILE", "is it the other file"),
        (&cert, &cert, "TLS_KEY_FILE", "is it the other file"),
        (&text, &key, "TLS_CERT_FILE", "-----BEGIN CERTIFICATE-----"),
        (&cert, &text, "TLS_KEY_FILE", "-----BEGIN PRIVATE KEY-----"),
        (&der, &key, "TLS_CERT_FILE", "openssl x509 -inform der"),
        (&cut, &key, "TLS_CERT_FILE", "damaged"),
    ] {
        let refusal = tried(cert, key).expect_err(what);
        assert!(refusal.contains(setting) && refusal.contains(what), "{what}: {refusal}");
        assert!(!refusal.contains('\n'), "{refusal}");
    }
}

#[test]
fn an_address_that_is_a_name_or_has_no_port_is_refused_with_an_example() {
    for text in ["8000", ":8000", "localhost:8000", "127.0.0.1", "::1:8000", "http://127.0.0.1:8000"] {
        let refusal = socket_address(text).expect_err(text);
        assert!(refusal.contains("an IP address and a port, such as 127.0.0.1:8000"), "{refusal}");
    }
    assert!(socket_address("[::1]:8000").is_ok());
}
