//! When the sweeper looks at a key, and which entries it removes. Pure.

use crate::changes::TRANSACTION_MICROS_MAX;
use crate::entry::Expiry;
use crate::plan::run::Row;

/// The most hints of one transaction. Writers wait for the rows that it locks.
pub(crate) const HINTS_PER_SWEEP_MAX: usize = 256;

/// When the sweeper is to look at a key: a row of the table `expiries`. It is not the expiry itself, although the comment in the
/// migration says so.
///
/// A writer that does not log changes puts every hint at a multiple of [`SLOT`]. A writer that logs changes puts no hint there. So a
/// reader of hints knows which kind of writer has left a hint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hint {
    /// Microseconds since 1970.
    pub(crate) at: u64,
    pub(crate) key: Vec<u8>,
}

/// A hint lies at most this far ahead, in microseconds. An entry that lives longer gets another hint when the sweeper looks at it.
const AHEAD: u64 = 60 * 60 * 1_000_000;

/// Hints lie at multiples of this, in microseconds, so that a key whose expiry is put off again and again has few hints.
pub(crate) const SLOT: u64 = 10 * 60 * 1_000_000;

/// Where changes are logged, an expiry is noticed at the next multiple of this, in microseconds.
pub(crate) const TICK: u64 = 250_000;

/// Where changes are logged and an expiry is at least two of these ahead, its hint stands before it, at a multiple of this (in
/// microseconds). The look at that hint gives the next one. So an expiry that is put off each second has few hints here, too.
const APPROACHES: [u64; 2] = [SLOT, 10_000_000];

/// The hint of an expiry that would be at a whole slot is this much later, in microseconds.
pub(crate) const EXPIRY_SHIFT: u64 = 1;

/// The hint of a removal is this much later than a whole slot, in microseconds. So the expiries of the slot come first: an expiry must not
/// wait for removals.
pub(crate) const REMOVAL_SHIFT: u64 = 2;

impl Hint {
    /// The hint of a row that was just written. `None` if the row never expires. `logs`: the expiry of the row is to be logged, too.
    pub(crate) fn of(row: &Row<'_>, logs: bool) -> Option<Self> {
        // The revision is the clock of the database at the start of the transaction, or ahead of it.
        let now = row.rev;
        let end = match row.expiry {
            Expiry::Never => return None,
            // Saturates, because the hint lies at most an hour ahead anyway.
            Expiry::After(seconds) => now.saturating_add(seconds.saturating_mul(1_000_000)),
            Expiry::At(at) => at,
        };
        let key = row.key.as_bytes().to_vec();
        Some(match (logs, end > now) {
            (false, _) => Self::at(end.max(now), now, key),
            (true, true) => Self::before_expiry(end, now, key),
            // The log of its batch tells that it is gone.
            (true, false) => Self::before_removal(now, key),
        })
    }

    /// The hint of `key`, which is not ripe before `end`, where changes are not logged.
    fn at(end: u64, now: u64, key: Vec<u8>) -> Self {
        let at = end.min(now.saturating_add(AHEAD));
        Self { at: at.div_ceil(SLOT) * SLOT, key }
    }

    /// The hint of a live entry that expires at `end`, where changes are logged.
    pub(crate) fn before_expiry(end: u64, now: u64, key: Vec<u8>) -> Self {
        let end = end.min(now.saturating_add(AHEAD + SLOT));
        let approach = APPROACHES.into_iter().find(|step| end - now >= 2 * step);
        let at = approach.map_or_else(|| end.div_ceil(TICK) * TICK, |step| end / step * step);
        Self { at: if at.is_multiple_of(SLOT) { at + EXPIRY_SHIFT } else { at }, key }
    }

    /// The hint of an entry that is dead since `end`, where changes are logged: when it can be removed, or some minutes later.
    pub(crate) fn before_removal(end: u64, key: Vec<u8>) -> Self {
        // Only a row that Keywire did not write is from the distant future. Its hint has to fit a column.
        Self { at: (end.min(1 << 62) + TRANSACTION_MICROS_MAX).div_ceil(SLOT) * SLOT + REMOVAL_SHIFT, key }
    }

    /// Whether the hint is that of the removal of an entry that is dead since `end`. If so, the end of the entry was logged before.
    pub(crate) fn is_of_removal(&self, end: u64) -> bool {
        self.at % SLOT == REMOVAL_SHIFT && self.at >= end.saturating_add(TRANSACTION_MICROS_MAX)
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
///
/// The sweeper removes an entry only if its expiry and its revision are this far behind the stored time. The next revision of a key
/// without a row comes from the store clock. So revisions grow only if the removed one is before the time that any transaction under way
/// has seen.
pub(crate) fn ripe(now: u64) -> u64 {
    // In the first minutes of 1970 nothing is ripe.
    now.saturating_sub(TRANSACTION_MICROS_MAX)
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
        let hint =
            |rev, expiry| Hint::of(&Row { key: &key, value: "", rev, expiry }, false).map(|hint| hint.at);
        assert_eq!(hint(NOW, Expiry::Never), None);
        assert_eq!(hint(NOW + 1, TOMBSTONE), Some(NOW + SLOT));
        assert_eq!(hint(NOW, Expiry::After(1)), Some(NOW + SLOT));
        assert_eq!(hint(NOW, Expiry::At(NOW + SLOT)), Some(NOW + SLOT));
        let hours = |seconds: u64| hint(NOW + seconds * 1_000_000, Expiry::After(3_153_600_000));
        let hints: std::collections::BTreeSet<_> = (0..7200).map(hours).collect();
        assert_eq!(hints.len(), 13, "twelve slots of ten minutes begin within two hours");
    }

    #[test]
    fn where_changes_are_logged_an_expiry_is_noticed_within_a_quarter_of_a_second() {
        let key = Key::new("k".into(), 512).expect("short");
        let hint =
            |rev, expiry| Hint::of(&Row { key: &key, value: "", rev, expiry }, true).map(|hint| hint.at);
        assert_eq!(hint(NOW, Expiry::Never), None);
        assert_eq!(hint(NOW + 5, Expiry::At(NOW + TICK - 1)), Some(NOW + TICK));
        assert_eq!(hint(NOW + 5, Expiry::After(1)), Some(NOW + 1_000_000 + TICK));
        assert_eq!(hint(NOW + SLOT - 1, Expiry::At(NOW + SLOT)), Some(NOW + SLOT + EXPIRY_SHIFT));
        // What is dead at once is removed later.
        for dead in [TOMBSTONE, Expiry::At(NOW)] {
            assert_eq!(hint(NOW, dead), Some(NOW + SLOT + REMOVAL_SHIFT));
            assert_eq!(hint(NOW + 1, dead), Some(NOW + 2 * SLOT + REMOVAL_SHIFT));
        }
        // Look by look, the hints of any expiry reach it.
        for end in [1, TICK, 20_000_000, 21_000_001, SLOT, 2 * SLOT, 2 * SLOT + 7, 70 * AHEAD + 3] {
            let (mut now, mut looks) = (NOW + 3, 0);
            while now < NOW + 3 + end {
                let next = Hint::before_expiry(NOW + 3 + end, now, Vec::new()).at;
                assert!(next > now && !next.is_multiple_of(SLOT), "{next} after {now}");
                (now, looks) = (next, looks + 1);
            }
            assert!(now - (NOW + 3 + end) <= TICK, "{end}: {now}");
            assert!(looks <= 3 + end / AHEAD, "{end}: {looks} looks");
        }
    }

    #[test]
    fn where_changes_are_logged_an_expiry_put_off_again_and_again_has_few_hints() {
        let key = Vec::new;
        for (ttl, hints) in [(19, 600), (30, 61), (1199, 61), (1200, 3), (3600, 3), (1 << 40, 3)] {
            let at = |second: u64| {
                let now = NOW + second * 1_000_000;
                Hint::before_expiry(now.saturating_add(ttl * 1_000_000), now, key()).at
            };
            let found = (0..600).map(at).collect::<std::collections::BTreeSet<_>>().len();
            assert!(found <= hints, "{found} hints within ten minutes for a ttl of {ttl} s");
        }
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
