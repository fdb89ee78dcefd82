//! What reads the parts of a request, for the fuzzers of tests/fuzz. In no release.

use db::Key;

use crate::cursor;
use crate::http::{etag, fast_path};

/// The cursor that goes on after `key` in a list of `prefix`.
#[must_use]
pub fn cursor(prefix: &str, key: &str) -> String {
    cursor::encode(prefix, key)
}

/// The key that `cursor` goes on after, if it was made for `prefix`.
#[must_use]
pub fn after(prefix: &str, cursor: &str) -> Option<Key> {
    cursor::decode(prefix, cursor)
}

/// Whether a field of `If-None-Match` names `tag`.
#[must_use]
pub fn names(field: &[u8], tag: &[u8]) -> bool {
    etag::names(field, tag)
}

/// The key that a path names.
#[must_use]
pub fn key(path: &str) -> Option<String> {
    fast_path::key(path)
}
