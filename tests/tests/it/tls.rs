//! TLS on both public ports, if there is a certificate, and on the connection to the database.

use std::time::Instant;

use e2e::{
    BinaryRun, Certificates, Database, DatabaseServer, EngineKind, PATIENCE, Role, ServiceProcess, System,
    eventually, promises, run_to_end, within,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

promises! {
    every:
        what_is_written_over_tls_is_read_over_tls,
        a_server_without_a_trusted_certificate_is_refused,
        a_client_without_a_handshake_is_closed;
    sqlite:
        a_certificate_that_is_named_itself_is_trusted_for_its_names,
        a_url_for_the_other_protocol_is_told_so;
    sql:
        a_service_refuses_a_database_with_a_certificate_for_another_name;
}

/// A system whose public ports speak TLS.
async fn system(engine: EngineKind, certificates: &Certificates) -> System {
    let (cert, key) = (certificates.certificate(), certificates.key());
    System::start_with_settings(engine, &[("TLS_CERT_FILE", &cert), ("TLS_KEY_FILE", &key)]).await
}

/// The environment with which the command line finds `system` and trusts `authority`.
fn env(system: &System, authority: &str) -> Vec<(String, String)> {
    [
        ("KEYWIRE_URL", format!("https://{}", system.http())),
        ("KEYWIRE_WRITE_URL", format!("https://{}", system.ws())),
        ("KEYWIRE_CA_FILE", authority.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

async fn what_is_written_over_tls_is_read_over_tls(engine: EngineKind) {
    let certificates = Certificates::new(&["127.0.0.1"]);
    let system = system(engine, &certificates).await;
    let env = env(&system, &certificates.authority());
    let large = "a \"value\" \u{1f600}\n".repeat(50_000);
    let mut put = BinaryRun::start("keywire", &["put", "k", "-"], &env);
    put.feed(large.as_bytes());
    let put = put.end();
    assert!(put.status.success(), "{put:?}");
    let got = run_to_end("keywire", &["get", "k"], &env);
    assert!(got.status.success() && got.stdout == large.as_bytes(), "{:?}", got.status);
    let bench = run_to_end("keywire", &["bench", "-c", "4", "-p", "16", "-n", "2000", "--json"], &env);
    assert!(bench.status.success(), "{bench:?}");
}

async fn a_server_without_a_trusted_certificate_is_refused(engine: EngineKind) {
    let certificates = Certificates::new(&["localhost"]);
    let system = system(engine, &certificates).await;
    // An unknown authority; a known authority, but a certificate for another name.
    let stranger = Certificates::new(&["127.0.0.1"]);
    for (authority, why) in [
        (stranger.authority(), "not signed by a CA that is trusted"),
        (certificates.authority(), "not for the name 127.0.0.1"),
    ] {
        let refused = run_to_end("keywire", &["put", "k", "v"], &env(&system, &authority));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(69) && said.contains(why), "{said}");
    }
    assert_eq!(system.database.entries().await, 0);
    // A client without TLS gets no response either.
    let mut plain = TcpStream::connect(system.http()).await.expect("the port is open");
    plain.write_all(b"GET /storage/k HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("it is open");
    let mut answer = Vec::new();
    let read = within("the end", PATIENCE, plain.read_to_end(&mut answer)).await;
    assert!(read.is_err() || !answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
}

async fn a_certificate_that_is_named_itself_is_trusted_for_its_names(engine: EngineKind) {
    let certificates = Certificates::self_signed(&["127.0.0.1"]);
    let system = system(engine, &certificates).await;
    let put = run_to_end("keywire", &["put", "k", "v"], &env(&system, &certificates.certificate()));
    assert!(put.status.success(), "{put:?}");
    let refused = |certificates: &Certificates, system: &System, why: &str| {
        let put = run_to_end("keywire", &["put", "k", "v"], &env(system, &certificates.certificate()));
        let said = String::from_utf8_lossy(&put.stderr).into_owned();
        assert!(put.status.code() == Some(69) && said.contains(why), "{said}");
    };
    let twin = Certificates::self_signed(&["127.0.0.1"]);
    refused(&twin, &system, "certificate of the server");
    let elsewhere = Certificates::self_signed(&["localhost"]);
    let other = self::system(engine, &elsewhere).await;
    refused(&elsewhere, &other, "not for the name 127.0.0.1");
    assert_eq!(other.database.entries().await, 0);
}

async fn a_url_for_the_other_protocol_is_told_so(engine: EngineKind) {
    let certificates = Certificates::new(&["127.0.0.1"]);
    let (tls, plain) = (system(engine, &certificates).await, System::start(engine).await);
    for (system, scheme, right) in [(&tls, "http", "https://"), (&plain, "https", "http://")] {
        let url = format!("--url={scheme}://{}", system.http());
        for command in [&["put", "k", "v"][..], &["get", "k"], &["ls"]] {
            let output = run_to_end("keywire", &[command, &[url.as_str()]].concat(), &[]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let advice = format!("the URL begins with {right}");
            assert!(output.status.code() == Some(69) && said.contains(&advice), "{command:?} {url}: {said}");
        }
    }
}

async fn a_client_without_a_handshake_is_closed(engine: EngineKind) {
    let system = system(engine, &Certificates::new(&["127.0.0.1"])).await;
    let opened = Instant::now();
    let mut silent = TcpStream::connect(system.ws()).await.expect("the port is open");
    let read = within("the end", PATIENCE, silent.read(&mut [0; 100])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert!((4..8).contains(&opened.elapsed().as_secs()), "5 s as for a header: {:?}", opened.elapsed());
}

async fn a_service_refuses_a_database_with_a_certificate_for_another_name(engine: EngineKind) {
    let (ours, theirs) = (Certificates::new(&["localhost"]), Certificates::new(&["localhost"]));
    let folder = server_files(&ours);
    let args = ["ca.pem", "cert.pem", "key.pem"].map(|file| format!("{}/{file}", folder.path().display()));
    let args: Vec<_> = ["--ssl-ca=", "--ssl-cert=", "--ssl-key="]
        .iter()
        .zip(&args)
        .map(|(option, file)| format!("{option}{file}"))
        .collect();
    let mut server = DatabaseServer::new(engine, &args.iter().map(String::as_str).collect::<Vec<_>>());
    server.mount(folder.path());
    server.start().await;
    let database = Database::planned(engine, Some(server.url()));
    database.create().await;
    database.migrate();
    let port = database.addr().port();
    for (host, authority, trusted) in [
        ("localhost", ours.authority(), true),
        ("localhost", theirs.authority(), false),
        // The certificate is not for this name.
        ("127.0.0.1", ours.authority(), false),
    ] {
        let mut env = database.env_at(Role::Writer, &format!("{host}:{port}"));
        for (name, value) in &mut env {
            if name == "DATABASE_URL" {
                let (bare, _) = value.split_once('?').unwrap_or((value, ""));
                *value = format!("{bare}?ssl-mode=VERIFY_IDENTITY&ssl-ca={authority}");
            }
        }
        let writer = ServiceProcess::start("ws-ingest", &env);
        if trusted {
            writer.ready().await;
            continue;
        }
        eventually("it says why it does not trust it", PATIENCE, async || {
            if writer.log().contains("certificate") { Ok(()) } else { Err(writer.log()) }
        })
        .await;
        assert!(writer.readiness().await.is_err());
    }
}

/// Makes the files in a folder readable for a server that runs as any user.
fn server_files(certificates: &Certificates) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder can be made");
    let copy = |from: String, name: &str| {
        let to = folder.path().join(name);
        std::fs::copy(from, &to).expect("a file can be copied");
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
    };
    copy(certificates.authority(), "ca.pem");
    copy(certificates.certificate(), "cert.pem");
    copy(certificates.key(), "key.pem");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    folder
}
