//! A part of the keys, in byte order: those with a prefix, or what is left of them after a key.

/// The keys that begin with a prefix; all keys if it is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    prefix: String,
    /// Only keys after this one.
    after: Option<String>,
}

impl Range {
    /// All keys that begin with `prefix`.
    #[must_use]
    pub fn new(prefix: String) -> Self {
        Self { prefix, after: None }
    }

    /// The same without `key` and what comes before it.
    #[must_use]
    pub fn after(self, key: String) -> Self {
        Self { after: Some(key), ..self }
    }

    /// Goes on after `key`.
    pub fn advance(&mut self, key: &str) {
        let after = self.after.get_or_insert_default();
        after.clear();
        after.push_str(key);
    }

    /// What its keys begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The first key that could be in it, and the first one behind it, if any key can be.
    pub(crate) fn bounds(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        let prefix = self.prefix.as_bytes();
        // The smallest key after another is that key and a zero byte.
        let after = self.after.as_ref().map(|key| [key.as_bytes(), &[0]].concat());
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

    /// Texts that are prefixes of each other more often than not, with the first and the last character there is.
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
                prop_assert_eq!(holds(&range.clone().after(after.clone()), &key), expected);
                range.advance("b");
                range.advance(&after);
                prop_assert_eq!(holds(&range, &key), expected);
            }
        }
    }
}
