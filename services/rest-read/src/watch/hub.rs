//! What streams, long polls and the rounds share: who watches what, how far the rounds are, and whether changes can be followed.

mod places;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use db::Key;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

pub(crate) use self::places::{Place, Places};
use crate::watch::index::{Index, SubscriberId};
use crate::watch::position::{Position, ResetReason};
use crate::watch::recent::{Change, Recent};
use crate::watch::room::Room;
use crate::watch::target::Target;
use crate::watch::watcher::Watcher;

/// A look that is older than this does not tell whether changes can be followed now.
const LOOK_AGE_MAX: Duration = Duration::from_secs(1);

/// Whether changes can be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Nobody has looked yet.
    Unknown,
    /// They can.
    Following,
    /// The log of changes is switched off.
    Off,
    /// A writer that logs no changes commits, or did so in the last minute, or none has started yet that logs them.
    Unlogged,
}

/// The last look at the database that succeeded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) at: Instant,
    pub(crate) status: Status,
}

/// Shared by all watches of a process.
#[derive(Debug)]
pub(crate) struct Hub {
    members: Mutex<Members>,
    look: watch::Sender<Look>,
    places: Places,
    pub(crate) room: Room,
}

#[derive(Debug)]
struct Members {
    index: Index<Subscriber>,
    /// `None` before the first round, and after a reset.
    rounds: Option<Progress>,
    joining: Vec<Joining>,
}

/// How far the rounds are.
#[derive(Debug)]
struct Progress {
    position: Arc<Position>,
    recent: Recent,
}

/// A watcher that waits for a round, and how far it knows the log.
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
    Poll(Notify),
}

/// A subscriber in the index. Dropping it removes the subscriber, and gives its place back.
#[derive(Debug)]
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    target: Target,
    id: SubscriberId,
    _place: Place,
}

impl Hub {
    /// A hub for at most `watches_max` streams and long polls.
    pub(crate) fn new(watches_max: usize) -> Arc<Self> {
        let members = Members { index: Index::default(), rounds: None, joining: Vec::new() };
        Arc::new(Self {
            members: Mutex::new(members),
            look: watch::Sender::new(Look { at: Instant::now(), status: Status::Unknown }),
            places: Places::new(watches_max),
            room: Room::default(),
        })
    }

    /// The places of streams and long polls.
    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// Waits until it is known whether changes can be followed. `None`: it is not known at `deadline`.
    pub(crate) async fn status(&self, deadline: Instant) -> Option<Status> {
        let mut look = self.look.subscribe();
        let is_fresh = |look: &Look| look.status != Status::Unknown && look.at.elapsed() < LOOK_AGE_MAX;
        let fresh = timeout_at(deadline, look.wait_for(is_fresh)).await.ok()?;
        let status = fresh.expect("the hub keeps the sender").status;
        Some(status)
    }

    /// The last look that succeeded.
    pub(crate) fn last_look(&self) -> Look {
        *self.look.borrow()
    }

    /// Notes a look. Unless changes can be followed, every stream ends.
    pub(crate) fn looked(&self, status: Status) {
        let before = self.look.send_replace(Look { at: Instant::now(), status });
        if status != Status::Following && (before.status != status || self.has_joining()) {
            self.members().joining.clear();
            self.restart(None, Watcher::end);
        }
    }

    /// Adds a subscriber of `target`.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        target: Target,
        subscriber: &Arc<Subscriber>,
        place: Place,
    ) -> Subscription {
        let id = self.members().index.add(&target, subscriber);
        Subscription { hub: Arc::clone(self), target, id, _place: place }
    }

    /// The watcher joins the next round. It knows the log up to `position`.
    pub(crate) fn join(&self, watcher: &Arc<Watcher>, position: Arc<Position>) {
        let mut members = self.members();
        watcher.join();
        members.joining.push(Joining { watcher: Arc::clone(watcher), position });
    }

    /// The same for watchers that have joined already, and could not be admitted.
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

    /// The position of the last round. Every member has been given the rounds up to it.
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

    /// Adds the changes of a round to those in memory. The position stays where it is until the members have the round.
    pub(crate) fn remember(&self, position: &Arc<Position>, changes: Vec<Change>) {
        if let Some(rounds) = &mut self.members().rounds {
            rounds.recent.add(Arc::clone(position), changes);
        }
    }

    /// Whether all changes since `position` are in memory.
    pub(crate) fn remembers(&self, position: &Position) -> bool {
        self.members().rounds.as_ref().is_some_and(|rounds| rounds.recent.since(position).is_some())
    }

    /// Replaces the changes in memory by all `changes` between `from` and `to`.
    pub(crate) fn reach_back(&self, from: Position, to: &Arc<Position>, changes: Vec<Change>) {
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

    /// The members have the round that ends at `position`.
    pub(crate) fn advance(&self, position: Arc<Position>) {
        if let Some(rounds) = &mut self.members().rounds {
            rounds.position = position;
        }
    }

    /// The rounds begin at `position`. What changed before is not in memory, so every member reads by itself what it has missed.
    pub(crate) fn begin(&self, position: &Arc<Position>) {
        let recent = Recent::new(Arc::clone(position));
        let rounds = Progress { position: Arc::clone(position), recent };
        self.restart(Some(rounds), Watcher::send_to_catch_up);
    }

    /// What streams know is void, for `reason`. Each begins anew.
    pub(crate) fn reset(&self, reason: ResetReason) {
        self.restart(None, |watcher| watcher.reset(reason));
    }

    /// Nobody follows any more.
    pub(crate) fn pause(&self) {
        self.restart(None, Watcher::send_away);
        self.look.send_modify(|look| look.status = Status::Unknown);
    }

    /// The rounds go on as `rounds` without what was before. Long polls read their keys again.
    fn restart(&self, rounds: Option<Progress>, on_stream: impl Fn(&Watcher)) {
        let mut members = self.members();
        members.rounds = rounds;
        for subscriber in members.index.all() {
            match &**subscriber {
                Subscriber::Stream(watcher) => on_stream(watcher),
                Subscriber::Poll(changed) => changed.notify_one(),
            }
        }
    }

    /// Makes room for events: clients that have not taken the rounds before get them later.
    pub(crate) fn make_room(&self) {
        for subscriber in self.members().index.all() {
            match &**subscriber {
                Subscriber::Stream(watcher) => watcher.give_way(),
                Subscriber::Poll(_) => {}
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
