//! The form of the keys in a row of the log of changes: each key after its length, which has two bytes, the higher one first. Pure.

use crate::entry::Key;

/// The most bytes of a part (one row), even if a statement may be longer: a reader of the log has a whole part in memory.
pub(crate) const PART_BYTES_MAX: usize = 1024 * 1024;

/// Packs `keys` into parts of at most `part_bytes_max` bytes. A longer key is a part by itself.
pub(crate) fn pack<'k>(keys: impl Iterator<Item = &'k [u8]>, part_bytes_max: usize) -> Vec<Vec<u8>> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for key in keys {
        let len = u16::try_from(key.len()).expect("a key has at most 512 bytes").to_be_bytes();
        match parts.last_mut() {
            Some(part) if part.len() + len.len() + key.len() <= part_bytes_max => {
                part.extend_from_slice(&len);
                part.extend_from_slice(key);
            }
            Some(_) | None => parts.push([&len, key].concat()),
        }
    }
    parts
}

/// The keys of one part. `None` ends it early if the part is damaged.
pub(crate) fn unpack(mut part: &[u8]) -> impl Iterator<Item = Option<Key>> {
    std::iter::from_fn(move || {
        if part.is_empty() {
            return None;
        }
        let key = first(&mut part);
        if key.is_none() {
            part = &[];
        }
        Some(key)
    })
}

/// Takes the first key out of `part`.
fn first(part: &mut &[u8]) -> Option<Key> {
    let (len, rest) = part.split_first_chunk::<2>()?;
    let (key, rest) = rest.split_at_checked(u16::from_be_bytes(*len).into())?;
    *part = rest;
    Key::new(String::from_utf8(key.to_vec()).ok()?, crate::entry::KEY_BYTES_MAX).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_come_back_in_order_and_parts_are_bounded(
            keys in prop::collection::vec("\\PC{1,40}", 0..50),
            part_bytes_max in 10_usize..200,
        ) {
            let parts = pack(keys.iter().map(String::as_bytes), part_bytes_max);
            let found: Vec<String> = parts
                .iter()
                .flat_map(|part| unpack(part))
                .map(|key| key.expect("it is whole").as_str().to_owned())
                .collect();
            prop_assert_eq!(&found, &keys);
            for part in &parts {
                prop_assert!(part.len() <= part_bytes_max || unpack(part).count() == 1);
            }
        }

        #[test]
        fn a_part_that_is_cut_says_so(key in "[a-z]{1,9}", cut in 1_usize..3) {
            let part = pack([key.as_bytes()].into_iter(), 100).remove(0);
            let found: Vec<_> = unpack(&part[..part.len() - cut]).collect();
            prop_assert_eq!(found, vec![None]);
        }
    }
}
