//! The keys with a prefix, in byte order, all of them or only those after a key.

/// The keys that begin with a prefix; all keys if it is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    prefix: String,
    /// Only keys after this one.
    after: Option<Vec<u8>>,
}

impl Range {
    /// All keys that begin with `prefix`.
    #[must_use]
    pub fn new(prefix: String) -> Self {
        Self { prefix, after: None }
    }

    /// The range without `key` and the keys before it. The key of a damaged row may be no UTF-8.
    #[must_use]
    pub fn after(self, key: Vec<u8>) -> Self {
        Self { after: Some(key), ..self }
    }

    /// Removes `key` and the keys before it from the range.
    pub fn advance(&mut self, key: &str) {
        let after = self.after.get_or_insert_default();
        after.clear();
        after.extend_from_slice(key.as_bytes());
    }

    /// The prefix of all its keys.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The lower bound (inclusive) and the upper bound (exclusive) of the range. `None`: there is no upper bound.
    pub(crate) fn bounds(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        let prefix = self.prefix.as_bytes();
        // The smallest key after another is that key and a zero byte.
        let after = self.after.as_ref().map(|after| [&after[..], &[0]].concat());
        let start = after.map_or_else(|| prefix.to_vec(), |after| after.max(prefix.to_vec()));
        let end = prefix.split_last().map(|(last, before)| {
            // UTF-8 has no byte above 0xF4.
            [before, &[last + 1]].concat()
        });
        (start, end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entry::KEY_BYTES_MAX;

    fn holds(range: &Range, key: &str) -> bool {
        let (start, end) = range.bounds();
        let key = key.as_bytes();
        key >= start.as_slice() && end.is_none_or(|end| key < end.as_slice())
    }

    /// Texts that are often prefixes of each other, with the first and the last character of Unicode.
    fn text() -> impl Strategy<Value = String> {
        proptest::collection::vec(
            prop_oneof![Just('\0'), Just('a'), Just('b'), Just('é'), Just(char::MAX)],
            0..5,
        )
        .prop_map(|characters| characters.into_iter().collect())
    }

    #[test]
    fn a_range_holds_the_longest_keys_there_are() {
        let last = char::MAX.to_string().repeat(KEY_BYTES_MAX / 4);
        for prefix in ["", &last[..4], &last] {
            assert!(holds(&Range::new(prefix.into()), &last), "{} bytes", prefix.len());
        }
    }

    proptest! {
        #[test]
        fn a_range_holds_exactly_the_keys_with_its_prefix_after_its_key(
            prefix in text(), after in proptest::option::of(text()), key in text(),
        ) {
            let mut range = Range::new(prefix.clone());
            prop_assert_eq!(holds(&range, &key), key.starts_with(&prefix));
            if let Some(after) = after {
                let expected = key.starts_with(&prefix) && key > after;
                prop_assert_eq!(holds(&range.clone().after(after.clone().into_bytes()), &key), expected);
                range.advance("b");
                range.advance(&after);
                prop_assert_eq!(holds(&range, &key), expected);
            }
        }
    }
}
