//! Hints, in groups that one statement names.

use crate::sweeper::hint::Hint;

/// Fewer hints of one instant do not have a statement of their own.
const SAME_MIN: usize = 8;

/// The most hints of different instants in one statement. The time that a server takes to plan such a statement grows with the square of
/// this number: 150 ms for 1024.
const MIXED_MAX: usize = 32;

/// Hints that one statement names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HintGroup<'h> {
    /// Several hints of one instant.
    Same(&'h [Hint]),
    /// Hints of different instants.
    Mixed(&'h [Hint]),
}

/// The groups of `hints`, which are sorted.
pub(super) fn groups(hints: &[Hint]) -> Vec<HintGroup<'_>> {
    let mut groups = Vec::new();
    // The hints up to here are in groups, and those before `from` are of different instants.
    let (mut done, mut from) = (0, 0);
    for same in hints.chunk_by(|a, b| a.at == b.at) {
        if same.len() >= SAME_MIN {
            groups.extend(hints[done..from].chunks(MIXED_MAX).map(HintGroup::Mixed));
            groups.push(HintGroup::Same(same));
            done = from + same.len();
        }
        from += same.len();
    }
    groups.extend(hints[done..].chunks(MIXED_MAX).map(HintGroup::Mixed));
    groups
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_hint_is_in_one_group(
            runs in prop::collection::vec((0_u64..40, 1_usize..12), 0..40),
        ) {
            let hint = |(at, count): (u64, usize)| (0..count).map(move |n| Hint { at, key: vec![u8::try_from(n).expect("few")] });
            let mut hints: Vec<Hint> = runs.into_iter().flat_map(hint).collect();
            hints.sort();
            hints.dedup();
            let mut found = Vec::new();
            for group in groups(&hints) {
                match group {
                    HintGroup::Same(same) => {
                        prop_assert!(same.len() >= SAME_MIN && same.iter().all(|hint| hint.at == same[0].at));
                        found.extend_from_slice(same);
                    }
                    HintGroup::Mixed(mixed) => {
                        prop_assert!((1..=MIXED_MAX).contains(&mixed.len()));
                        found.extend_from_slice(mixed);
                    }
                }
            }
            prop_assert_eq!(found, hints);
        }
    }
}
