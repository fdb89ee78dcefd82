//! Which requests get which grants, and which files of tokens are refused.

use std::os::fd::AsRawFd as _;
use std::path::Path;

use super::*;

fn tokens(json: &str) -> Access {
    Access::parse(json).expect("a list of tokens")
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, value.parse().expect("a header value"));
    }
    headers
}

/// The SHA-256 of "secret".
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

#[test]
fn everyone_may_do_everything_where_there_are_no_tokens() {
    let access = Access::default();
    assert!(!access.is_restricted());
    let caller = access.caller(&headers(&[("authorization", "Bearer what")]), None).expect("everyone");
    assert!(
        caller.may_read("").is_ok() && caller.may_write("any").is_ok() && caller.spend(usize::MAX).is_ok()
    );
}

#[test]
fn only_the_token_itself_is_accepted() {
    let access = tokens(&format!(r#"[{{"name":"app","sha256":"{SECRET}","read":[""]}}]"#));
    let table = [
        (&[("authorization", "Bearer secret")][..], true),
        (&[("authorization", "bearer  secret ")], true),
        (&[("sec-websocket-protocol", "kv.v1, bearer.secret")], true),
        (&[("sec-websocket-protocol", "kv.v1"), ("sec-websocket-protocol", "bearer.secret")], true),
        (&[], false),
        (&[("authorization", "Bearer Secret")], false),
        (&[("authorization", "Bearer secret2")], false),
        (&[("authorization", "Bearer ")], false),
        (&[("authorization", "Bearer")], false),
        (&[("authorization", "secret")], false),
        (&[("authorization", "Basic secret")], false),
        (&[("authorization", "Bearer"), ("sec-websocket-protocol", "bearer.secret")], false),
        // A proxy may add credentials of its own.
        (&[("authorization", "Basic dTpw"), ("sec-websocket-protocol", "bearer.secret")], true),
        (&[("authorization", "Negotiate"), ("sec-websocket-protocol", "bearer.secret")], true),
        (&[("authorization", "Basic é"), ("sec-websocket-protocol", "bearer.secret")], true),
        (&[("authorization", "Basic dTpw"), ("authorization", "Bearer secret")], true),
        (&[("authorization", "Basic dTpw"), ("sec-websocket-protocol", "bearer.x")], false),
        (&[("authorization", "Basic secret"), ("sec-websocket-protocol", "kv.v1")], false),
        (&[("sec-websocket-protocol", "secret")], false),
        (&[("authorization", SECRET)], false),
        (&[("authorization", &format!("Bearer {SECRET}"))], false),
    ];
    for (fields, lets_in) in table {
        let caller = access.caller(&headers(fields), None);
        assert_eq!(caller.is_ok(), lets_in, "{fields:?}");
        if let Err(problem) = caller {
            assert_eq!(problem.code, Code::Unauthenticated);
        }
    }
    assert!(!format!("{access:?}").contains("secret"));
}

#[test]
fn a_token_grants_only_keys_with_its_prefixes() {
    let access = tokens(&format!(
        r#"[{{"name":"other","sha256":"{}","read":[""]}},
            {{"name":"app","sha256":"{SECRET}","read":["user/","é"],"write":["user/1"],"ops_per_second":2}}]"#,
        "0".repeat(64)
    ));
    let bearer = headers(&[("authorization", "Bearer secret")]);
    let caller = access.caller(&bearer, None).expect("it is known");
    for (asked, read, write) in [
        ("user/", true, false),
        ("user/1", true, true),
        ("user/12", true, true),
        ("user/2", true, false),
        ("user", false, false),
        ("", false, false),
        ("User/1", false, false),
        ("é1", true, false),
        ("e", false, false),
    ] {
        assert_eq!(
            (caller.may_read(asked).is_ok(), caller.may_write(asked).is_ok()),
            (read, write),
            "{asked:?}"
        );
    }
    assert_eq!(caller.may_read("").expect_err("too much").code, Code::Forbidden);
    assert!(caller.spend(2).is_ok());
    assert_eq!(caller.spend(1).expect_err("over its rate").code, Code::SlowDown);
    let again = access.clone().caller(&bearer, None).expect("known");
    assert!(again.spend(1).is_err(), "all connections that use a token share its rate");
}

#[test]
fn a_file_that_is_no_list_of_tokens_is_refused() {
    let other = "1".repeat(64);
    let entry = |name: &str, sha256: &str| format!(r#"{{"name":"{name}","sha256":"{sha256}","read":[""]}}"#);
    let many: Vec<String> = (0..=TOKENS_MAX).map(|n| entry(&n.to_string(), &format!("{n:064x}"))).collect();
    for (text, named) in [
        ("{}", "list"),
        ("[{}]", "line 1"),
        ("[\"kw_secret\"]", "line 1"),
        (&format!("[{}]", entry("", SECRET)), "at least one"),
        (&format!("[{}]", entry("a", "12")), "64"),
        (&format!("[{}]", entry("a", &"é".repeat(32))), "64"),
        (&format!("[{}]", entry("a", &"+1".repeat(32))), "64"),
        (&format!("[{},{}]", entry("a", SECRET), entry("a", &other)), "twice"),
        (&format!("[{},{}]", entry("a", SECRET), entry("b", &SECRET.to_uppercase())), "same"),
        (&format!(r#"[{{"name":"a","sha256":"{SECRET}"}}]"#), "nothing"),
        (&format!(r#"[{{"name":"a","sha256":"{SECRET}","read":[""],"admin":true}}]"#), "list"),
        (
            &format!(r#"[{{"name":"a","sha256":"{SECRET}","read":[""],"ops_per_second":0}}]"#),
            "ops_per_second",
        ),
        (&format!("[{}]", many.join(",")), "256"),
    ] {
        let refused = Access::parse(text).expect_err(text).to_string();
        assert!(refused.contains(named) && !refused.contains("kw_"), "{text}: {refused}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens.json");
    assert!(Access::read(&path).is_err(), "a file that is not there is no empty one");
    std::fs::write(&path, " \n").expect("writable");
    assert!(matches!(Access::read(&path), Err(BadTokens::Empty)), "everyone or nobody?");
    assert!(!Access::read(Path::new("/dev/null")).expect("no tokens").is_restricted());
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(writer);
    let pipe = format!("/proc/self/fd/{}", reader.as_raw_fd());
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/dev/null", &link).expect("a link");
    for empty in [Path::new(&pipe), &link, Path::new("/dev/../dev/null")] {
        assert!(matches!(Access::read(empty), Err(BadTokens::Empty)), "{empty:?} lets everyone in");
    }
    assert!(matches!(Access::read(Path::new("/dev/zero")), Err(BadTokens::Unreadable(_))));
    std::fs::write(&path, "[]").expect("writable");
    assert!(Access::read(&path).expect("nobody").is_restricted(), "a list without tokens lets nobody in");
}

#[test]
fn the_subprotocol_is_named_only_to_those_who_offer_it() {
    assert!(speaks_subprotocol(&headers(&[("sec-websocket-protocol", "bearer.x, kv.v1")])));
    assert!(!speaks_subprotocol(&headers(&[("sec-websocket-protocol", "kv.v10")])));
    assert!(!speaks_subprotocol(&headers(&[])));
}
