//! The target of a watch: the keys with a prefix, or a set of keys.

use std::collections::BTreeSet;

use db::Key;
use sha2::{Digest as _, Sha256};

/// The keys of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// All keys with this prefix.
    Prefix(String),
    /// These keys, at least one.
    Keys(BTreeSet<Key>),
}

/// The first 8 bytes of a hash of a target. A cursor contains the fingerprint of its watch.
pub(crate) type Fingerprint = [u8; 8];

impl Target {
    /// Whether a change of `key` concerns the watch.
    pub(crate) fn covers(&self, key: &Key) -> bool {
        match self {
            Self::Prefix(prefix) => key.as_str().starts_with(prefix),
            Self::Keys(keys) => keys.contains(key),
        }
    }

    /// The fingerprint. It is the same for the same prefix, and for the same keys in any order.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        match self {
            Self::Prefix(prefix) => {
                hash.update(b"p");
                hash.update(prefix);
            }
            Self::Keys(keys) => {
                hash.update(b"k");
                for key in keys {
                    // Without the length, two short keys would hash like one long key.
                    hash.update((key.as_str().len() as u64).to_le_bytes());
                    hash.update(key.as_str());
                }
            }
        }
        let hash = hash.finalize();
        std::array::from_fn(|at| hash[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::a_key;

    fn keys(keys: &[&str]) -> Target {
        Target::Keys(keys.iter().map(|key| a_key(key)).collect())
    }

    #[test]
    fn a_watch_is_its_prefix_or_its_set_of_keys_in_any_order() {
        assert_eq!(keys(&["a", "b"]).fingerprint(), keys(&["b", "a", "b"]).fingerprint());
        let all = [
            keys(&["a", "b"]),
            keys(&["ab"]),
            keys(&["a"]),
            Target::Prefix("a".into()),
            Target::Prefix("ab".into()),
            Target::Prefix(String::new()),
        ];
        let distinct: BTreeSet<_> = all.iter().map(Target::fingerprint).collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn a_prefix_covers_the_key_that_is_equal_to_it() {
        let prefix = Target::Prefix("user/".into());
        assert!(prefix.covers(&a_key("user/")) && prefix.covers(&a_key("user/1")));
        assert!(!prefix.covers(&a_key("user")) && Target::Prefix(String::new()).covers(&a_key("x")));
        assert!(keys(&["a"]).covers(&a_key("a")) && !keys(&["a"]).covers(&a_key("ab")));
    }
}
