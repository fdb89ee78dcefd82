//! Writes that wait apart, so that they delay nobody else: somebody holds their key locked, or no statement can write their key.
//!
//! The writes of a key keep their order: while one of them waits here, the later ones join it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::entry::{Key, Write};
use crate::lane::pending::PendingWrite;

/// How long after the last sign of a foreign lock each attempt still looks for locks before it writes. To look costs round trips, but
/// a lock that is not seen before it is met costs a lock wait.
const CAREFUL: Duration = Duration::from_secs(10);

/// The first wait until a locked key is looked at again. It doubles up to [`CHECK_MAX`].
const CHECK_MIN: Duration = Duration::from_millis(5);

/// The longest wait until a held key is looked at or tried again.
const CHECK_MAX: Duration = Duration::from_millis(100);

/// The first and the longest wait of a key that only a lock wait shows to be locked. Each try costs the lane time.
const LOCK_WAIT_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));

/// The first wait until a key that cannot be written is tried again. It doubles up to [`CHECK_MAX`].
const UNWRITABLE_MIN: Duration = Duration::from_millis(50);

/// From when on a lock counts as one of somebody who holds it for long. The transactions of other lanes are shorter.
const LONG: Duration = Duration::from_secs(1);

/// How long a held key for which no write waits is remembered after its last try, so that the next write of it delays nobody.
const REMEMBERED: Duration = Duration::from_mins(1);

/// The most keys that are held or remembered, except those of writes that wait.
const REMEMBERED_MAX: usize = 1024;

/// The writes of a lane that wait apart, by the key that they wait for.
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
    careful_until: Option<Instant>,
}

/// Why a key is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    /// Somebody else had it locked when it was last looked at.
    Locked,
    /// A statement that wrote it alone failed, or met a lock that no look shows.
    Unwritable,
    /// There is none any more. The writes that still wait go first.
    Gone,
}

#[derive(Debug)]
struct HeldKey {
    obstacle: Obstacle,
    /// Since when it has this obstacle.
    since: Instant,
    /// When the key is looked at or tried again.
    next_try: Instant,
    /// The wait after that.
    wait: Duration,
    /// In order of receipt.
    writes: VecDeque<PendingWrite>,
}

impl SetAside {
    /// With room for `writes` writes of `bytes` bytes. Writes that were already in a batch need no room.
    pub(crate) fn new(writes: usize, bytes: usize) -> Self {
        Self { keys: BTreeMap::new(), writes: 0, bytes: 0, max: (writes, bytes), careful_until: None }
    }

    /// Whether no key is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether attempts must look for locks before they write.
    pub(crate) fn is_careful(&self) -> bool {
        self.careful_until.is_some_and(|until| Instant::now() < until)
    }

    /// Notes that a lock of somebody else was met.
    pub(crate) fn be_careful(&mut self) {
        self.careful_until = Some(Instant::now() + CAREFUL);
    }

    /// The key that `write` must wait for.
    fn holder<'w>(&self, write: &'w Write) -> Option<&'w Key> {
        if self.keys.is_empty() {
            return None;
        }
        write.ops().iter().map(|op| &op.key).find(|key| self.keys.contains_key(*key))
    }

    /// Whether `write` must wait.
    pub(crate) fn holds(&self, write: &Write) -> bool {
        self.holder(write).is_some()
    }

    /// Whether there is room for one more write.
    pub(crate) fn has_room(&self, write: &Write) -> bool {
        self.writes < self.max.0 && self.bytes + write.bytes() <= self.max.1
    }

    /// Sets a write aside that [`SetAside::holds`] names, behind those that wait for the same key.
    pub(crate) fn push(&mut self, pending: PendingWrite) {
        self.count(&pending);
        self.queue_of(&pending).push_back(pending);
    }

    /// Sets writes aside that were in a batch, and are therefore older than those that wait for the same key.
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
        let key = self.holder(&pending.write).expect("only a write of a held key is set aside").clone();
        &mut self.held(&key).writes
    }

    fn held(&mut self, key: &Key) -> &mut HeldKey {
        self.keys.get_mut(key).expect("the caller has just found it")
    }

    /// Notes that somebody else holds `key` locked.
    pub(crate) fn found_locked(&mut self, key: &Key) {
        if self.hold(key, Obstacle::Locked, (CHECK_MIN, CHECK_MAX)) >= LONG {
            self.be_careful();
        }
    }

    /// Notes that writing `key` ended in a lock wait, although the lock could not be seen before.
    pub(crate) fn waited_for(&mut self, key: &Key) {
        let _held_for = self.hold(key, Obstacle::Unwritable, LOCK_WAIT_AGAIN);
    }

    /// Notes that `key` cannot be written. Returns whether that is news.
    pub(crate) fn found_unwritable(&mut self, key: &Key) -> bool {
        let is_known = self.keys.get(key).is_some_and(|held| held.obstacle == Obstacle::Unwritable);
        if is_known || self.keys.len() < REMEMBERED_MAX {
            let _held_for = self.hold(key, Obstacle::Unwritable, (UNWRITABLE_MIN, CHECK_MAX));
        }
        !is_known
    }

    /// Holds `key`. Returns for how long it has had this obstacle.
    fn hold(
        &mut self,
        key: &Key,
        obstacle: Obstacle,
        (first_wait, wait_max): (Duration, Duration),
    ) -> Duration {
        let now = Instant::now();
        let new =
            || HeldKey { obstacle, since: now, next_try: now, wait: first_wait, writes: VecDeque::new() };
        let held = self.keys.entry(key.clone()).or_insert_with(new);
        if held.obstacle != obstacle {
            (held.wait, held.since) = (first_wait, now);
        }
        held.obstacle = obstacle;
        held.wait = held.wait.clamp(first_wait, wait_max);
        held.next_try = now + held.wait;
        held.wait = (held.wait * 2).min(wait_max);
        now - held.since
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
        let now = Instant::now();
        let is_due = |held: &HeldKey| {
            held.obstacle == Obstacle::Locked && held.next_try <= now && !held.writes.is_empty()
        };
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

    /// The writes of one key that cannot be written and is to be tried again: its single writes, or one atomic write.
    pub(crate) fn take_unwritable(&mut self, most: usize) -> Vec<PendingWrite> {
        let now = Instant::now();
        let is_due = |held: &HeldKey| {
            held.obstacle == Obstacle::Unwritable && held.next_try <= now && !held.writes.is_empty()
        };
        let Some((_, held)) = self.keys.iter_mut().find(|(_, held)| is_due(held)) else { return Vec::new() };
        let singles = held.writes.iter().take_while(|pending| !pending.write.is_atomic()).count();
        let taken: Vec<PendingWrite> = held.writes.drain(..singles.min(most).max(1)).collect();
        self.uncount(&taken);
        taken
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
        let (now, has_room) = (Instant::now(), self.keys.len() <= REMEMBERED_MAX);
        let is_remembered = |held: &HeldKey| has_room && now < held.next_try + REMEMBERED;
        self.keys.retain(|_, held| !held.writes.is_empty() || is_remembered(held));
    }

    /// Whether no write waits.
    pub(crate) fn has_no_writes(&self) -> bool {
        self.writes == 0
    }

    /// When the next key is to be looked at or tried. `None` if no write waits.
    pub(crate) fn next_try(&self) -> Option<Instant> {
        let now = Instant::now();
        let waited_for = self.keys.values().filter(|held| !held.writes.is_empty());
        let next_try = |held: &HeldKey| if held.obstacle == Obstacle::Gone { now } else { held.next_try };
        waited_for.map(next_try).min()
    }

    /// The first deadline of the writes that wait.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.keys.values().flat_map(|held| &held.writes).map(|pending| pending.deadline).min()
    }
}

#[cfg(test)]
mod tests;
