//! Writes that are set aside, so that they delay nobody else: somebody holds their key locked, or no statement can write their key.
//!
//! The writes of a key keep their order: while one of them waits here, the later ones join it.

mod held_key;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use self::held_key::{HeldKey, Obstacle};
use crate::entry::{Key, Write};
use crate::lane::batch::first_key;
use crate::lane::pending::PendingWrite;

/// How long after the last sign of a foreign lock each attempt still looks for locks before it writes. To look costs round trips, but
/// a lock that is not seen before it is met costs a lock wait.
const LOCK_CHECKS_FOR: Duration = Duration::from_secs(10);

/// The first wait until a locked key is looked at again. It doubles up to [`CHECK_MAX`].
const CHECK_MIN: Duration = Duration::from_millis(5);

/// The longest wait until a held key is looked at or tried again.
const CHECK_MAX: Duration = Duration::from_millis(100);

/// The first and the longest wait of a key that only a lock wait shows to be locked. Each try costs the lane time.
const LOCK_WAIT_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));

/// The first wait until a key that cannot be written is tried again. It doubles up to [`CHECK_MAX`].
const UNWRITABLE_MIN: Duration = Duration::from_millis(50);

/// From when on a lock counts as one of somebody who holds it for long. The transactions of other lanes are shorter.
const LONG_LOCK_MIN: Duration = Duration::from_secs(1);

/// How long a held key for which no write waits is remembered after its last try, so that the next write of it delays nobody.
const REMEMBERED_FOR: Duration = Duration::from_mins(1);

/// With more held keys than this, those for which no write waits are forgotten at once.
const REMEMBERED_MAX: usize = 1024;

/// The writes that a lane has set aside, by the key that they wait for.
#[derive(Debug)]
pub(crate) struct SetAside {
    /// A key is here while a write waits for it, and for a while after it had an obstacle.
    keys: BTreeMap<Key, HeldKey>,
    /// How many writes wait.
    writes: usize,
    /// Their bytes, see [`Write::bytes`].
    bytes: usize,
    /// The most writes and bytes, see [`SetAside::has_room`].
    max: (usize, usize),
    /// Until then, each attempt looks for locks before it writes.
    checks_locks_until: Option<Instant>,
    /// How many of the suspected units are tried next, see [`SetAside::take_trial`].
    trial: usize,
}

impl SetAside {
    /// With room for `writes` writes of `bytes` bytes. Writes that were already in a batch need no room.
    pub(crate) fn new(writes: usize, bytes: usize) -> Self {
        Self {
            keys: BTreeMap::new(),
            writes: 0,
            bytes: 0,
            max: (writes, bytes),
            checks_locks_until: None,
            trial: 1,
        }
    }

    /// Whether no key is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether attempts must look for locks before they write.
    pub(crate) fn checks_locks(&self) -> bool {
        self.checks_locks_until.is_some_and(|until| Instant::now() < until)
    }

    /// Notes that a lock of somebody else was met.
    pub(crate) fn check_locks_for_a_while(&mut self) {
        self.checks_locks_until = Some(Instant::now() + LOCK_CHECKS_FOR);
    }

    /// The key that `write` must wait for.
    fn held_key_of<'w>(&self, write: &'w Write) -> Option<&'w Key> {
        if self.keys.is_empty() {
            return None;
        }
        write.ops().iter().map(|op| &op.key).find(|key| self.keys.contains_key(*key))
    }

    /// Whether `write` must wait.
    pub(crate) fn holds(&self, write: &Write) -> bool {
        self.held_key_of(write).is_some()
    }

    /// Whether there is room for one more write. If none waits, there always is.
    pub(crate) fn has_room(&self, write: &Write) -> bool {
        self.writes == 0 || self.writes < self.max.0 && self.bytes + write.bytes() <= self.max.1
    }

    /// Sets aside a write for which [`SetAside::holds`] is true, after those that wait for the same key.
    pub(crate) fn push(&mut self, pending: PendingWrite) {
        self.count(&pending);
        self.queue_of(&pending).push_back(pending);
    }

    /// Sets aside writes that were in a batch. They are older than those that wait for the same key.
    pub(crate) fn put_back(&mut self, batch: Vec<PendingWrite>) {
        for pending in batch.into_iter().rev() {
            self.count(&pending);
            self.queue_of(&pending).push_front(pending);
        }
    }

    fn count(&mut self, pending: &PendingWrite) {
        self.writes += 1;
        self.bytes += pending.write.bytes();
    }

    fn queue_of(&mut self, pending: &PendingWrite) -> &mut VecDeque<PendingWrite> {
        let key = self.held_key_of(&pending.write).expect("only a write of a held key is set aside").clone();
        &mut self.held(&key).writes
    }

    fn held(&mut self, key: &Key) -> &mut HeldKey {
        self.keys.get_mut(key).expect("the caller has just found it")
    }

    /// Notes that somebody else holds `key` locked.
    pub(crate) fn found_locked(&mut self, key: &Key) {
        if self.hold(key, Obstacle::Locked, (CHECK_MIN, CHECK_MAX)) >= LONG_LOCK_MIN {
            self.check_locks_for_a_while();
        }
    }

    /// Notes that writing `key` ended in a lock wait, although the lock could not be seen before.
    pub(crate) fn met_lock_wait(&mut self, key: &Key) {
        let _held_for = self.hold(key, Obstacle::FailsAlone, LOCK_WAIT_AGAIN);
    }

    /// Notes that `key` cannot be written. Returns whether that is news.
    pub(crate) fn found_unwritable(&mut self, key: &Key) -> bool {
        let is_known = self.keys.get(key).is_some_and(|held| held.obstacle == Obstacle::FailsAlone);
        if is_known || self.keys.len() < REMEMBERED_MAX {
            let _held_for = self.hold(key, Obstacle::FailsAlone, (UNWRITABLE_MIN, CHECK_MAX));
        }
        !is_known
    }

    /// Holds `key`, see [`HeldKey::found`].
    fn hold(&mut self, key: &Key, obstacle: Obstacle, waits: (Duration, Duration)) -> Duration {
        let held = self.keys.entry(key.clone()).or_insert_with(|| HeldKey::new(obstacle));
        held.found(obstacle, waits)
    }

    /// One of `batch` keeps all from being written: each is a suspect, and `trial` units are tried next.
    pub(crate) fn suspect(&mut self, batch: Vec<PendingWrite>, trial: usize) {
        for pending in &batch {
            let _held_for =
                self.hold(first_key(&pending.write), Obstacle::Suspected, (Duration::ZERO, Duration::ZERO));
        }
        self.put_back(batch);
        self.trial = trial;
    }

    /// Notes that nobody else holds `key` locked.
    pub(crate) fn found_unlocked(&mut self, key: &Key) {
        if self.keys.get(key).is_some_and(|held| held.obstacle == Obstacle::Locked) {
            self.found_free(key);
        }
    }

    /// Notes that nothing keeps `key` from being written.
    pub(crate) fn found_free(&mut self, key: &Key) {
        if let Some(held) = self.keys.get_mut(key) {
            held.obstacle = Obstacle::Gone;
            if held.writes.is_empty() {
                self.keys.remove(key);
            }
        }
    }

    /// The locked keys that are to be looked at now.
    pub(crate) fn keys_to_check(&self) -> Vec<Key> {
        let is_due = |held: &HeldKey| held.obstacle == Obstacle::Locked && held.is_due();
        self.keys.iter().filter(|(_, held)| is_due(held)).map(|(key, _)| key.clone()).collect()
    }

    /// Takes out the writes whose keys are free again, as long as `fits` says so.
    pub(crate) fn take_free(&mut self, mut fits: impl FnMut(&PendingWrite) -> bool) -> Vec<PendingWrite> {
        let is_free = |(key, held): (&Key, &HeldKey)| (held.obstacle == Obstacle::Gone).then(|| key.clone());
        let free: Vec<Key> = self.keys.iter().filter_map(is_free).collect();
        let mut taken = Vec::new();
        for key in free {
            let mut queue = std::mem::take(&mut self.held(&key).writes);
            while let Some(pending) = queue.pop_front_if(|pending| fits(pending)) {
                // An atomic write may have met another obstacle meanwhile.
                let has_obstacle =
                    |key: &&Key| self.keys.get(*key).is_some_and(|held| held.obstacle != Obstacle::Gone);
                match pending.write.ops().iter().map(|op| &op.key).find(has_obstacle).cloned() {
                    Some(other) => self.held(&other).writes.push_back(pending),
                    None => taken.push(pending),
                }
            }
            if queue.is_empty() {
                self.keys.remove(&key);
            } else {
                self.held(&key).writes = queue;
                break;
            }
        }
        self.uncount(&taken);
        taken
    }

    /// Takes out the writes that are to be tried by themselves now, as long as `fits` says so: a unit of the key that has waited
    /// longest, or several units if that key is only suspected. A unit is the single writes of a key, or one atomic write.
    pub(crate) fn take_trial(&mut self, mut fits: impl FnMut(&PendingWrite) -> bool) -> Vec<PendingWrite> {
        let is_tried = |obstacle| matches!(obstacle, Obstacle::Suspected | Obstacle::FailsAlone);
        let due = self.keys.values_mut().filter(|held| is_tried(held.obstacle) && held.is_due());
        let mut due: Vec<&mut HeldKey> = due.collect();
        // Those that failed together come last, so that the others are written first.
        due.sort_by_key(|held| held.next_try());
        let Some(obstacle) = due.first().map(|held| held.obstacle) else { return Vec::new() };
        due.retain(|held| held.obstacle == obstacle);
        let mut units = if obstacle == Obstacle::Suspected { self.trial } else { 1 };
        let mut taken = Vec::new();
        for held in due {
            while units > 0 && !held.writes.is_empty() {
                let unit = held.take_unit(&mut fits);
                // Without room for the next one, the trial is complete.
                units = if unit.is_empty() { 0 } else { units - 1 };
                taken.extend(unit);
            }
        }
        self.uncount(&taken);
        taken
    }

    /// Notes that the writes of [`SetAside::take_trial`] were written: more can be tried at a time.
    pub(crate) fn trial_passed(&mut self) {
        self.trial = self.trial.saturating_mul(2);
    }

    /// Takes out the writes whose deadline has passed.
    pub(crate) fn take_late(&mut self, now: Instant) -> Vec<PendingWrite> {
        let mut late = Vec::new();
        for held in self.keys.values_mut() {
            let (due, in_time) = held.writes.drain(..).partition(|pending| pending.deadline <= now);
            held.writes = in_time;
            late.extend::<VecDeque<PendingWrite>>(due);
        }
        self.uncount(&late);
        self.forget_unneeded();
        late
    }

    fn uncount(&mut self, taken: &[PendingWrite]) {
        self.writes -= taken.len();
        self.bytes -= taken.iter().map(|pending| pending.write.bytes()).sum::<usize>();
    }

    /// Forgets the keys for which no write waits, after a while.
    fn forget_unneeded(&mut self) {
        let has_room = self.keys.len() <= REMEMBERED_MAX;
        self.keys.retain(|_, held| !held.writes.is_empty() || has_room && held.is_remembered(REMEMBERED_FOR));
    }

    /// Whether no write waits.
    pub(crate) fn has_no_writes(&self) -> bool {
        self.writes == 0
    }

    /// When the next key is to be looked at or tried. `None` if no write waits.
    pub(crate) fn next_try(&self) -> Option<Instant> {
        self.keys.values().filter_map(HeldKey::next_try).min()
    }

    /// The first deadline of the writes that wait.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.keys.values().flat_map(|held| &held.writes).map(|pending| pending.deadline).min()
    }
}

#[cfg(test)]
mod tests;
