//! One SELECT: the gets that share it, and which row answers which get.

use std::ops::ControlFlow;
use std::sync::Arc;

use db::{DamagedRow, Entry, Key, RowError};
use tokio::sync::oneshot;

use crate::backlog::{Backlog, Charge, NoRoom};
use crate::body;
use crate::error::{REPLY_VALUES_BYTES_MAX, ReadError};
use crate::health::GetKind;

/// One get: distinct keys, read by one SELECT.
#[derive(Debug)]
pub(crate) struct Get {
    keys: Vec<Key>,
    /// For each key its entry, once its row has come. Empty once the reply is too large or has no room.
    found: Vec<Option<Entry>>,
    /// A damaged row among those that came.
    damaged: Option<DamagedRow>,
    /// Bytes of all values of the rows that came, kept or not.
    bytes: usize,
    /// The most bytes of a reply with all these values. Of a value that was left out only its size is known.
    weight: usize,
    /// `None` once there was no room for the reply.
    charge: Option<Charge>,
    /// Keys whose row has not come.
    open: usize,
    reply: oneshot::Sender<Result<GetOutcome, ReadError>>,
}

/// The outcome of a get.
#[derive(Debug)]
pub(crate) enum GetOutcome {
    Done(FoundEntries),
    /// The backlog had no room for the values. The keys are given back.
    NoRoom(Vec<Key>, NoRoom),
}

/// The result of a get.
#[derive(Debug)]
pub(crate) struct FoundEntries {
    /// The keys in the order of the request.
    pub(crate) keys: Vec<Key>,
    /// For each key its entry, or `None` if it is absent.
    pub(crate) found: Vec<Option<Entry>>,
    /// The share of the reply in the backlog.
    pub(crate) charge: Charge,
}

/// The gets of one SELECT that are not answered yet.
#[derive(Debug)]
pub(crate) struct Select {
    gets: Vec<Option<Get>>,
    /// Which get wants which key, in key order.
    wants: Vec<Want>,
    backlog: Arc<Backlog>,
}

/// Three indexes: the key of the SELECT at `key` is the key at `position` of the get at `get`.
#[derive(Debug, Clone, Copy)]
struct Want {
    key: usize,
    get: usize,
    position: usize,
}

impl Get {
    /// A get whose reply is charged to `charge`.
    pub(crate) fn new(
        keys: Vec<Key>,
        charge: Charge,
        reply: oneshot::Sender<Result<GetOutcome, ReadError>>,
    ) -> Self {
        let (open, charge) = (keys.len(), Some(charge));
        let mut get =
            Self { keys, found: Vec::new(), damaged: None, bytes: 0, weight: 0, charge, open, reply };
        get.reset();
        get
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn kind(&self) -> GetKind {
        GetKind::of(self.keys.len())
    }

    /// Whether its SELECT has no other get: its values are known to be large, and their room is reserved.
    pub(crate) fn is_alone(&self) -> bool {
        self.kind() == GetKind::Multi && self.charge.as_ref().is_some_and(Charge::is_reserved)
    }

    fn is_too_large(&self) -> bool {
        self.bytes > REPLY_VALUES_BYTES_MAX
    }

    /// Whether the request has stopped waiting for its reply.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    /// Forgets the rows that came so far: all rows of a reply come from the same SELECT.
    fn reset(&mut self) {
        self.found.clear();
        self.found.resize_with(self.keys.len(), || None);
        (self.damaged, self.bytes, self.weight) = (None, 0, 0);
        self.open = self.keys.len();
        if let Some(charge) = &mut self.charge {
            charge.clear();
        }
    }

    fn put(&mut self, position: usize, row: Result<Entry, RowError>) {
        assert!(self.found.get(position).is_none_or(Option::is_none), "a SELECT brought a key twice");
        self.open -= 1;
        let (entry, bytes, weight) = match row {
            Ok(entry) => {
                let (bytes, weight) = (entry.value.len(), body::weight(&entry));
                (Some(entry), bytes, weight)
            }
            Err(RowError::LeftOut { key, bytes }) => (None, bytes, body::weight_at_least(key.len(), bytes)),
            Err(RowError::Damaged(row)) => {
                self.damaged = Some(row);
                (None, 0, 0)
            }
        };
        self.bytes = self.bytes.saturating_add(bytes);
        self.weight = self.weight.saturating_add(weight);
        let is_wanted = entry.is_some() && !self.is_too_large();
        if is_wanted && self.charge.as_mut().is_some_and(|charge| charge.grow(weight)) {
            self.found[position] = entry;
        } else {
            (self.found, self.charge) = (Vec::new(), None);
        }
    }

    fn answer(self) {
        let Self { keys, found, damaged, bytes, weight, charge, reply, .. } = self;
        let outcome = match (damaged, charge) {
            (Some(row), _) => Err(ReadError::Damaged(row)),
            (None, _) if bytes > REPLY_VALUES_BYTES_MAX => Err(ReadError::TooLarge { bytes }),
            (None, Some(charge)) => Ok(GetOutcome::Done(FoundEntries { keys, found, charge })),
            (None, None) => Ok(GetOutcome::NoRoom(keys, NoRoom { bytes: weight })),
        };
        // An abandoned get needs no reply.
        let _ = reply.send(outcome);
    }
}

impl Select {
    /// The distinct keys of `gets`, in order, and the gets that wait for their rows.
    pub(crate) fn new(gets: Vec<Get>, backlog: Arc<Backlog>) -> (Vec<Key>, Self) {
        let positions = gets.iter().enumerate().flat_map(|(get, Get { keys, .. })| {
            (0..keys.len()).map(move |position| Want { key: 0, get, position })
        });
        let mut wants: Vec<Want> = positions.collect();
        let key = |want: &Want| &gets[want.get].keys[want.position];
        wants.sort_unstable_by(|left, right| key(left).cmp(key(right)));
        let mut keys: Vec<Key> = Vec::with_capacity(wants.len());
        for want in &mut wants {
            let wanted = key(want);
            if keys.last() != Some(wanted) {
                keys.push(wanted.clone());
            }
            want.key = keys.len() - 1;
        }
        let gets = gets.into_iter().map(Some).collect();
        (keys, Self { gets, wants, backlog })
    }

    /// The most bytes of a value that the SELECT of `keys` is to bring. A longer value is left out, and only its size comes. A
    /// multi-get that is too large then costs little, and the values of one that is not are read when they have room.
    pub(crate) fn value_bytes_max(&self, keys: &[Key]) -> Option<usize> {
        match self.gets.first().and_then(Option::as_ref) {
            Some(get) if get.is_alone() => Some(REPLY_VALUES_BYTES_MAX),
            Some(get) if get.kind() == GetKind::Multi => Some(REPLY_VALUES_BYTES_MAX / keys.len()),
            Some(_) | None => None,
        }
    }

    /// Gives a row of the SELECT of `keys` to every get that wants it, and answers the gets that are complete. `Break` if no get needs
    /// the rows to come, because their values are too large already.
    pub(crate) fn row(&mut self, keys: &[Key], row: Result<Entry, RowError>) -> ControlFlow<()> {
        let (key, bytes) = match &row {
            Ok(entry) => (entry.key.as_str().as_bytes(), entry.value.len()),
            Err(RowError::LeftOut { key, bytes }) => (key.as_bytes(), *bytes),
            Err(RowError::Damaged(row)) => (row.key(), 0),
        };
        let at = keys.binary_search_by(|asked| asked.as_str().as_bytes().cmp(key));
        let at = at.expect("a SELECT brings no key that it was not asked for");
        self.backlog.weigh(bytes);
        let start = self.wants.partition_point(|want| want.key < at);
        let end = start + self.wants[start..].partition_point(|want| want.key == at);
        // No get wants the key that checks a connection.
        let Some(last) = (start..end).next_back() else { return ControlFlow::Continue(()) };
        let mut is_too_large = false;
        // The last get takes the row itself, the others a copy.
        for index in start..last {
            is_too_large |= self.give(self.wants[index], row.clone());
        }
        is_too_large |= self.give(self.wants[last], row);
        if is_too_large && self.gets.iter().flatten().all(Get::is_too_large) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Returns whether the values of the get are too large.
    fn give(&mut self, want: Want, row: Result<Entry, RowError>) -> bool {
        let slot = &mut self.gets[want.get];
        let get = slot.as_mut().expect("each key has one row, so a get that has all rows gets no other");
        get.put(want.position, row);
        let is_too_large = get.is_too_large();
        if get.open == 0
            && let Some(get) = slot.take()
        {
            get.answer();
        }
        is_too_large
    }

    /// The SELECT has ended: keys whose row did not come are absent.
    pub(crate) fn finish(self) {
        self.gets.into_iter().flatten().for_each(Get::answer);
    }

    /// The SELECT has failed, and another one may succeed. Returns the gets that still wait for a complete reply.
    pub(crate) fn retry(self) -> Vec<Get> {
        let mut gets: Vec<Get> = self.gets.into_iter().flatten().collect();
        gets.retain(|get| !get.is_abandoned());
        gets.iter_mut().for_each(Get::reset);
        gets
    }

    /// The SELECT has failed for good.
    pub(crate) fn fail(self) {
        for get in self.gets.into_iter().flatten() {
            // An abandoned get needs no reply.
            let _ = get.reply.send(Err(ReadError::Internal));
        }
    }
}

#[cfg(test)]
mod tests;
