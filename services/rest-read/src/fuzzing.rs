//! The parsers of requests, for the fuzzers of tests/fuzz. Not part of a release.

use crate::cursor;
use crate::http::{etag, fast_path};

/// The cursor of the page that begins after `key` in a list of `prefix`.
#[must_use]
pub fn cursor(prefix: &str, key: &[u8]) -> String {
    cursor::encode(prefix, key)
}

/// The key after which the page of `cursor` begins, if the cursor was made for `prefix`.
#[must_use]
pub fn after(prefix: &str, cursor: &str) -> Option<Vec<u8>> {
    cursor::decode(prefix, cursor)
}

/// Whether a field of `If-None-Match` names `tag`.
#[must_use]
pub fn names(field: &[u8], tag: &[u8]) -> bool {
    etag::names(field, tag)
}

/// The key in a path.
#[must_use]
pub fn key(path: &str) -> Option<String> {
    fast_path::key(path)
}
