//! A pass over the log of changes: a limited number of the keys of a watch that have changed since a position. Several passes, in byte order of
//! the keys, bring all of them.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use db::{Error, Key, LogSnapshot};

use crate::watch::log;
use crate::watch::position::Position;
use crate::watch::target::Target;

/// The first keys, in byte order, of those that have changed and come after the last key of the previous pass.
#[derive(Debug)]
pub(super) struct Pass {
    /// The last key of the previous pass. `None`: this is the first pass.
    after: Option<Key>,
    keys: BTreeSet<Key>,
    keys_max: usize,
    /// There are more keys than the pass takes, so another pass is needed.
    is_cut: bool,
}

impl Pass {
    /// The first pass, which takes up to `keys_max` keys.
    pub(super) fn first(keys_max: usize) -> Self {
        Self { after: None, keys: BTreeSet::new(), keys_max, is_cut: false }
    }

    /// The next pass. `None`: this one was the last.
    pub(super) fn next(self) -> Option<Self> {
        self.is_cut.then(|| Self {
            after: self.keys.last().cloned(),
            keys: BTreeSet::new(),
            keys_max: self.keys_max,
            is_cut: false,
        })
    }

    /// Reads the whole log since `from`, and keeps the keys of `target` that belong to this pass.
    pub(super) async fn read(
        &mut self,
        snapshot: &mut LogSnapshot<'_>,
        from: &Position,
        target: &Target,
    ) -> Result<(), Error> {
        let on_change = |_lane, _seq, key: Key| {
            if target.covers(&key) {
                self.add(key);
            }
            ControlFlow::Continue(())
        };
        log::read(snapshot, from, on_change).await.map(drop)
    }

    fn add(&mut self, key: Key) {
        if self.after.as_ref().is_some_and(|after| key <= *after) {
            return;
        }
        self.keys.insert(key);
        if self.keys.len() > self.keys_max {
            self.keys.pop_last();
            self.is_cut = true;
        }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The keys, in byte order.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.keys.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::a_key;

    #[test]
    fn passes_bring_every_key_once_in_byte_order() {
        let log = ["d", "a", "c", "a", "e", "b", "d"];
        let (mut pass, mut seen) = (Some(Pass::first(2)), Vec::new());
        while let Some(mut this) = pass {
            for key in log {
                this.add(a_key(key));
            }
            assert!(this.keys().len() <= 2);
            seen.extend(this.keys());
            pass = this.next();
        }
        assert_eq!(seen, ["a", "b", "c", "d", "e"].map(a_key));
    }
}
