//! Positions in the log of changes, and whether the log still has everything that follows a position.

use std::time::Duration;

use db::{LanePosition, LogState, TRANSACTION_MICROS_MAX};

/// A cursor whose time is this far in the future, in microseconds, is not of this store. The clocks of two processes differ by less.
const AHEAD_MAX_MICROS: u64 = 60 * 1_000_000;

/// How far a watcher knows the log of changes: each lane up to a seq.
///
/// The positions of two snapshots of one database are ordered: the later snapshot is not behind in any lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    /// The id of the store, see [`LogState::store_id`].
    pub(crate) store_id: u64,
    /// The store clock before the snapshot was taken. Microseconds since 1970.
    pub(crate) time: u64,
    /// How long changes are kept, in microseconds. `u64::MAX` in the position of a cursor.
    pub(crate) retention_micros: u64,
    /// The lanes that have committed a batch, in the order of the ids. A cursor may leave some out.
    lanes: Vec<LaneSeq>,
}

/// How far the log of one lane is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneSeq {
    /// The id of the lane.
    pub(crate) id: u64,
    /// The last batch of the lane that is known.
    pub(crate) seq: u64,
    /// About the time of its last batch, in microseconds since 1970. 0: unknown, because the position is of a cursor.
    pub(crate) rev: u64,
}

/// Why a stream is reset. The codes are a part of the protocol: clients see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ResetReason {
    /// Some changes after the cursor may have been removed from the log.
    TooOld,
    /// More than 100,000 keys have changed since the cursor.
    TooFarBehind,
    /// The cursor is of another prefix or another set of keys.
    OtherWatch,
    /// The cursor is of another store, or of this store before it was restored.
    OtherStore,
    /// A writer that logs no changes has committed since the cursor.
    NotLogged,
    /// The text is not a cursor, or a damaged one.
    BadCursor,
}

impl ResetReason {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::TooOld => "too_old",
            Self::TooFarBehind => "too_far_behind",
            Self::OtherWatch => "other_watch",
            Self::OtherStore => "other_store",
            Self::NotLogged => "not_logged",
            Self::BadCursor => "bad_cursor",
        }
    }
}

impl Position {
    /// The position of a snapshot with this state.
    pub(crate) fn of(state: &LogState) -> Self {
        let moved = state.lanes.iter().filter(|lane| lane.seq > 0);
        let lanes = moved
            .map(|&LanePosition { id, seq, rev, logs: _, removed: _ }| LaneSeq { id, seq, rev })
            .collect();
        let retention_micros = micros(state.retention.unwrap_or_default());
        Self { store_id: state.store_id, time: state.read_at, retention_micros, lanes }
    }

    /// The position of a cursor. `lanes` are in any order.
    pub(crate) fn of_cursor(store_id: u64, time: u64, lanes: impl Iterator<Item = (u64, u64)>) -> Self {
        let mut lanes: Vec<LaneSeq> = lanes.map(|(id, seq)| LaneSeq { id, seq, rev: 0 }).collect();
        lanes.sort_unstable_by_key(|lane| lane.id);
        // The lanes of a cursor go into a later cursor as they are.
        Self { store_id, time, retention_micros: u64::MAX, lanes }
    }

    /// The position from which the log has everything that any of `positions` lacks.
    ///
    /// # Panics
    /// If `positions` is empty.
    pub(crate) fn earliest(positions: &[&Self]) -> Self {
        let first = positions.first().expect("there is one");
        // A lane that one of them does not name counts from 0.
        let seq = |lane: &LaneSeq| positions.iter().map(|position| position.seq(lane.id)).min().unwrap_or(0);
        let lanes = first.lanes.iter().map(|lane| LaneSeq { seq: seq(lane), ..*lane });
        let lanes = lanes.filter(|lane| lane.seq > 0).collect();
        let time = positions.iter().map(|position| position.time).min().unwrap_or(0);
        Self { store_id: first.store_id, time, retention_micros: first.retention_micros, lanes }
    }

    pub(crate) fn lanes(&self) -> &[LaneSeq] {
        &self.lanes
    }

    /// The last batch of `lane` that is known. 0: the position does not name the lane.
    pub(crate) fn seq(&self, lane: u64) -> u64 {
        let found = self.lanes.binary_search_by_key(&lane, |known| known.id);
        found.map_or(0, |at| self.lanes[at].seq)
    }

    /// Whether this position knows everything that `other` knows: it is not behind in any lane.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.lanes.iter().all(|lane| self.seq(lane.id) >= lane.seq)
    }

    /// As [`Position::covers`], but a lane that committed its last batch of `other` well before the time of this position counts as known.
    /// So the position of a cursor, which leaves idle lanes out, also covers `other`.
    pub(crate) fn covers_active(&self, other: &Self) -> bool {
        other
            .lanes
            .iter()
            .all(|lane| self.seq(lane.id) >= lane.seq || lane.rev > 0 && self.was_idle(lane.rev))
    }

    /// Whether a lane had committed its last batch, whose time is `rev`, well before the time of this position.
    fn was_idle(&self, rev: u64) -> bool {
        rev.saturating_add(TRANSACTION_MICROS_MAX) < self.time
    }

    /// The lanes of `state` that have moved since this position, and how far each is known.
    pub(crate) fn moved<'s>(&'s self, state: &'s LogState) -> impl Iterator<Item = LaneSeq> + 's {
        let known = |lane: &LanePosition| LaneSeq { id: lane.id, seq: self.seq(lane.id), rev: lane.rev };
        state.lanes.iter().filter(|lane| lane.seq > self.seq(lane.id)).map(known)
    }

    /// For each lane of `state` that has moved since this position: how long ago it committed its last batch. The longest of these times.
    /// `None`: no lane has moved.
    pub(crate) fn age(&self, state: &LogState) -> Option<Duration> {
        self.moved(state).map(|lane| Duration::from_micros(state.now.saturating_sub(lane.rev))).max()
    }

    /// Why a client at this position must be reset, in a snapshot with this state. `None`: the log has everything that follows the position.
    pub(crate) fn reset_reason(&self, state: &LogState) -> Option<ResetReason> {
        if self.store_id != state.store_id
            || self.time > state.now.saturating_add(AHEAD_MAX_MICROS)
            || self.lanes.iter().any(|lane| is_unknown(lane, state))
        {
            return Some(ResetReason::OtherStore);
        }
        let begin = self.time.saturating_sub(TRANSACTION_MICROS_MAX);
        // For an older position, rows of `writers` may be gone that would show a lane without a log.
        if begin < state.floor || self.time.saturating_add(cursor_age_max(state)) < state.read_at {
            return Some(ResetReason::TooOld);
        }
        let unlogged = |lane: &LanePosition| !lane.logs && lane.seq > self.seq(lane.id) && lane.rev > begin;
        if state.lanes.iter().any(unlogged) {
            return Some(ResetReason::NotLogged);
        }
        let is_removed = |lane: &LanePosition| lane.removed > self.seq(lane.id) && !self.was_idle(lane.rev);
        state.lanes.iter().any(is_removed).then_some(ResetReason::TooOld)
    }
}

/// Whether the store knows nothing of what a position says of a lane: the position is of a later state of the store than this one.
fn is_unknown(known: &LaneSeq, state: &LogState) -> bool {
    match state.lanes.binary_search_by_key(&known.id, |lane| lane.id) {
        Ok(at) => state.lanes[at].seq < known.seq,
        // Rows of lanes that have long been idle are removed. A cursor does not name such lanes.
        Err(_) => known.rev.saturating_add(cursor_age_max(state)) >= state.read_at || known.rev == 0,
    }
}

/// The greatest age of a cursor that can be used, in microseconds. A lane that has been idle for longer matters to no cursor.
fn cursor_age_max(state: &LogState) -> u64 {
    micros(state.retention.unwrap_or_default()).saturating_add(TRANSACTION_MICROS_MAX)
}

/// `duration` in microseconds. Saturates after half a million years.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const NOW: u64 = 1_800_000_000_000_000;
    const MINUTE: u64 = 60_000_000;

    /// A state at [`NOW`] with these lanes: id, seq, rev, and whether it logs.
    pub(crate) fn state(lanes: &[(u64, u64, u64, bool)]) -> LogState {
        let lanes = lanes.iter().map(|&(id, seq, rev, logs)| LanePosition { id, seq, rev, logs, removed: 0 });
        LogState {
            store_id: 7,
            retention: Some(Duration::from_hours(1)),
            floor: 0,
            read_at: NOW,
            now: NOW,
            lanes: lanes.collect(),
        }
    }

    fn cursor(time: u64, lanes: &[(u64, u64)]) -> Position {
        Position::of_cursor(7, time, lanes.iter().copied())
    }

    #[test]
    fn a_position_is_lost_when_the_log_may_lack_what_follows_it() {
        let state = state(&[(1, 5, NOW, true), (2, 3, NOW, true)]);
        let at = |time, lanes: &[(u64, u64)]| cursor(time, lanes).reset_reason(&state);
        assert_eq!(at(NOW - MINUTE, &[(1, 5), (2, 3)]), None);
        assert_eq!(at(NOW - MINUTE, &[(1, 1)]), None, "a lane that is left out counts from 0");
        assert_eq!(at(NOW - 69 * MINUTE, &[(1, 1)]), None);
        assert_eq!(at(NOW - 71 * MINUTE, &[(1, 1)]), Some(ResetReason::TooOld));
        assert_eq!(at(NOW, &[(1, 6)]), Some(ResetReason::OtherStore), "ahead of the store");
        assert_eq!(at(NOW, &[(3, 1)]), Some(ResetReason::OtherStore), "no such lane");
        assert_eq!(at(NOW + 2 * MINUTE, &[]), Some(ResetReason::OtherStore), "from the future");
        let other = Position::of_cursor(8, NOW, std::iter::empty());
        assert_eq!(other.reset_reason(&state), Some(ResetReason::OtherStore));
    }

    #[test]
    fn what_was_removed_up_to_ten_minutes_before_a_position_may_belong_after_it() {
        let mut state = state(&[(1, 5, NOW, true)]);
        state.floor = NOW - 30 * MINUTE;
        assert_eq!(cursor(NOW - 20 * MINUTE, &[(1, 1)]).reset_reason(&state), None);
        assert_eq!(cursor(NOW - 20 * MINUTE - 1, &[(1, 1)]).reset_reason(&state), Some(ResetReason::TooOld));
    }

    #[test]
    fn what_was_removed_early_is_lost_for_whoever_does_not_know_it() {
        let mut state = state(&[(1, 9, NOW, true), (2, 4, NOW - 30 * MINUTE, true)]);
        state.lanes[0].removed = 7;
        state.lanes[1].removed = 4;
        let at = |time, lanes: &[(u64, u64)]| cursor(time, lanes).reset_reason(&state);
        assert_eq!(at(NOW, &[(1, 7)]), None, "idle lanes are left out");
        assert_eq!(at(NOW, &[(1, 6)]), Some(ResetReason::TooOld));
        assert_eq!(at(NOW - 25 * MINUTE, &[(1, 7), (2, 4)]), None);
        assert_eq!(at(NOW - 25 * MINUTE, &[(1, 7), (2, 3)]), Some(ResetReason::TooOld));
        assert_eq!(Position::of(&state).reset_reason(&state), None);
    }

    #[test]
    fn a_lane_that_logs_nothing_hides_what_it_committed() {
        let at = |lane, time| cursor(time, &[(1, 1)]).reset_reason(&state(&[(1, 5, NOW, true), lane]));
        assert_eq!(at((2, 1, NOW - 30 * MINUTE, false), NOW - 19 * MINUTE), None, "long before the cursor");
        assert_eq!(at((2, 1, NOW - 30 * MINUTE, false), NOW - 20 * MINUTE), None);
        assert_eq!(at((2, 1, NOW - 30 * MINUTE, false), NOW - 21 * MINUTE), Some(ResetReason::NotLogged));
        assert_eq!(at((2, 0, NOW, false), NOW - MINUTE), None, "it has committed nothing");
        let known = cursor(NOW, &[(2, 4)]).reset_reason(&state(&[(2, 4, NOW, false)]));
        assert_eq!(known, None, "it has committed nothing since");
    }

    #[test]
    fn the_row_of_a_lane_that_has_long_been_idle_may_be_gone() {
        let live = |rev| Position::of(&state(&[(1, 5, rev, true)])).reset_reason(&state(&[]));
        assert_eq!(live(NOW - 70 * MINUTE - 1), None);
        assert_eq!(live(NOW - 70 * MINUTE), Some(ResetReason::OtherStore));
    }

    #[test]
    fn a_later_snapshot_covers_an_earlier_one() {
        let (earlier, later) = (state(&[(1, 5, NOW, true)]), state(&[(1, 5, NOW, true), (2, 1, NOW, true)]));
        let moved: Vec<_> = Position::of(&earlier).moved(&later).collect();
        assert_eq!(moved, [LaneSeq { id: 2, seq: 0, rev: NOW }]);
        let (earlier, later) = (Position::of(&earlier), Position::of(&later));
        assert!(later.covers(&earlier) && !earlier.covers(&later) && later.covers(&later));
    }

    #[test]
    fn none_is_behind_the_earliest_of_several_positions() {
        let positions = [cursor(NOW, &[(1, 5), (2, 9)]), cursor(NOW - 1, &[(1, 7), (3, 1)])];
        let earliest = Position::earliest(&[&positions[0], &positions[1]]);
        assert!(positions.iter().all(|position| position.covers(&earliest)));
        assert_eq!((earliest.time, earliest.seq(1), earliest.seq(2), earliest.seq(3)), (NOW - 1, 5, 0, 0));
    }

    #[test]
    fn a_lane_that_a_cursor_left_out_because_it_was_idle_is_known() {
        let live = Position::of(&state(&[(1, 5, NOW, true), (2, 9, NOW - 80 * MINUTE, true)]));
        assert!(cursor(NOW, &[(1, 5)]).covers_active(&live));
        assert!(!cursor(NOW, &[(1, 4)]).covers_active(&live));
        assert!(!cursor(NOW - 75 * MINUTE, &[(1, 5)]).covers_active(&live));
        let other = cursor(NOW, &[(1, 5), (2, 9)]);
        assert!(!cursor(NOW, &[(1, 5)]).covers_active(&other), "nobody knows when the lane was idle");
    }
}
