//! Finds the subscribers of a key without asking each subscriber.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use db::Key;

use crate::watch::target::Target;

/// Identifies a subscriber. Later ones have larger numbers.
pub(crate) type SubscriberId = u64;

/// The subscribers of one key or prefix, in the order of their ids.
type Subscribers<S> = Vec<(SubscriberId, Arc<S>)>;

/// The subscribers by key and by prefix. Finding those of a key costs one lookup for the key, and one for each distinct length of a prefix.
#[derive(Debug)]
pub(crate) struct Index<S> {
    by_key: HashMap<Key, Subscribers<S>>,
    by_prefix: HashMap<Box<str>, Subscribers<S>>,
    /// How many different prefixes have each length.
    prefix_lengths: BTreeMap<usize, usize>,
    next_id: SubscriberId,
}

impl<S> Default for Index<S> {
    fn default() -> Self {
        let (by_key, by_prefix) = (HashMap::new(), HashMap::new());
        Self { by_key, by_prefix, prefix_lengths: BTreeMap::new(), next_id: 0 }
    }
}

impl<S> Index<S> {
    /// Adds a subscriber of the keys of `target`. The id is needed to remove it.
    pub(crate) fn add(&mut self, target: &Target, subscriber: &Arc<S>) -> SubscriberId {
        let id = self.next_id;
        self.next_id += 1;
        match target {
            Target::Prefix(prefix) => {
                if !self.by_prefix.contains_key(prefix.as_str()) {
                    *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
                }
                let subscribers = self.by_prefix.entry(prefix.as_str().into()).or_default();
                subscribers.push((id, Arc::clone(subscriber)));
            }
            Target::Keys(keys) => {
                for key in keys {
                    self.by_key.entry(key.clone()).or_default().push((id, Arc::clone(subscriber)));
                }
            }
        }
        id
    }

    /// Removes the subscriber `id` of `target`.
    pub(crate) fn remove(&mut self, target: &Target, id: SubscriberId) {
        match target {
            Target::Prefix(prefix) => {
                if remove(&mut self.by_prefix, prefix.as_str(), id) {
                    let count = self.prefix_lengths.get_mut(&prefix.len()).expect("the prefix was counted");
                    *count -= 1;
                    if *count == 0 {
                        self.prefix_lengths.remove(&prefix.len());
                    }
                }
            }
            Target::Keys(keys) => {
                for key in keys {
                    remove(&mut self.by_key, key, id);
                }
            }
        }
    }

    /// The subscribers that a change of `key` concerns.
    pub(crate) fn find<'i>(&'i self, key: &'i Key) -> impl Iterator<Item = &'i (SubscriberId, Arc<S>)> {
        let text = key.as_str();
        let lengths = self.prefix_lengths.keys().take_while(|length| **length <= text.len());
        // A prefix that ends within a character is no text, and nobody watches it.
        let by_prefix = lengths.filter_map(|length| self.by_prefix.get(text.get(..*length)?));
        self.by_key.get(key).into_iter().chain(by_prefix).flatten()
    }

    /// Every subscriber. One that watches several keys comes once for each key.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<S>> {
        let all = self.by_key.values().chain(self.by_prefix.values());
        all.flatten().map(|(_, subscriber)| subscriber)
    }
}

/// Removes the subscriber `id` of the key or prefix `name`. Returns whether it was the last subscriber of `name`.
fn remove<S, K, Q>(map: &mut HashMap<K, Subscribers<S>>, name: &Q, id: SubscriberId) -> bool
where
    K: Eq + Hash + std::borrow::Borrow<Q>,
    Q: Eq + Hash + ?Sized,
{
    let subscribers = map.get_mut(name).expect("a subscriber is removed only once");
    let at = subscribers.binary_search_by_key(&id, |(id, _)| *id).expect("a subscriber is removed only once");
    subscribers.remove(at);
    let was_last = subscribers.is_empty();
    if was_last {
        map.remove(name);
    }
    was_last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::a_key;

    fn found(index: &Index<&'static str>, key: &str) -> Vec<&'static str> {
        let key = a_key(key);
        let mut names: Vec<_> = index.find(&key).map(|(_, name)| **name).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_key_finds_its_watchers_and_those_of_its_prefixes() {
        let mut index = Index::default();
        let prefix = |text: &str| Target::Prefix(text.to_owned());
        let targets = [
            (prefix(""), "all"),
            (prefix("user/"), "users"),
            (prefix("é"), "accent"),
            (Target::Keys([a_key("user/1"), a_key("x")].into()), "keys"),
        ];
        let ids: Vec<_> = targets.iter().map(|(target, name)| index.add(target, &Arc::new(*name))).collect();
        assert_eq!(found(&index, "user/1"), ["all", "keys", "users"]);
        assert_eq!(found(&index, "user"), ["all"]);
        assert_eq!(found(&index, "x"), ["all", "keys"]);
        // Its first byte is the first byte of "é".
        assert_eq!(found(&index, "è"), ["all"]);
        assert_eq!(found(&index, "élan"), ["accent", "all"]);
        let second = index.add(&targets[1].0, &Arc::new("more"));
        index.remove(&targets[1].0, ids[1]);
        assert_eq!(found(&index, "user/2"), ["all", "more"]);
        index.remove(&targets[1].0, second);
        for at in [0, 2, 3] {
            index.remove(&targets[at].0, ids[at]);
        }
        assert!(index.by_key.is_empty() && index.by_prefix.is_empty() && index.prefix_lengths.is_empty());
    }
}
