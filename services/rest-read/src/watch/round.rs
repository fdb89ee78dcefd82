//! One round: reads what has changed since the last round, and gives each watcher the events that it wants.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use db::{Error, Key, LogSnapshot};

use crate::damage::DamageLog;
use crate::watch::hub::{Hub, Joining, Subscriber};
use crate::watch::index::SubscriberId;
use crate::watch::key_states::{self, KeyState};
use crate::watch::log;
use crate::watch::position::Position;
use crate::watch::recent::LoggedChange;
use crate::watch::watcher::{Delivery, Watcher};

/// The most changes of a round. With more, each watcher catches up from a snapshot of its own.
pub(crate) const CHANGES_MAX: usize = 100_000;

/// The most keys that a round brings to a joining watcher. A watcher that lacks more catches up from a snapshot of its own.
const KEYS_PER_JOINING_MAX: usize = 10_000;

/// What a round brings to its watchers.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// The keys that are read, and who wants each.
    wanted: BTreeMap<Key, Wanted>,
    recipients: Vec<Recipient>,
    /// The index of each member in `recipients`.
    indexes: HashMap<SubscriberId, usize>,
}

/// Who wants a key.
#[derive(Debug, Default)]
struct Wanted {
    /// At least one recipient wants the value.
    with_value: bool,
    /// At least one recipient does not want the value.
    without_value: bool,
    /// Indexes in [`Round::recipients`].
    recipients: Vec<usize>,
}

/// A watcher that gets the round.
#[derive(Debug)]
struct Recipient {
    watcher: Arc<Watcher>,
    is_joining: bool,
    /// The round lacks an event that the watcher wants, because there was no memory for it.
    is_cut: bool,
    /// In the order of the keys.
    events: VecDeque<Bytes>,
}

impl Round {
    /// Reads the changes since `from` from the log. `None`: there are more than `changes_max`.
    pub(crate) async fn changes(
        snapshot: &mut LogSnapshot<'_>,
        from: &Position,
        changes_max: usize,
    ) -> Result<Option<Vec<LoggedChange>>, Error> {
        let mut changes = Vec::new();
        let on_change = |lane, seq, key| {
            changes.push(LoggedChange { lane, seq, key });
            if changes.len() > changes_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let read = log::read(snapshot, from, on_change).await?;
        Ok(read.is_continue().then_some(changes))
    }

    /// Adds the keys of `changes` that members want, and wakes the long polls of the others.
    pub(crate) fn add_members(&mut self, hub: &Hub, changes: &[LoggedChange]) {
        let keys: HashSet<&Key> = changes.iter().map(|change| &change.key).collect();
        hub.for_subscribers(keys, |key, id, subscriber| match &**subscriber {
            Subscriber::Stream(watcher) => {
                let index = match self.indexes.get(&id) {
                    Some(index) => *index,
                    None if watcher.is_member() => {
                        let index = self.add_recipient(Arc::clone(watcher), false);
                        self.indexes.insert(id, index);
                        index
                    }
                    None => return,
                };
                self.want(key, index);
            }
            Subscriber::LongPoll(wake) => wake.notify_one(),
        });
    }

    /// Adds the keys that a joining watcher has missed. Its position must not be ahead of the round. If they are not in memory, or are too
    /// many, the watcher catches up instead.
    pub(crate) fn add_joining(&mut self, hub: &Hub, joining: &Joining) {
        let Joining { watcher, position } = joining;
        match hub.changed_since(position, &watcher.target, KEYS_PER_JOINING_MAX) {
            Some(keys) => {
                let index = self.add_recipient(Arc::clone(watcher), true);
                for key in &keys {
                    self.want(key, index);
                }
            }
            None => watcher.send_to_catch_up(),
        }
    }

    fn add_recipient(&mut self, watcher: Arc<Watcher>, is_joining: bool) -> usize {
        self.recipients.push(Recipient { watcher, is_joining, is_cut: false, events: VecDeque::new() });
        self.recipients.len() - 1
    }

    fn want(&mut self, key: &Key, index: usize) {
        if !self.wanted.contains_key(key) {
            self.wanted.insert(key.clone(), Wanted::default());
        }
        let wanted = self.wanted.get_mut(key).expect("it was just added");
        if self.recipients[index].watcher.with_values {
            wanted.with_value = true;
        } else {
            wanted.without_value = true;
        }
        wanted.recipients.push(index);
    }

    /// Reads the wanted keys, and makes their events.
    pub(crate) async fn read(
        &mut self,
        snapshot: &mut LogSnapshot<'_>,
        hub: &Hub,
        damage: &DamageLog,
    ) -> Result<(), Error> {
        let keys: Vec<Key> = self.wanted.keys().cloned().collect();
        for keys in keys.chunks(key_states::KEYS_MAX) {
            if hub.event_memory.is_full() {
                hub.free_memory();
            }
            if hub.event_memory.is_full() {
                self.cut(keys);
                continue;
            }
            let mut events: Vec<Option<Event>> = keys.iter().map(|_| None).collect();
            let with_values = keys.iter().any(|key| self.wanted[key].with_value);
            let mut cut = Vec::new();
            let on_state = |index: usize, state: KeyState<'_>| {
                if hub.event_memory.is_full() {
                    cut.push(keys[index].clone());
                    return;
                }
                let (key, wanted) = (&keys[index], &self.wanted[&keys[index]]);
                let made =
                    |with_value| hub.event_memory.count(key_states::event(key.as_str(), state, with_value));
                events[index] = Some(Event {
                    with_value: wanted.with_value.then(|| made(true)),
                    without_value: wanted.without_value.then(|| made(false)),
                });
            };
            key_states::read(snapshot, keys, with_values, damage, on_state).await?;
            self.cut(&cut);
            for (key, event) in keys.iter().zip(events) {
                // A damaged row has no event, nor has a key for whose event there was no memory.
                let Some(event) = event else { continue };
                for &index in &self.wanted[key].recipients {
                    let recipient = &mut self.recipients[index];
                    recipient.events.push_back(event.of(recipient.watcher.with_values));
                }
            }
        }
        Ok(())
    }

    /// Marks the recipients of `keys`: they do not get this round.
    fn cut(&mut self, keys: &[Key]) {
        for key in keys {
            for &index in &self.wanted[key].recipients {
                self.recipients[index].is_cut = true;
            }
        }
    }

    /// Gives each recipient its events. `position` is that of the snapshot. Returns how many events there were. A recipient for whose events
    /// there was no memory catches up instead.
    pub(crate) fn deliver(self, position: &Arc<Position>) -> usize {
        let mut count = 0;
        for Recipient { watcher, is_joining, is_cut, events } in self.recipients {
            if is_cut {
                watcher.send_to_catch_up();
                continue;
            }
            count += events.len();
            let delivery = Delivery { events, position: Arc::clone(position) };
            if is_joining {
                watcher.admit(delivery);
            } else {
                watcher.deliver(delivery);
            }
        }
        count
    }
}

/// The event of one key, in the forms that its recipients want.
struct Event {
    with_value: Option<Bytes>,
    without_value: Option<Bytes>,
}

impl Event {
    fn of(&self, with_value: bool) -> Bytes {
        let event = if with_value { &self.with_value } else { &self.without_value };
        event.clone().expect("each form that somebody wants is made")
    }
}

#[cfg(test)]
mod tests;
