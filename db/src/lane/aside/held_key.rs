//! A key that is held, and why.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::lane::pending::PendingWrite;

/// Why a key is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Somebody else had it locked when it was last looked at.
    Locked,
    /// A statement that wrote it together with others failed. Any of them may be at fault.
    Suspected,
    /// A statement that wrote it alone failed, or ended in a lock wait although no lock was seen.
    FailsAlone,
    /// There is none any more. The writes that still wait go first.
    Gone,
}

/// A key that is held.
#[derive(Debug)]
pub(super) struct HeldKey {
    pub(super) obstacle: Obstacle,
    /// Since when it has this obstacle.
    since: Instant,
    /// When the key is looked at or tried again.
    next_try: Instant,
    /// The wait after that.
    wait: Duration,
    /// In order of receipt.
    pub(super) writes: VecDeque<PendingWrite>,
}

impl HeldKey {
    /// A key for which no write waits yet.
    pub(super) fn new(obstacle: Obstacle) -> Self {
        let now = Instant::now();
        Self { obstacle, since: now, next_try: now, wait: Duration::ZERO, writes: VecDeque::new() }
    }

    /// Notes that `obstacle` was found. The wait until the next try doubles each time, within these limits. Returns for how long the
    /// key has had this obstacle.
    pub(super) fn found(
        &mut self,
        obstacle: Obstacle,
        (first_wait, wait_max): (Duration, Duration),
    ) -> Duration {
        let now = Instant::now();
        if self.obstacle != obstacle {
            (self.wait, self.since, self.obstacle) = (first_wait, now, obstacle);
        }
        let wait = self.wait.clamp(first_wait, wait_max);
        (self.next_try, self.wait) = (now + wait, (wait * 2).min(wait_max));
        now - self.since
    }

    /// When the key is to be looked at or tried. `None` if no write waits.
    pub(super) fn next_try(&self) -> Option<Instant> {
        if self.writes.is_empty() {
            return None;
        }
        Some(match self.obstacle {
            Obstacle::Gone => Instant::now(),
            Obstacle::Locked | Obstacle::Suspected | Obstacle::FailsAlone => self.next_try,
        })
    }

    /// Whether a write waits, and the key is to be looked at or tried now.
    pub(super) fn is_due(&self) -> bool {
        self.next_try().is_some_and(|next| next <= Instant::now())
    }

    /// Whether to remember the key for `remembered` after its last try, although no write waits.
    pub(super) fn is_remembered(&self, remembered: Duration) -> bool {
        // A key that was only suspected is as good as any other.
        self.obstacle != Obstacle::Suspected && Instant::now() < self.next_try + remembered
    }

    /// Takes the first writes out that can be tried as one: single writes, or one atomic write. `fits` says whether there is room for
    /// one more.
    pub(super) fn take_unit(&mut self, mut fits: impl FnMut(&PendingWrite) -> bool) -> Vec<PendingWrite> {
        let mut unit: Vec<PendingWrite> = Vec::new();
        while let Some(next) = self.writes.pop_front_if(|next| {
            (unit.is_empty() || !unit[0].write.is_atomic() && !next.write.is_atomic()) && fits(next)
        }) {
            unit.push(next);
        }
        unit
    }
}
