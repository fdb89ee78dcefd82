//! The gets that share one SELECT: its keys, and who is answered by which row.

use std::sync::Arc;

use db::{Entry, Key};
use tokio::sync::oneshot;

use crate::backlog::{Backlog, Charge};
use crate::problem::LookupError;

/// The most bytes of values in one answer.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One get: distinct keys, read by one SELECT.
#[derive(Debug)]
pub(crate) struct Ask {
    keys: Vec<Key>,
    /// At the place of each key, its entry once its row has come. Empty once there are too many bytes.
    found: Vec<Option<Found>>,
    /// Of all values that came, kept or not.
    bytes: usize,
    /// Keys whose row has not come.
    open: usize,
    reply: oneshot::Sender<Result<Answer, LookupError>>,
}

/// What a get found.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The keys as they were asked.
    pub(crate) keys: Vec<Key>,
    /// At the place of each key its entry, or none if it is absent.
    pub(crate) found: Vec<Option<Found>>,
}

/// An entry, and its share of the backlog until it is written.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) entry: Entry,
    pub(crate) charge: Charge,
}

/// The asks of one SELECT that are not answered yet.
#[derive(Debug)]
pub(crate) struct Batch {
    asks: Vec<Option<Ask>>,
    /// Who wants which key, in key order.
    wants: Vec<Want>,
    backlog: Arc<Backlog>,
}

/// The key of the SELECT at `key` is the one at `place` of the ask at `ask`.
#[derive(Debug, Clone, Copy)]
struct Want {
    key: usize,
    ask: usize,
    place: usize,
}

impl Ask {
    pub(crate) fn new(keys: Vec<Key>, reply: oneshot::Sender<Result<Answer, LookupError>>) -> Self {
        let mut ask = Self { open: keys.len(), found: Vec::new(), bytes: 0, keys, reply };
        ask.reset();
        ask
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nobody waits for the answer any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    /// Forgets what came so far: the rows of an answer all come from one SELECT.
    fn reset(&mut self) {
        self.found.clear();
        self.found.resize_with(self.keys.len(), || None);
        self.bytes = 0;
        self.open = self.keys.len();
    }

    fn put(&mut self, place: usize, found: Found) {
        self.open -= 1;
        self.bytes += found.entry.value.len();
        if self.bytes > ANSWER_BYTES_MAX {
            self.found = Vec::new();
        } else {
            self.found[place] = Some(found);
        }
    }

    fn answer(self) {
        let answer = if self.bytes > ANSWER_BYTES_MAX {
            Err(LookupError::TooLarge { bytes: self.bytes })
        } else {
            Ok(Answer { keys: self.keys, found: self.found })
        };
        // Who left meanwhile needs no answer.
        let _ = self.reply.send(answer);
    }
}

impl Batch {
    /// The distinct keys of `asks`, in order, and the asks waiting for their rows.
    pub(crate) fn new(asks: Vec<Ask>, backlog: Arc<Backlog>) -> (Vec<Key>, Self) {
        let places = asks.iter().enumerate().flat_map(|(ask, Ask { keys, .. })| {
            (0..keys.len()).map(move |place| Want { key: 0, ask, place })
        });
        let mut wants: Vec<Want> = places.collect();
        let key = |want: &Want| &asks[want.ask].keys[want.place];
        wants.sort_unstable_by(|left, right| key(left).cmp(key(right)));
        let mut keys: Vec<Key> = Vec::with_capacity(wants.len());
        for want in &mut wants {
            let wanted = key(want);
            if keys.last() != Some(wanted) {
                keys.push(wanted.clone());
            }
            want.key = keys.len() - 1;
        }
        let asks = asks.into_iter().map(Some).collect();
        (keys, Self { asks, wants, backlog })
    }

    /// Gives `entry`, a row of the SELECT of `keys`, to all who asked for it, and answers those who have everything.
    pub(crate) fn row(&mut self, keys: &[Key], entry: Entry) {
        let Ok(at) = keys.binary_search(&entry.key) else { return };
        let start = self.wants.partition_point(|want| want.key < at);
        let end = start + self.wants[start..].partition_point(|want| want.key == at);
        let mut entry = Some(entry);
        for index in start..end {
            // Moved to the last who wants it, copied to the others.
            let entry = if index + 1 == end { entry.take() } else { entry.clone() };
            if let Some(entry) = entry {
                self.give(self.wants[index], entry);
            }
        }
    }

    fn give(&mut self, want: Want, entry: Entry) {
        let slot = &mut self.asks[want.ask];
        let Some(ask) = slot else { return };
        let charge = self.backlog.charge(entry.value.len());
        ask.put(want.place, Found { entry, charge });
        if ask.open == 0
            && let Some(ask) = slot.take()
        {
            ask.answer();
        }
    }

    /// The SELECT has ended: what did not come is absent.
    pub(crate) fn finish(self) {
        self.asks.into_iter().flatten().for_each(Ask::answer);
    }

    /// The SELECT has failed in a way that another may not: who still waits for a complete answer.
    pub(crate) fn retry(self) -> Vec<Ask> {
        let mut asks: Vec<Ask> = self.asks.into_iter().flatten().collect();
        asks.retain(|ask| !ask.is_abandoned());
        asks.iter_mut().for_each(Ask::reset);
        asks
    }

    /// The SELECT has failed for good.
    pub(crate) fn fail(self) {
        for ask in self.asks.into_iter().flatten() {
            // Who left meanwhile needs no answer.
            let _ = ask.reply.send(Err(LookupError::Internal));
        }
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
