//! The changes of the last rounds, in memory, for watchers that have missed a round.

use std::collections::VecDeque;
use std::sync::Arc;

use db::Key;

use crate::watch::position::Position;

/// About how many bytes of changes are kept. The oldest rounds are dropped first.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// About how many bytes of memory a change takes beside its key.
const CHANGE_BYTES: usize = 48;

/// A key in the log of changes: the batch `seq` of `lane` wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoggedChange {
    pub(crate) lane: u64,
    pub(crate) seq: u64,
    pub(crate) key: Key,
}

/// The changes of the last rounds. They follow one another without a gap.
#[derive(Debug)]
pub(crate) struct Recent {
    /// Every change after this position is here.
    start: Arc<Position>,
    rounds: VecDeque<RoundChanges>,
    /// The bytes of all changes.
    bytes: usize,
    /// [`BYTES_MAX`], but in tests.
    bytes_max: usize,
}

/// The changes of a round.
#[derive(Debug)]
struct RoundChanges {
    /// The position of its snapshot.
    end: Arc<Position>,
    changes: Vec<LoggedChange>,
}

impl Recent {
    /// No changes, at `start`.
    pub(crate) fn new(start: Arc<Position>) -> Self {
        Self { start, rounds: VecDeque::new(), bytes: 0, bytes_max: BYTES_MAX }
    }

    /// Adds the changes between the position of the last round and `end`.
    pub(crate) fn add(&mut self, end: Arc<Position>, changes: Vec<LoggedChange>) {
        self.bytes += changes.iter().map(bytes).sum::<usize>();
        match self.rounds.back_mut() {
            // A round without changes needs no element of its own.
            Some(last) if changes.is_empty() => last.end = end,
            Some(_) | None => self.rounds.push_back(RoundChanges { end, changes }),
        }
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.rounds.pop_front()
        {
            self.bytes -= oldest.changes.iter().map(bytes).sum::<usize>();
            self.start = oldest.end;
        }
    }

    /// The keys that have changed since `position`. A key may come several times. `None`: some changes since then are not in memory.
    pub(crate) fn since<'r>(&'r self, position: &'r Position) -> Option<impl Iterator<Item = &'r Key>> {
        if !position.covers_active(&self.start) {
            return None;
        }
        let unknown = self.rounds.iter().rev().take_while(|round| !position.covers(&round.end));
        let changes = unknown.flat_map(|round| &round.changes);
        Some(changes.filter(|change| change.seq > position.seq(change.lane)).map(|change| &change.key))
    }
}

fn bytes(change: &LoggedChange) -> usize {
    change.key.as_str().len() + CHANGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::a_key;
    use crate::watch::position::tests::{NOW, state};

    fn at(first: u64, second: u64) -> Arc<Position> {
        Arc::new(Position::of(&state(&[(1, first, NOW, true), (2, second, NOW, true)])))
    }

    fn change(lane: u64, seq: u64, key: &str) -> LoggedChange {
        LoggedChange { lane, seq, key: a_key(key) }
    }

    fn since(recent: &Recent, position: &Position) -> Option<Vec<String>> {
        let mut keys: Vec<_> = recent.since(position)?.map(|key| key.as_str().to_owned()).collect();
        keys.sort_unstable();
        Some(keys)
    }

    #[test]
    fn it_tells_what_has_changed_since_a_position() {
        let mut recent = Recent::new(at(5, 5));
        recent.add(at(6, 5), vec![change(1, 6, "a")]);
        recent.add(at(7, 5), Vec::new());
        recent.add(at(8, 7), vec![change(1, 8, "b"), change(2, 6, "c"), change(2, 7, "d")]);
        let keys = |first, second| since(&recent, &at(first, second));
        assert_eq!(keys(8, 7).as_deref(), Some(&[][..]));
        assert_eq!(keys(5, 5).expect("it is in memory"), ["a", "b", "c", "d"]);
        assert_eq!(keys(7, 5).expect("it is in memory"), ["b", "c", "d"]);
        assert_eq!(keys(7, 6).expect("a cursor may be between two rounds"), ["b", "d"]);
        assert_eq!(keys(4, 5), None);
    }

    #[test]
    fn the_oldest_rounds_make_room() {
        let mut recent = Recent { bytes_max: 3 * CHANGE_BYTES, ..Recent::new(at(5, 5)) };
        for seq in 6..=20 {
            recent.add(at(seq, 5), vec![change(1, seq, "k")]);
            assert!(recent.bytes <= recent.bytes_max);
        }
        assert_eq!(since(&recent, &at(17, 5)), None);
        assert_eq!(since(&recent, &at(18, 5)).map(|keys| keys.len()), Some(2));
    }
}
