//! When the sweeper looks at a key, and which entries it removes. Pure.

use crate::entry::Expiry;
use crate::plan::run::Row;

/// The sweeper removes an entry only if its expiry and its revision are this far behind the stored time, in microseconds.
///
/// The next revision of a key without a row comes from the store clock. So revisions grow only if the removed one is well behind
/// the time that a transaction which began earlier has seen. No transaction lasts this long.
const MARGIN: u64 = 10 * 60 * 1_000_000;

/// The most hints of one transaction. Writers wait for the rows that it locks.
pub(crate) const HINTS_PER_SWEEP_MAX: usize = 256;

/// When the sweeper is to look at a key: a row of the table `expiries`. `at` is a multiple of ten minutes. It is not the expiry
/// itself, although the comment in the migration says so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hint {
    /// Microseconds since 1970.
    pub(crate) at: u64,
    pub(crate) key: Vec<u8>,
}

/// A hint lies at most this far ahead, in microseconds. An entry that lives longer gets another hint when the sweeper looks at it.
const AHEAD: u64 = 60 * 60 * 1_000_000;

/// Hints lie at multiples of this, in microseconds, so that a key whose expiry is put off again and again has few hints.
const SLOT: u64 = 10 * 60 * 1_000_000;

impl Hint {
    /// The hint of a row that was just written. `None` if the row never expires.
    pub(crate) fn of(row: &Row<'_>) -> Option<Self> {
        // The revision is the clock of the database at the start of the transaction, or ahead of it.
        let now = row.rev;
        let end = match row.expiry {
            Expiry::Never => return None,
            // Saturates, because the hint lies at most an hour ahead anyway.
            Expiry::After(seconds) => now.saturating_add(seconds.saturating_mul(1_000_000)),
            Expiry::At(at) => at,
        };
        Some(Self::at(end.max(now), now, row.key.as_str().as_bytes().to_vec()))
    }

    /// The hint of `key`, which is not ripe before `end`.
    fn at(end: u64, now: u64, key: Vec<u8>) -> Self {
        let at = end.min(now.saturating_add(AHEAD));
        Self { at: at.div_ceil(SLOT) * SLOT, key }
    }
}

/// An entry that a hint led to, locked.
#[derive(Debug, Clone)]
pub(crate) struct HintedEntry {
    pub(crate) key: Vec<u8>,
    pub(crate) rev: u64,
    pub(crate) expires_at: Option<u64>,
}

/// The work of one transaction.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sweep {
    /// Entries to remove, in key order.
    pub(crate) dead: Vec<Vec<u8>>,
    /// Hints that replace the processed ones.
    pub(crate) later: Vec<Hint>,
}

/// The keys of `hints`, each once, in order.
pub(crate) fn keys_of(hints: &[Hint]) -> Vec<&[u8]> {
    let mut keys: Vec<&[u8]> = hints.iter().map(|hint| hint.key.as_slice()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The last instant whose hints can be ripe at the instant `now`. Both are microseconds since 1970.
pub(crate) fn ripe(now: u64) -> u64 {
    // In the first minutes of 1970 nothing is ripe.
    now.saturating_sub(MARGIN)
}

impl Sweep {
    /// Decides about the entries that hints led to. The hints are used up.
    pub(crate) fn of(found: Vec<HintedEntry>, now: u64) -> Self {
        let mut sweep = Self::default();
        for HintedEntry { key, rev, expires_at } in found {
            // An entry that never expires needs no hint.
            let Some(expires_at) = expires_at else { continue };
            let end = expires_at.max(rev);
            if end <= ripe(now) {
                sweep.dead.push(key);
            } else {
                sweep.later.push(Hint::at(end, now, key));
            }
        }
        sweep
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Key;
    use crate::plan::run::TOMBSTONE;

    /// The beginning of a slot.
    const NOW: u64 = 1_800_000_000_000_000;

    fn judged(rev: u64, expires_at: Option<u64>) -> Sweep {
        Sweep::of(vec![HintedEntry { key: b"k".to_vec(), rev, expires_at }], NOW)
    }

    #[test]
    fn a_live_entry_is_kept_and_has_another_hint_if_it_expires() {
        assert_eq!(judged(1, None), Sweep::default());
        for (end, at) in [(NOW + 1, NOW + SLOT), (NOW + AHEAD, NOW + AHEAD), (u64::MAX >> 1, NOW + AHEAD)] {
            let later = vec![Hint { at, key: b"k".to_vec() }];
            assert_eq!(judged(1, Some(end)), Sweep { dead: Vec::new(), later });
        }
    }

    #[test]
    fn an_expiry_put_off_again_and_again_has_few_hints() {
        let key = Key::new("k".into(), 512).expect("short");
        let hint = |rev, expiry| Hint::of(&Row { key: &key, value: "", rev, expiry }).map(|hint| hint.at);
        assert_eq!(hint(NOW, Expiry::Never), None);
        assert_eq!(hint(NOW + 1, TOMBSTONE), Some(NOW + SLOT));
        assert_eq!(hint(NOW, Expiry::After(1)), Some(NOW + SLOT));
        assert_eq!(hint(NOW, Expiry::At(NOW + SLOT)), Some(NOW + SLOT));
        let hours = |seconds: u64| hint(NOW + seconds * 1_000_000, Expiry::After(3_153_600_000));
        let hints: std::collections::BTreeSet<_> = (0..7200).map(hours).collect();
        assert_eq!(hints.len(), 13, "twelve slots of ten minutes begin within two hours");
    }

    #[test]
    fn a_dead_entry_is_removed_ten_minutes_after_its_expiry_and_its_revision() {
        let (ripe, unripe) = (NOW - 600_000_000, NOW - 599_999_999);
        let gone = Sweep { dead: vec![b"k".to_vec()], later: Vec::new() };
        assert_eq!(judged(1, Some(ripe)), gone);
        assert_eq!(judged(ripe, Some(0)), gone);
        for (rev, expires_at, at) in [(1, unripe, NOW), (unripe, 0, NOW), (NOW + 5, ripe, NOW + SLOT)] {
            let later = vec![Hint { at, key: b"k".to_vec() }];
            assert_eq!(judged(rev, Some(expires_at)), Sweep { dead: Vec::new(), later });
        }
    }
}
