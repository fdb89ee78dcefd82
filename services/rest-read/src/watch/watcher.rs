//! A watcher: one stream as the rounds see it. It has the target, and what the stream has to send next.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chassis::peer::Peer;
use tokio::sync::Notify;

use crate::watch::position::{Position, ResetReason};
use crate::watch::target::{Fingerprint, Target};

/// The most rounds that wait for a client. A watcher with so many does not get the next round. When they are sent it joins again, and gets
/// what has changed meanwhile as one round.
const ROUNDS_MAX: usize = 2;

/// How long a client must have taken nothing before its connection may be reset to free memory.
const STALLED_MIN: Duration = Duration::from_secs(1);

/// A stream, shared between its response and the rounds.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) target: Target,
    pub(crate) fingerprint: Fingerprint,
    /// Whether events have values.
    pub(crate) with_values: bool,
    /// The connection of the client. `None` in tests.
    peer: Option<Arc<Peer>>,
    outbox: Mutex<Outbox>,
    /// Notified when there is something to send, or the membership has changed.
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
    /// It does not, and is to join when it has sent what it has. Nothing that changes meanwhile is kept for it.
    Detached,
    /// It waits for the next round, which will bring what has changed since its position.
    Joining,
    /// It gets every round.
    Member,
    /// It has to catch up: the rounds cannot bring what it has missed.
    CatchUp,
    /// It has to send `reset` and a snapshot.
    Reset(ResetReason),
    /// The stream has to end.
    Ended,
}

/// What a stream does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Send this part of an event.
    Send(Bytes),
    /// Send an id, if one is due: the events of a round are sent, and everything up to this position.
    RoundSent(Arc<Position>),
    /// Wait. The watcher is a member, and has sent everything that the rounds brought.
    Wait,
    /// Wait for the round that admits the watcher.
    Joining,
    /// Join the rounds, at the position of the last id.
    Join,
    /// Catch up from the position of the last id.
    CatchUp,
    /// Send `reset` and a snapshot.
    Reset(ResetReason),
    /// End the stream.
    End,
}

impl Watcher {
    pub(crate) fn new(target: Target, with_values: bool, peer: Option<Arc<Peer>>) -> Self {
        let outbox =
            Outbox { membership: Membership::Detached, begun: Bytes::new(), rounds: VecDeque::new() };
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
                Membership::Detached | Membership::Joining | Membership::Member | Membership::CatchUp => {}
            }
            match outbox.rounds.front_mut().map(|round| round.events.pop_front()) {
                Some(Some(event)) => outbox.begun = event,
                Some(None) => {
                    let round = outbox.rounds.pop_front().expect("there is a first round");
                    return Next::RoundSent(round.position);
                }
                None => return outbox.membership.next(),
            }
        }
        let part = outbox.begun.len().min(bytes_max);
        Next::Send(Bytes::copy_from_slice(&outbox.begun.split_to(part)))
    }

    /// Whether the watcher is a member, and so gets the next round.
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

    /// Takes the watcher out of the rounds, and drops the rounds that wait. It is left alone until it joins again.
    pub(crate) fn leave(&self) {
        let mut outbox = self.outbox();
        outbox.rounds.clear();
        if outbox.membership != Membership::Ended {
            outbox.membership = Membership::Detached;
        }
    }

    /// Gives a member a round. If [`ROUNDS_MAX`] rounds wait already, the watcher is detached instead.
    pub(crate) fn deliver(&self, delivery: Delivery) {
        let mut outbox = self.outbox();
        if outbox.membership != Membership::Member {
            return;
        }
        if outbox.rounds.len() < ROUNDS_MAX {
            outbox.rounds.push_back(delivery);
        } else {
            outbox.membership = Membership::Detached;
        }
        drop(outbox);
        self.changed.notify_one();
    }

    /// Makes a joining watcher a member. `delivery` brings what it has missed.
    pub(crate) fn admit(&self, delivery: Delivery) {
        let mut outbox = self.outbox();
        if outbox.membership == Membership::Joining {
            outbox.membership = Membership::Member;
            outbox.rounds.push_back(delivery);
        }
        drop(outbox);
        self.changed.notify_one();
    }

    /// Makes the watcher catch up, because the rounds cannot bring what it has missed.
    pub(crate) fn send_to_catch_up(&self) {
        self.exclude(Membership::CatchUp);
    }

    /// The watcher gets no more rounds until it joins again. It sends the rounds that wait before it does.
    pub(crate) fn detach(&self) {
        self.exclude(Membership::Detached);
    }

    /// Resets the stream. A watcher that catches up learns the reason when it joins.
    pub(crate) fn reset(&self, reason: ResetReason) {
        self.exclude(Membership::Reset(reason));
    }

    /// Ends the stream, after the event that is sent in part.
    pub(crate) fn end(&self) {
        let mut outbox = self.outbox();
        outbox.membership = Membership::Ended;
        outbox.rounds.clear();
        drop(outbox);
        self.changed.notify_one();
    }

    /// Frees memory: drops the rounds that wait for the client. The watcher joins again at the position of the last id, so nothing is lost. If the
    /// client has taken nothing for [`STALLED_MIN`] in the middle of an event, its connection is reset.
    pub(crate) fn free_memory(&self) {
        let mut outbox = self.outbox();
        if outbox.membership == Membership::Member && !outbox.rounds.is_empty() {
            outbox.membership = Membership::Detached;
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

    /// Sets the membership of a joining watcher or a member. Others are left alone.
    fn exclude(&self, membership: Membership) {
        let mut outbox = self.outbox();
        match outbox.membership {
            Membership::Joining | Membership::Member => outbox.membership = membership,
            Membership::Detached | Membership::CatchUp | Membership::Reset(_) | Membership::Ended => return,
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
            Self::Detached => Next::Join,
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
