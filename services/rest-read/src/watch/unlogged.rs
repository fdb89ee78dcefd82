//! Lanes that log no changes: those of older programs, and those whose log is switched off.

use std::collections::HashMap;
use std::time::Duration;

use db::LogState;
use tokio::time::Instant;

use crate::watch::hub::FollowStatus;

/// How long after a commit a lane without a log counts as active.
const ACTIVE_AFTER_COMMIT: Duration = Duration::from_mins(1);

/// The lanes without a log, by their id, and the last commit of each.
#[derive(Debug, Default)]
pub(crate) struct UnloggedLanes(HashMap<u64, LastCommit>);

/// The last commit of a lane.
#[derive(Debug)]
struct LastCommit {
    seq: u64,
    /// When this process noticed it, or the time that the lane's row had when this process first saw it.
    at: Instant,
}

impl UnloggedLanes {
    /// Whether changes can be followed in a store with this state.
    pub(crate) fn status(&mut self, state: &LogState) -> FollowStatus {
        let is_active = self.note(state, Instant::now());
        match state.retention {
            Some(Duration::ZERO) => FollowStatus::Off,
            None => FollowStatus::Unlogged,
            Some(_) if is_active => FollowStatus::Unlogged,
            Some(_) => FollowStatus::Following,
        }
    }

    /// Notes the lanes without a log in `state`. Returns whether one of them is active.
    fn note(&mut self, state: &LogState, now: Instant) -> bool {
        let unlogged = || state.lanes.iter().filter(|lane| !lane.logs && lane.seq > 0);
        self.0.retain(|id, _| unlogged().any(|lane| lane.id == *id));
        for lane in unlogged() {
            let known = self.0.entry(lane.id).or_insert_with(|| {
                // An idle lane may store the time in its row, so `rev` is at least as late as its last commit.
                let age = Duration::from_micros(state.now.saturating_sub(lane.rev)).min(ACTIVE_AFTER_COMMIT);
                LastCommit { seq: lane.seq, at: now.checked_sub(age).unwrap_or(now) }
            });
            if known.seq != lane.seq {
                *known = LastCommit { seq: lane.seq, at: now };
            }
        }
        self.0.values().any(|last| now.duration_since(last.at) < ACTIVE_AFTER_COMMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::position::tests::{NOW, state};

    const SECOND: u64 = 1_000_000;

    #[tokio::test(start_paused = true)]
    async fn a_lane_without_a_log_is_active_for_a_minute_after_its_last_commit() {
        tokio::time::advance(Duration::from_hours(1)).await;
        let mut lanes = UnloggedLanes::default();
        let mut seen = |seq, rev| lanes.status(&state(&[(1, 9, NOW, true), (2, seq, rev, false)]));
        assert_eq!(seen(5, NOW - 61 * SECOND), FollowStatus::Following);
        assert_eq!(seen(5, NOW), FollowStatus::Following, "it has stored the time, and committed nothing");
        assert_eq!(seen(6, NOW), FollowStatus::Unlogged);
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(seen(6, NOW), FollowStatus::Unlogged);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(seen(6, NOW), FollowStatus::Following);
        let mut fresh = UnloggedLanes::default();
        assert_eq!(fresh.status(&state(&[(2, 1, NOW - 59 * SECOND, false)])), FollowStatus::Unlogged);
        assert_eq!(
            fresh.status(&state(&[(2, 0, NOW, false)])),
            FollowStatus::Following,
            "it never committed"
        );
    }

    #[test]
    fn without_a_retention_there_is_no_log() {
        let mut lanes = UnloggedLanes::default();
        let with = |retention| LogState { retention, ..state(&[]) };
        assert_eq!(lanes.status(&with(Some(Duration::ZERO))), FollowStatus::Off);
        assert_eq!(lanes.status(&with(None)), FollowStatus::Unlogged);
        assert_eq!(lanes.status(&with(Some(Duration::from_secs(1)))), FollowStatus::Following);
    }
}
