//! Which hosts are served, and which requests name none.

use super::*;

/// A rule with these names.
fn no_foreign_names(listed: &[&str]) -> HostRule {
    HostRule::NoForeignNames(listed.iter().map(|&name| name.to_owned()).collect())
}

#[test]
fn a_name_that_somebody_else_can_rebind_is_forbidden_without_tokens() {
    let rule = no_foreign_names(&["localhost", "127.0.0.1", "[::1]", "kv.example"]);
    for host in [
        // Addresses.
        "127.0.0.1",
        "127.0.0.1:8000",
        "192.0.2.7:1",
        "[::1]",
        "[::1]:8000",
        "[2001:db8::1]:",
        "[::ffff:127.0.0.1]",
        "[fe80::1%25eth0]:8000",
        // Addresses in other spellings, which browsers do not look up.
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1:80",
        "127.1",
        "127.0.0.1.",
        "1.2.3.4.5",
        // Names without a dot.
        "localhost",
        "LocalHost:8000",
        "rest-read:8002",
        "keywire_rest-read_1",
        "evil",
        // Listed names.
        "localhost.",
        "kv.example",
        "KV.Example:443",
        "kv.example.:443",
    ] {
        assert_eq!(rule.check(Some(host.as_bytes())), Ok(()), "{host}");
        assert_eq!(HostRule::Any.check(Some(host.as_bytes())), Ok(()), "{host}");
    }
    for host in [
        "evil.test",
        "evil.test:8000",
        "EVIL.TEST",
        "evil.test.",
        "evil.",
        "1.2.3.4.evil.test",
        "127.0.0.1.evil.test",
        "127.0.0.1.nip.io",
        "localhost.evil.test",
        "kv.example.evil.test",
        "evil.kv.example",
        "akv.example",
        "kv.example..",
        ".kv.example",
        "0x7f.1.evil",
        "a.localhost",
        "..",
        "-1.2",
    ] {
        let problem = rule.check(Some(host.as_bytes())).expect_err(host);
        assert_eq!(problem.code, Code::Forbidden, "{host}");
        let name = host.split(':').next().unwrap_or_default();
        assert!(problem.message.contains("PUBLIC_HOSTS") && problem.message.contains(name), "{problem}");
        assert_eq!(HostRule::Any.check(Some(host.as_bytes())), Ok(()), "a token keeps a page out: {host}");
    }
    assert!(no_foreign_names(&["kv.example."]).check(Some(b"kv.example")).is_ok());
    assert_eq!(rule.check(None), Ok(()), "HTTP/1.0 without a host");
}

#[test]
fn what_is_no_host_is_a_bad_host_with_tokens_too() {
    let long = "a".repeat(HOST_BYTES_MAX + 1);
    for host in [
        "",
        ":80",
        "localhost:x",
        "localhost:+80",
        "localhost:65536",
        "localhost:80:80",
        "localhost:80 ",
        "a b",
        "user@localhost",
        "user:80@localhost",
        "localhost/",
        "evil%2Etest",
        "evil.test,localhost",
        "*",
        "::1",
        "[::1",
        "[::1]x",
        "[::1]:x",
        "[127.0.0.1]",
        "[evil.test]",
        "[evil.test%25eth0]",
        "[]",
        &long,
    ] {
        for rule in [HostRule::Any, no_foreign_names(&["localhost"])] {
            assert_eq!(rule.check(Some(host.as_bytes())).expect_err(host).code, Code::BadHost, "{host:?}");
        }
    }
    let latin = HostRule::Any.check(Some(b"\xe9.test")).expect_err("it is not ASCII");
    assert_eq!(latin.code, Code::BadHost);
}

#[test]
fn a_request_names_one_host_and_its_target_goes_before_its_header() {
    let named = |target: &str, version, hosts: &[&'static [u8]]| {
        let uri: Uri = target.parse().expect("a target");
        let last = hosts.last().map(|host| HeaderValue::from_bytes(host).expect("a header value"));
        let found = authority(&uri, version, HostFields { last: last.as_ref(), count: hosts.len() });
        found.map(|found| found.map(<[u8]>::to_vec)).map_err(|problem| problem.code)
    };
    let (one, zero) = (Version::HTTP_11, Version::HTTP_10);
    let host = |name: &str| Ok(Some(name.as_bytes().to_vec()));
    assert_eq!(named("/k", one, &[b"a:80"]), host("a:80"));
    assert_eq!(named("/k", zero, &[b"a"]), host("a"));
    assert_eq!(named("/k", zero, &[]), Ok(None));
    assert_eq!(named("/k", one, &[]), Err(Code::BadHost));
    for version in [one, zero] {
        assert_eq!(named("/k", version, &[b"a", b"a"]), Err(Code::BadHost));
        assert_eq!(named("http://evil.test:1/k", version, &[b"localhost"]), host("evil.test:1"));
    }
    assert_eq!(named("http://localhost/k", one, &[]), Err(Code::BadHost));
    assert_eq!(named("http://localhost/k", one, &[b"a", b"b"]), Err(Code::BadHost));
    assert_eq!(named("http://localhost/k", zero, &[]), host("localhost"));
}
