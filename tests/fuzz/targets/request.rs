//! The parsers of any request accept or refuse their input: the key in a path, the cursor of a list, `If-None-Match`.
//!
//! The input is a path, a prefix, a cursor and a tag, one line each. The rest is the header field.

#![no_main]

use std::sync::LazyLock;

use futures_util::FutureExt as _;
use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use poem::http::Uri;
use poem::{Endpoint, Request, Route, endpoint::make_sync, get};
use rest_read::fuzzing::{after, cursor, key, names};

/// The route of one key, in the framework.
static ROUTE: LazyLock<Route> = LazyLock::new(|| {
    let key = |request: Request| request.raw_path_param("key").unwrap_or_default().to_owned();
    Route::new().at("/storage/:key", get(make_sync(key)))
});

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(5, |&byte| byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let (path, prefix, given, tag, field) = (part(), part(), part(), part(), part());
    if let (Ok(path), Ok(prefix), Ok(given)) =
        (str::from_utf8(path), str::from_utf8(prefix), str::from_utf8(given))
    {
        paths(path);
        cursors(prefix, given);
        cursors(prefix, path);
    }
    if !tag.contains(&b'"') {
        tags(field, tag);
    }
});

/// The fast path finds the same key in a path as the framework, or leaves the path to the framework.
fn paths(text: &str) {
    if let Ok(uri) = text.parse::<Uri>()
        && let Some(key) = key(uri.path())
    {
        let request = Request::builder().uri(uri).finish();
        let response =
            ROUTE.call(request).now_or_never().expect("nothing to wait for").expect("there is a route");
        let found = response.into_body().into_string().now_or_never().expect("it is in memory");
        assert_eq!(found.expect("it is text"), key);
    }
    if !text.is_empty() {
        let path = format!("/storage/{}", utf8_percent_encode(text, NON_ALPHANUMERIC));
        assert_eq!(key(&path).as_deref(), Some(text));
    }
}

/// An accepted cursor of `prefix` is one that was made for it, and contains its key.
fn cursors(prefix: &str, text: &str) {
    if let Some(key) = after(prefix, text) {
        assert_eq!(cursor(prefix, &key), text);
    }
    let made = cursor(prefix, text.as_bytes());
    assert_eq!(after(prefix, &made).as_deref(), Some(text.as_bytes()));
    assert_eq!(after(&format!("{prefix}x"), &made), None);
}

/// A field matches only tags in it. The first tag matches, whatever follows.
fn tags(field: &[u8], tag: &[u8]) {
    let quoted = [b"\"", tag, b"\""].concat();
    if names(field, tag) {
        let stands = field.trim_ascii() == b"*" || field.windows(quoted.len()).any(|part| part == quoted);
        assert!(stands, "{} is not in it", tag.escape_ascii());
    }
    assert!(names(&[&quoted, &b" , "[..], field].concat(), tag));
    assert!(names(&[b"W/", &quoted[..], b",", field].concat(), tag));
}
