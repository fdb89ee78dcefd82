//! One round: reads what has changed since the last one, and gives each watcher what concerns it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use db::{Error, Key, LogSnapshot};

use crate::damage::DamageLog;
use crate::watch::hub::{Hub, Joining, Subscriber};
use crate::watch::index::SubscriberId;
use crate::watch::log;
use crate::watch::news::{self, News};
use crate::watch::position::Position;
use crate::watch::recent::Change;
use crate::watch::watcher::{Delivery, Watcher};

/// The most changes of a round. With more, every watcher reads by itself what it has missed.
pub(crate) const CHANGES_MAX: usize = 100_000;

/// The most keys that a round brings to a watcher which joins. A watcher with more reads them by itself.
const KEYS_PER_JOINING_MAX: usize = 10_000;

/// What a round brings to its watchers.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// The keys that are read, and who wants each: places in `recipients`.
    wanted: BTreeMap<Key, Wanted>,
    recipients: Vec<Recipient>,
    /// Where each member is in `recipients`.
    places: HashMap<SubscriberId, usize>,
}

/// Who wants a key.
#[derive(Debug, Default)]
struct Wanted {
    /// Whether one of them wants the value, and whether one does not.
    with_value: bool,
    without_value: bool,
    recipients: Vec<usize>,
}

/// A watcher that gets the round.
#[derive(Debug)]
struct Recipient {
    watcher: Arc<Watcher>,
    is_joining: bool,
    /// The round lacks something that the watcher wants, because there was no room for it.
    is_cut: bool,
    events: VecDeque<Bytes>,
}

impl Round {
    /// Reads the changes since `from`. `None`: they are more than about `changes_max`.
    pub(crate) async fn changes(
        snapshot: &mut LogSnapshot<'_>,
        from: &Position,
        changes_max: usize,
    ) -> Result<Option<Vec<Change>>, Error> {
        let mut changes = Vec::new();
        let on_change = |lane, seq, key| {
            changes.push(Change { lane, seq, key });
            if changes.len() > changes_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let read = log::read(snapshot, from, on_change).await?;
        Ok(read.is_continue().then_some(changes))
    }

    /// Adds what the members want of `changes`, and wakes the long polls.
    pub(crate) fn add_members(&mut self, hub: &Hub, changes: &[Change]) {
        let keys: HashSet<&Key> = changes.iter().map(|change| &change.key).collect();
        hub.for_subscribers(keys, |key, id, subscriber| match &**subscriber {
            Subscriber::Stream(watcher) => {
                let place = match self.places.get(&id) {
                    Some(place) => *place,
                    None if watcher.is_member() => {
                        let place = self.add_recipient(Arc::clone(watcher), false);
                        self.places.insert(id, place);
                        place
                    }
                    None => return,
                };
                self.want(key, place);
            }
            Subscriber::Poll(wake) => wake.notify_one(),
        });
    }

    /// Adds what a watcher wants that joins. Its position must not be ahead of the round.
    pub(crate) fn add_joining(&mut self, hub: &Hub, joining: &Joining) {
        let Joining { watcher, position } = joining;
        match hub.changed_since(position, &watcher.target, KEYS_PER_JOINING_MAX) {
            Some(keys) => {
                let place = self.add_recipient(Arc::clone(watcher), true);
                for key in &keys {
                    self.want(key, place);
                }
            }
            None => watcher.send_to_catch_up(),
        }
    }

    fn add_recipient(&mut self, watcher: Arc<Watcher>, is_joining: bool) -> usize {
        self.recipients.push(Recipient { watcher, is_joining, is_cut: false, events: VecDeque::new() });
        self.recipients.len() - 1
    }

    fn want(&mut self, key: &Key, place: usize) {
        if !self.wanted.contains_key(key) {
            self.wanted.insert(key.clone(), Wanted::default());
        }
        let wanted = self.wanted.get_mut(key).expect("it was just added");
        if self.recipients[place].watcher.with_values {
            wanted.with_value = true;
        } else {
            wanted.without_value = true;
        }
        wanted.recipients.push(place);
    }

    /// Reads the keys that somebody wants, and makes their events.
    pub(crate) async fn read(
        &mut self,
        snapshot: &mut LogSnapshot<'_>,
        hub: &Hub,
        damage: &DamageLog,
    ) -> Result<(), Error> {
        let keys: Vec<Key> = self.wanted.keys().cloned().collect();
        for keys in keys.chunks(news::KEYS_MAX) {
            if hub.room.is_full() {
                hub.make_room();
            }
            if hub.room.is_full() {
                self.cut(keys);
                continue;
            }
            let mut events: Vec<Option<Event>> = keys.iter().map(|_| None).collect();
            let with_values = keys.iter().any(|key| self.wanted[key].with_value);
            let on_news = |place: usize, news: News<'_>| {
                let (key, wanted) = (&keys[place], &self.wanted[&keys[place]]);
                let made = |with_value| hub.room.count(news::event(key.as_str(), news, with_value));
                events[place] = Some(Event {
                    with_value: wanted.with_value.then(|| made(true)),
                    without_value: wanted.without_value.then(|| made(false)),
                });
            };
            news::read(snapshot, keys, with_values, damage, on_news).await?;
            for (key, event) in keys.iter().zip(events) {
                // A damaged row has no event.
                let Some(event) = event else { continue };
                for &place in &self.wanted[key].recipients {
                    let recipient = &mut self.recipients[place];
                    recipient.events.push_back(event.of(recipient.watcher.with_values));
                }
            }
        }
        Ok(())
    }

    /// Leaves out those who want one of `keys`.
    fn cut(&mut self, keys: &[Key]) {
        for key in keys {
            for &place in &self.wanted[key].recipients {
                self.recipients[place].is_cut = true;
            }
        }
    }

    /// Gives each watcher its events. `position` is that of the snapshot. Returns how many events there were.
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

/// An event in the forms that somebody wants.
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
