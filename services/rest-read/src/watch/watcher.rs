//! One stream as the rounds see it: what it watches, and what it has to send next.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chassis::peer::Peer;
use tokio::sync::Notify;

use crate::watch::position::{Position, ResetReason};
use crate::watch::target::{Fingerprint, Target};

/// The most rounds that wait for a client. A watcher that has more to send joins a later round instead, and is told everything
/// that changed meanwhile at once.
const ROUNDS_MAX: usize = 2;

/// How long a client must have taken nothing before it may lose its connection to make room for others.
const STALLED_MIN: Duration = Duration::from_secs(1);

/// A stream, shared between its response and the rounds.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) target: Target,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) with_values: bool,
    /// The connection of the client. `None` in tests.
    peer: Option<Arc<Peer>>,
    outbox: Mutex<Outbox>,
    /// There is something to send, or the membership has changed.
    changed: Notify,
}

/// What a stream has to send.
#[derive(Debug)]
struct Outbox {
    membership: Membership,
    /// The rest of an event whose beginning was sent. It must be sent, whatever happens to the watcher.
    begun: Bytes,
    /// The rounds that are not sent yet. The first one may be sent in part.
    rounds: VecDeque<Delivery>,
}

/// The events of one round for one watcher.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// In the order of the keys. Shared with other watchers.
    pub(crate) events: VecDeque<Bytes>,
    /// Where the watcher is after the events.
    pub(crate) position: Arc<Position>,
}

/// Whether a watcher takes part in the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Membership {
    /// It does not. What changes meanwhile is not kept for it.
    Apart,
    /// It waits for the next round, which will bring what has changed since its position.
    Joining,
    /// It gets every round.
    Member,
    /// Changes since its position are not in memory any more: it has to read them itself.
    CatchUp,
    /// It has to begin anew.
    Reset(ResetReason),
    /// The stream has to end.
    Ended,
}

/// What a stream does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Send this part of an event.
    Send(Bytes),
    /// Everything up to this position is sent.
    Arrived(Arc<Position>),
    /// Nothing. The watcher is a member, and has all that the rounds brought.
    Wait,
    /// Nothing. The watcher waits for the next round.
    Joining,
    /// Join a round again.
    Join,
    /// Read what has changed since the last position.
    CatchUp,
    /// Begin anew.
    Reset(ResetReason),
    /// End.
    End,
}

impl Watcher {
    pub(crate) fn new(target: Target, with_values: bool, peer: Option<Arc<Peer>>) -> Self {
        let outbox = Outbox { membership: Membership::Apart, begun: Bytes::new(), rounds: VecDeque::new() };
        let fingerprint = target.fingerprint();
        Self { target, fingerprint, with_values, peer, outbox: Mutex::new(outbox), changed: Notify::new() }
    }

    /// From now on, the client may take nothing for `limit` before its connection is closed.
    pub(crate) fn limit_client(&self, limit: Duration) {
        if let Some(peer) = &self.peer {
            peer.set_write_timeout(limit);
        }
    }

    /// Waits until [`Watcher::next`] may return something else than before. May return for no reason. Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What the stream does next. A part to send has at most `bytes_max` bytes. It is a copy, so that a client which does not take it
    /// keeps no long event in memory.
    pub(crate) fn next(&self, bytes_max: usize) -> Next {
        let mut outbox = self.outbox();
        if outbox.begun.is_empty() {
            match outbox.membership {
                Membership::Reset(reason) => return Next::Reset(reason),
                Membership::Ended => return Next::End,
                Membership::Apart | Membership::Joining | Membership::Member | Membership::CatchUp => {}
            }
            match outbox.rounds.front_mut().map(|round| round.events.pop_front()) {
                Some(Some(event)) => outbox.begun = event,
                Some(None) => {
                    let round = outbox.rounds.pop_front().expect("there is a first round");
                    return Next::Arrived(round.position);
                }
                None => return outbox.membership.next(),
            }
        }
        let part = outbox.begun.len().min(bytes_max);
        Next::Send(Bytes::copy_from_slice(&outbox.begun.split_to(part)))
    }

    /// Whether the watcher gets the next round.
    pub(crate) fn is_member(&self) -> bool {
        self.outbox().membership == Membership::Member
    }

    /// The watcher waits for the next round.
    pub(crate) fn join(&self) {
        let mut outbox = self.outbox();
        if outbox.membership != Membership::Ended {
            outbox.membership = Membership::Joining;
        }
    }

    /// The watcher reads by itself from now on, until it joins again.
    pub(crate) fn leave(&self) {
        let mut outbox = self.outbox();
        outbox.rounds.clear();
        if outbox.membership != Membership::Ended {
            outbox.membership = Membership::Apart;
        }
    }

    /// Gives a member a round. If its client has not taken the rounds before, the watcher leaves, and joins again when they are
    /// taken.
    pub(crate) fn deliver(&self, delivery: Delivery) {
        let mut outbox = self.outbox();
        if outbox.membership != Membership::Member {
            return;
        }
        if outbox.rounds.len() < ROUNDS_MAX {
            outbox.rounds.push_back(delivery);
        } else {
            outbox.membership = Membership::Apart;
        }
        drop(outbox);
        self.changed.notify_one();
    }

    /// Makes a watcher that joins a member, with the round that brings what it has missed.
    pub(crate) fn admit(&self, delivery: Delivery) {
        let mut outbox = self.outbox();
        if outbox.membership == Membership::Joining {
            outbox.membership = Membership::Member;
            outbox.rounds.push_back(delivery);
        }
        drop(outbox);
        self.changed.notify_one();
    }

    /// The rounds cannot bring what the watcher has missed: it has to read that by itself.
    pub(crate) fn send_to_catch_up(&self) {
        self.exclude(Membership::CatchUp);
    }

    /// The watcher gets no more rounds until it joins again.
    pub(crate) fn send_away(&self) {
        self.exclude(Membership::Apart);
    }

    /// The stream begins anew. A watcher that reads by itself finds the reason when it joins.
    pub(crate) fn reset(&self, reason: ResetReason) {
        self.exclude(Membership::Reset(reason));
    }

    /// The stream ends.
    pub(crate) fn end(&self) {
        let mut outbox = self.outbox();
        outbox.membership = Membership::Ended;
        outbox.rounds.clear();
        drop(outbox);
        self.changed.notify_one();
    }

    /// Drops the rounds that wait for the client, to make room. The watcher joins again at the last position that was sent. A client
    /// that has taken nothing for [`STALLED_MIN`] in the middle of an event loses its connection.
    pub(crate) fn give_way(&self) {
        let mut outbox = self.outbox();
        if outbox.membership == Membership::Member && !outbox.rounds.is_empty() {
            outbox.membership = Membership::Apart;
            outbox.rounds.clear();
        }
        if !outbox.begun.is_empty()
            && let Some(peer) = self.peer.as_ref().filter(|peer| peer.stalled() >= Some(STALLED_MIN))
        {
            peer.reset();
            outbox.begun = Bytes::new();
            outbox.membership = Membership::Ended;
        }
        drop(outbox);
        self.changed.notify_one();
    }

    /// Takes a watcher out of the rounds, if it takes part in them or is about to.
    fn exclude(&self, membership: Membership) {
        let mut outbox = self.outbox();
        match outbox.membership {
            Membership::Joining | Membership::Member => outbox.membership = membership,
            Membership::Apart | Membership::CatchUp | Membership::Reset(_) | Membership::Ended => return,
        }
        drop(outbox);
        self.changed.notify_one();
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Membership {
    /// What a stream does when there is nothing to send.
    fn next(self) -> Next {
        match self {
            Self::Apart => Next::Join,
            Self::Joining => Next::Joining,
            Self::Member => Next::Wait,
            Self::CatchUp => Next::CatchUp,
            Self::Reset(reason) => Next::Reset(reason),
            Self::Ended => Next::End,
        }
    }
}

#[cfg(test)]
mod tests;
