//! Decides which expiries are logged, and which entries are removed, where changes are logged. Pure.

use std::collections::BTreeMap;

use crate::sweeper::hint::{Hint, HintedEntry, SLOT, Sweep, ripe};

/// The work of one transaction.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expiries {
    /// Keys whose entries have expired since they were last looked at, in key order. To be logged.
    pub(crate) expired: Vec<Vec<u8>>,
    /// What becomes of the entries and of their hints.
    pub(crate) sweep: Sweep,
}

impl Expiries {
    /// Decides about the entries `found` that `hints` led to, at the instant `now` (microseconds since 1970). The hints are used up.
    ///
    /// When an expiry is logged, a hint of removal is left. An entry is removed only by such a hint, so its expiry was logged before.
    pub(crate) fn of(hints: &[Hint], found: Vec<HintedEntry>, now: u64) -> Self {
        let mut first: BTreeMap<&[u8], &Hint> = BTreeMap::new();
        for hint in hints {
            first.entry(&hint.key).and_modify(|first| *first = hint.min(*first)).or_insert(hint);
        }
        let mut expiries = Self::default();
        for HintedEntry { key, rev, expires_at } in found {
            // An entry that never expires needs no hint.
            let Some(expires_at) = expires_at else { continue };
            if expires_at > now {
                expiries.sweep.later.push(Hint::before_expiry(expires_at, now, key));
                continue;
            }
            let end = expires_at.max(rev);
            let first = first.get(key.as_slice()).expect("an entry was found by a hint");
            if !first.is_of_removal(end) {
                expiries.expired.push(key.clone());
            } else if end <= ripe(now) {
                expiries.sweep.dead.push(key);
                continue;
            }
            expiries.sweep.later.push(Hint::before_removal(end, key));
        }
        expiries
    }
}

/// Which hints are due at the instant `now`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DueHints {
    /// The hints of expiries, which must not wait for other hints: those at the first instant, and those from the second to the third one.
    pub(crate) urgent: (u64, u64, u64),
    /// The other hints: those up to the first instant, and those at the second one. A writer that logs nothing leaves a hint at the whole slot
    /// after the expiry, so such a hint is due a slot early.
    pub(crate) others: (u64, u64),
}

impl DueHints {
    pub(crate) fn at(now: u64) -> Self {
        use crate::sweeper::hint::{EXPIRY_SHIFT, REMOVAL_SHIFT};
        let slot = now / SLOT * SLOT;
        // Early in a slot, its own removals are not due yet.
        let removals = now.min(slot + REMOVAL_SHIFT);
        Self {
            urgent: (now.min(slot + EXPIRY_SHIFT), slot + REMOVAL_SHIFT + 1, now),
            others: (removals, slot + SLOT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::TRANSACTION_MICROS_MAX;
    use crate::sweeper::hint::{EXPIRY_SHIFT, REMOVAL_SHIFT, TICK};

    /// The beginning of a slot.
    const NOW: u64 = 1_800_000_000_000_000;

    /// What becomes of the entry, if hints at these instants led to it.
    fn judged(hints: &[u64], rev: u64, expires_at: Option<u64>) -> Expiries {
        let hints: Vec<Hint> = hints.iter().map(|&at| Hint { at, key: b"k".to_vec() }).collect();
        Expiries::of(&hints, vec![HintedEntry { key: b"k".to_vec(), rev, expires_at }], NOW)
    }

    fn later(at: u64) -> Vec<Hint> {
        vec![Hint { at, key: b"k".to_vec() }]
    }

    #[test]
    fn a_live_entry_is_looked_at_again_if_it_expires() {
        assert_eq!(judged(&[NOW], 1, None), Expiries::default());
        let kept = Sweep { dead: Vec::new(), later: later(NOW + TICK) };
        assert_eq!(judged(&[NOW], 1, Some(NOW + 1)), Expiries { expired: Vec::new(), sweep: kept });
    }

    #[test]
    fn an_expiry_is_logged_once_and_its_entry_is_removed_ten_minutes_later() {
        let expired = |at| Expiries {
            expired: vec![b"k".to_vec()],
            sweep: Sweep { dead: Vec::new(), later: later(at + REMOVAL_SHIFT) },
        };
        // At once, by the hint of an older program on the slot behind it, and after writers were away for long.
        assert_eq!(judged(&[NOW], 1, Some(NOW)), expired(NOW + SLOT));
        assert_eq!(judged(&[NOW + SLOT], 1, Some(NOW - SLOT)), expired(NOW));
        assert_eq!(judged(&[NOW - 5 * SLOT], 1, Some(NOW - 5 * SLOT)), expired(NOW - 4 * SLOT));
        let removal = NOW + REMOVAL_SHIFT;
        let removed =
            Expiries { expired: Vec::new(), sweep: Sweep { dead: vec![b"k".to_vec()], later: Vec::new() } };
        assert_eq!(judged(&[removal], 1, Some(NOW - TRANSACTION_MICROS_MAX)), removed);
        assert_eq!(judged(&[removal], NOW - TRANSACTION_MICROS_MAX, Some(0)), removed);
        // Two hints: the one of the expiry was not looked at yet.
        assert_eq!(
            judged(&[removal, NOW - TRANSACTION_MICROS_MAX], 1, Some(NOW - TRANSACTION_MICROS_MAX)),
            expired(NOW)
        );
        // The entry was written again, after the death that the hint is of. Its own hint comes, but to log it twice is harmless.
        assert_eq!(judged(&[removal], NOW - TRANSACTION_MICROS_MAX + 5, Some(0)), expired(NOW + SLOT));
        // A removal that comes too early waits.
        let kept = Sweep { dead: Vec::new(), later: later(NOW + SLOT + REMOVAL_SHIFT) };
        let kept = Expiries { expired: Vec::new(), sweep: kept };
        assert_eq!(judged(&[NOW + SLOT + REMOVAL_SHIFT], 1, Some(NOW - TRANSACTION_MICROS_MAX + 1)), kept);
    }

    #[test]
    fn each_hint_is_due_in_one_way_at_its_time() {
        for now in [NOW, NOW + 1, NOW + 2, NOW + 3, NOW + TICK, NOW + SLOT - 1] {
            let due = DueHints::at(now);
            let is_urgent = |at: u64| at == due.urgent.0 || (due.urgent.1..=due.urgent.2).contains(&at);
            let is_other = |at: u64| at <= due.others.0 || at == due.others.1;
            assert!(!is_urgent(now + 1) && !is_other(now + 1) || (now + 1).is_multiple_of(SLOT), "{now}");
            for at in [NOW - SLOT, NOW, NOW + EXPIRY_SHIFT, NOW + REMOVAL_SHIFT, NOW + TICK] {
                assert_eq!(is_urgent(at) || is_other(at), at <= now, "{at} at {now}");
            }
            assert!(is_other(NOW + SLOT), "a hint of an older program is looked at a slot early");
        }
        let due = DueHints::at(NOW + TICK);
        assert_eq!(due.urgent.0, NOW + EXPIRY_SHIFT, "an expiry does not wait for removals");
        assert!(due.urgent.1 > NOW + REMOVAL_SHIFT && due.others.0 == NOW + REMOVAL_SHIFT);
    }
}
