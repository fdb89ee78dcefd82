//! The gets that share one SELECT: its keys, and who is answered by which row.

use std::sync::Arc;

use db::{Entry, Key};
use tokio::sync::oneshot;

use crate::backlog::{Backlog, Charge, NoRoom};
use crate::body;
use crate::config::ANSWER_BYTES_MAX;
use crate::error::LookupError;

/// One get: distinct keys, read by one SELECT.
#[derive(Debug)]
pub(crate) struct Ask {
    keys: Vec<Key>,
    /// At the place of each key, its entry once its row has come. Empty once it cannot be an answer.
    found: Vec<Option<Entry>>,
    /// Of all values that came, kept or not.
    bytes: usize,
    /// Of the answer that they would make.
    weight: usize,
    /// None once there was no room for it.
    charge: Option<Charge>,
    /// Keys whose row has not come.
    open: usize,
    reply: oneshot::Sender<Result<Read, LookupError>>,
}

/// What came of a get.
#[derive(Debug)]
pub(crate) enum Read {
    Answer(Answer),
    /// There was no room for its values. The keys as they were asked.
    NoRoom(Vec<Key>, NoRoom),
}

/// What a get found.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The keys as they were asked.
    pub(crate) keys: Vec<Key>,
    /// At the place of each key its entry, or none if it is absent.
    pub(crate) found: Vec<Option<Entry>>,
    /// Its share of the backlog until it is written.
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
    /// A get whose answer is charged to `charge`.
    pub(crate) fn new(
        keys: Vec<Key>,
        charge: Charge,
        reply: oneshot::Sender<Result<Read, LookupError>>,
    ) -> Self {
        let (open, charge) = (keys.len(), Some(charge));
        let mut ask = Self { keys, found: Vec::new(), bytes: 0, weight: 0, charge, open, reply };
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
        (self.bytes, self.weight) = (0, 0);
        self.open = self.keys.len();
        if let Some(charge) = &mut self.charge {
            charge.clear();
        }
    }

    fn put(&mut self, place: usize, entry: Entry) {
        assert!(self.found.get(place).is_none_or(Option::is_none), "a SELECT brought a key twice");
        let weight = body::weight(&entry);
        self.open -= 1;
        self.bytes += entry.value.len();
        self.weight += weight;
        let fits = self.bytes <= ANSWER_BYTES_MAX;
        if fits && self.charge.as_mut().is_some_and(|charge| charge.grow(weight)) {
            self.found[place] = Some(entry);
        } else {
            (self.found, self.charge) = (Vec::new(), None);
        }
    }

    fn answer(self) {
        let Self { keys, found, bytes, weight, charge, reply, .. } = self;
        let answer = match charge {
            _ if bytes > ANSWER_BYTES_MAX => Err(LookupError::TooLarge { bytes }),
            Some(charge) => Ok(Read::Answer(Answer { keys, found, charge })),
            None => Ok(Read::NoRoom(keys, NoRoom { bytes: weight })),
        };
        // Who left meanwhile needs no answer.
        let _ = reply.send(answer);
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
        let at = keys.binary_search(&entry.key).expect("a SELECT brings no key that it was not asked for");
        let start = self.wants.partition_point(|want| want.key < at);
        let end = start + self.wants[start..].partition_point(|want| want.key == at);
        // Nobody wants the key that tries a connection.
        let Some(last) = (start..end).next_back() else { return };
        // Copied to the others.
        for index in start..last {
            self.give(self.wants[index], entry.clone());
        }
        self.give(self.wants[last], entry);
    }

    fn give(&mut self, want: Want, entry: Entry) {
        let slot = &mut self.asks[want.ask];
        let ask = slot.as_mut().expect("each key has one row, so who has all rows gets no other");
        self.backlog.weigh(entry.value.len());
        ask.put(want.place, entry);
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
mod tests;
