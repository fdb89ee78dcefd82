//! What streams, long polls and the rounds share: who watches what, how far the rounds have followed the log of changes, and whether it
//! can be followed.

mod permits;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use db::Key;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

pub(crate) use self::permits::{Permit, Permits};
use crate::watch::event_memory::EventMemory;
use crate::watch::index::{Index, SubscriberId};
use crate::watch::position::{Position, ResetReason};
use crate::watch::recent::{LoggedChange, Recent};
use crate::watch::target::Target;
use crate::watch::watcher::Watcher;

/// A poll of the database that is older than this does not tell whether changes can be followed now.
const POLL_AGE_MAX: Duration = Duration::from_secs(1);

/// Whether changes can be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FollowStatus {
    /// The database was not polled yet.
    Unknown,
    /// Changes can be followed.
    Following,
    /// The log of changes is switched off: the retention is 0.
    Off,
    /// No writer that logs its changes has started yet, or a writer that logs none has committed within the last minute.
    Unlogged,
}

/// The last poll of the database that succeeded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LastPoll {
    pub(crate) at: Instant,
    pub(crate) status: FollowStatus,
}

/// Shared by all streams and long polls of a process, and by the task of the rounds.
#[derive(Debug)]
pub(crate) struct Hub {
    members: Mutex<Members>,
    last_poll: watch::Sender<LastPoll>,
    permits: Permits,
    pub(crate) event_memory: EventMemory,
}

#[derive(Debug)]
struct Members {
    index: Index<Subscriber>,
    /// `None` before the first round, after a reset, and while nobody follows the log.
    rounds: Option<FollowedLog>,
    /// Watchers that wait for the next round.
    joining: Vec<Joining>,
}

/// How far the rounds have followed the log.
#[derive(Debug)]
struct FollowedLog {
    /// Where the last round ended.
    position: Arc<Position>,
    /// The changes of the last rounds.
    recent: Recent,
}

/// A watcher that waits for the next round, and the position up to which its client knows the log.
#[derive(Debug, Clone)]
pub(crate) struct Joining {
    pub(crate) watcher: Arc<Watcher>,
    pub(crate) position: Arc<Position>,
}

/// Who is told that a key has changed.
#[derive(Debug)]
pub(crate) enum Subscriber {
    /// A stream, which is told what the key holds now.
    Stream(Arc<Watcher>),
    /// A long poll, which reads the key by itself.
    LongPoll(Notify),
}

/// Keeps a subscriber in the index. Dropping it removes the subscriber, and gives its permit back.
#[derive(Debug)]
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    target: Target,
    id: SubscriberId,
    _permit: Permit,
}

impl Hub {
    /// A hub for at most `watches_max` streams and long polls.
    pub(crate) fn new(watches_max: usize) -> Arc<Self> {
        let members = Members { index: Index::default(), rounds: None, joining: Vec::new() };
        Arc::new(Self {
            members: Mutex::new(members),
            last_poll: watch::Sender::new(LastPoll { at: Instant::now(), status: FollowStatus::Unknown }),
            permits: Permits::new(watches_max),
            event_memory: EventMemory::default(),
        })
    }

    /// The permits of streams and long polls.
    pub(crate) fn permits(&self) -> &Permits {
        &self.permits
    }

    /// Waits until it is known whether changes can be followed. `None`: it is not known at `deadline`.
    pub(crate) async fn status(&self, deadline: Instant) -> Option<FollowStatus> {
        let mut last_poll = self.last_poll.subscribe();
        let is_fresh = |last_poll: &LastPoll| {
            last_poll.status != FollowStatus::Unknown && last_poll.at.elapsed() < POLL_AGE_MAX
        };
        let fresh = timeout_at(deadline, last_poll.wait_for(is_fresh)).await.ok()?;
        let status = fresh.expect("the hub keeps the sender").status;
        Some(status)
    }

    /// The last poll of the database that succeeded.
    pub(crate) fn last_poll(&self) -> LastPoll {
        *self.last_poll.borrow()
    }

    /// Notes a poll that succeeded. Unless changes can be followed, every stream ends.
    pub(crate) fn note_poll(&self, status: FollowStatus) {
        let before = self.last_poll.send_replace(LastPoll { at: Instant::now(), status });
        if status != FollowStatus::Following && (before.status != status || self.has_joining()) {
            self.members().joining.clear();
            self.restart(None, Watcher::end);
        }
    }

    /// Adds a subscriber of `target`.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        target: Target,
        subscriber: &Arc<Subscriber>,
        permit: Permit,
    ) -> Subscription {
        let id = self.members().index.add(&target, subscriber);
        Subscription { hub: Arc::clone(self), target, id, _permit: permit }
    }

    /// The watcher joins the next round. It knows the log up to `position`.
    pub(crate) fn join(&self, watcher: &Arc<Watcher>, position: Arc<Position>) {
        let mut members = self.members();
        watcher.join();
        members.joining.push(Joining { watcher: Arc::clone(watcher), position });
    }

    /// Puts watchers of [`Hub::take_joining`] back, because the round could not admit them.
    pub(crate) fn join_again(&self, joining: Vec<Joining>) {
        self.members().joining.extend(joining);
    }

    /// Takes the watchers that wait for a round.
    pub(crate) fn take_joining(&self) -> Vec<Joining> {
        std::mem::take(&mut self.members().joining)
    }

    pub(crate) fn has_joining(&self) -> bool {
        !self.members().joining.is_empty()
    }

    /// The position of the last round. Every member was given all rounds up to it. `None`: there was no round since the rounds began anew.
    pub(crate) fn position(&self) -> Option<Arc<Position>> {
        self.members().rounds.as_ref().map(|rounds| Arc::clone(&rounds.position))
    }

    /// Calls `on_subscriber` for each subscriber of each of `keys`.
    pub(crate) fn for_subscribers<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k Key>,
        mut on_subscriber: impl FnMut(&'k Key, SubscriberId, &Arc<Subscriber>),
    ) {
        let members = self.members();
        for key in keys {
            for (id, subscriber) in members.index.find(key) {
                on_subscriber(key, *id, subscriber);
            }
        }
    }

    /// Adds the changes of a round, which ends at `position`, to those in memory. [`Hub::position`] stays where it is until
    /// [`Hub::advance`].
    pub(crate) fn add_recent(&self, position: &Arc<Position>, changes: Vec<LoggedChange>) {
        if let Some(rounds) = &mut self.members().rounds {
            rounds.recent.add(Arc::clone(position), changes);
        }
    }

    /// Whether all changes since `position` are in memory.
    pub(crate) fn has_recent_since(&self, position: &Position) -> bool {
        self.members().rounds.as_ref().is_some_and(|rounds| rounds.recent.since(position).is_some())
    }

    /// Replaces the changes in memory by all `changes` between `from` and `to`.
    pub(crate) fn replace_recent(&self, from: Position, to: &Arc<Position>, changes: Vec<LoggedChange>) {
        if let Some(rounds) = &mut self.members().rounds {
            let mut recent = Recent::new(Arc::new(from));
            recent.add(Arc::clone(to), changes);
            rounds.recent = recent;
        }
    }

    /// The keys that have changed since `position` and belong to `target`. `None` if they are not all in memory, or are more than
    /// `keys_max`.
    pub(crate) fn changed_since(
        &self,
        position: &Position,
        target: &Target,
        keys_max: usize,
    ) -> Option<BTreeSet<Key>> {
        let members = self.members();
        let since = members.rounds.as_ref()?.recent.since(position)?;
        let mut keys = BTreeSet::new();
        for key in since.filter(|key| target.covers(key)) {
            // A key that has changed often is in memory often.
            if !keys.contains(key) {
                keys.insert(key.clone());
            }
            if keys.len() > keys_max {
                return None;
            }
        }
        Some(keys)
    }

    /// Every member was given the round that ends at `position`.
    pub(crate) fn advance(&self, position: Arc<Position>) {
        if let Some(rounds) = &mut self.members().rounds {
            rounds.position = position;
        }
    }

    /// The rounds begin at `position`, without changes in memory. So every member reads from the database what it has missed.
    pub(crate) fn begin(&self, position: &Arc<Position>) {
        let recent = Recent::new(Arc::clone(position));
        let rounds = FollowedLog { position: Arc::clone(position), recent };
        self.restart(Some(rounds), Watcher::send_to_catch_up);
    }

    /// What clients know is void, for `reason`: each stream sends `reset` and a snapshot.
    pub(crate) fn reset(&self, reason: ResetReason) {
        self.restart(None, |watcher| watcher.reset(reason));
    }

    /// The log is not followed any more, because nobody watches.
    pub(crate) fn pause(&self) {
        self.restart(None, Watcher::detach);
        self.last_poll.send_modify(|last_poll| last_poll.status = FollowStatus::Unknown);
    }

    /// Replaces what the rounds know by `rounds`, and calls `on_stream` for each stream. Long polls read their keys again.
    fn restart(&self, rounds: Option<FollowedLog>, on_stream: impl Fn(&Watcher)) {
        let mut members = self.members();
        members.rounds = rounds;
        for subscriber in members.index.all() {
            match &**subscriber {
                Subscriber::Stream(watcher) => on_stream(watcher),
                Subscriber::LongPoll(changed) => changed.notify_one(),
            }
        }
    }

    /// Frees memory for events, see [`Watcher::free_memory`].
    pub(crate) fn free_memory(&self) {
        for subscriber in self.members().index.all() {
            match &**subscriber {
                Subscriber::Stream(watcher) => watcher.free_memory(),
                Subscriber::LongPoll(_) => {}
            }
        }
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.members().index.remove(&self.target, self.id);
    }
}

#[cfg(test)]
mod tests;
