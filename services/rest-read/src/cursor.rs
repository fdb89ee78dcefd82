//! Cursors: where the next page of a list begins. A cursor holds a key, and a check that it belongs to a prefix. It is opaque to
//! clients.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// Enough to detect a damaged cursor or one of another prefix. A cursor keeps no secret.
const CHECK_BYTES: usize = 8;

/// The cursor of the page that begins after `key` in a list of `prefix`.
pub(crate) fn encode(prefix: &str, key: impl AsRef<[u8]>) -> String {
    let key = key.as_ref();
    let cursor = [&check(prefix, key)[..], key].concat();
    URL_SAFE_NO_PAD.encode(cursor)
}

/// The key after which the page of `cursor` begins. `None` unless [`encode`] made the cursor for `prefix`. The key of a damaged row
/// may be no UTF-8.
pub(crate) fn decode(prefix: &str, cursor: &str) -> Option<Vec<u8>> {
    let cursor = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (found, key) = cursor.split_at_checked(CHECK_BYTES)?;
    (found == check(prefix, key)).then(|| key.to_vec())
}

fn check(prefix: &str, key: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hash = Sha256::new();
    // Without the length, a prefix and a key would hash like a shorter prefix and a longer key.
    hash.update((prefix.len() as u64).to_le_bytes());
    hash.update(prefix);
    hash.update(key);
    let hash = hash.finalize();
    std::array::from_fn(|at| hash[at])
}

#[cfg(test)]
mod tests {
    use db::KEY_BYTES_MAX;
    use proptest::prelude::*;

    use super::*;

    /// Ordinary keys, and keys at the edges of the encodings.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            "[a-z/]{1,12}".prop_map(String::into_bytes),
            "\\PC{1,8}".prop_map(String::into_bytes),
            Just(vec![0]),
            Just(vec![0xff]),
            Just(vec![b'k'; KEY_BYTES_MAX])
        ]
    }

    proptest! {
        #[test]
        fn a_cursor_leads_back_to_its_key(prefix in "\\PC{0,4}", key in key()) {
            let cursor = encode(&prefix, &key);
            prop_assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
            prop_assert_eq!(decode(&prefix, &cursor), Some(key));
        }

        #[test]
        fn a_cursor_is_of_one_prefix_only(prefix in "[ab]{0,3}", other in "[ab]{0,3}", key in key()) {
            prop_assume!(prefix != other);
            prop_assert_eq!(decode(&other, &encode(&prefix, &key)), None);
        }

        #[test]
        fn a_cursor_that_was_touched_is_none(key in key(), at in any::<prop::sample::Index>(), put in "[A-Za-z0-9_=+-]") {
            let cursor = encode("p", &key);
            let at = at.index(cursor.len());
            let touched = [&cursor[..at], &put, &cursor[at + 1..]].concat();
            prop_assert_eq!(decode("p", &touched).is_some(), touched == cursor, "{}", touched);
            let inserted = [&cursor[..at], &put, &cursor[at..]].concat();
            prop_assert_eq!(decode("p", &inserted), None, "{}", inserted);
            prop_assert_eq!(decode("p", &cursor[..at]), None);
        }

        #[test]
        fn a_text_is_no_cursor(text in "\\PC{0,40}") {
            prop_assert_eq!(decode("", &text), None);
        }
    }
}
