//! A simple, slow model: the exact state of one key, and a search that tries every order of a few operations.

use std::collections::BTreeSet;

use crate::{Did, ReplyOutcome};

/// The exact state of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BruteForceModel {
    value: Option<u64>,
    /// The revision of the last write that was applied.
    pub(crate) last: u64,
    /// Whether a reply shows this revision, so that no other write can share it.
    is_told: bool,
}

/// An operation, with the first time at which it may have taken effect, and the last one if there is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timed {
    pub(crate) called: u64,
    pub(crate) answered: Option<u64>,
    pub(crate) did: Did,
}

impl BruteForceModel {
    pub(crate) const EMPTY: Self = Self { value: None, last: 0, is_told: true };

    /// The revision of the key as readers see it: 0 if it is absent.
    pub(crate) fn rev(&self) -> u64 {
        if self.value.is_some() { self.last } else { 0 }
    }

    /// Carries out the request of `did`. If it writes, the revision is `next`. Returns the complete outcome.
    pub(crate) fn carry_out(&mut self, did: Did, next: u64) -> Did {
        match did {
            Did::Read(_) => Did::Read(self.value.map(|value| (value, Some(self.last)))),
            Did::Set { value, if_rev, .. } => {
                let reply = match self.mismatch(if_rev) {
                    Some(mismatch) => mismatch,
                    None if self.value.is_some() => ReplyOutcome::Updated(Some(next)),
                    None => ReplyOutcome::Created(Some(next)),
                };
                if !matches!(reply, ReplyOutcome::Mismatch(_)) {
                    (self.value, self.last) = (Some(value), next);
                }
                Did::Set { value, if_rev, reply: Some(reply) }
            }
            Did::Delete { if_rev, .. } => {
                let reply = match self.mismatch(if_rev) {
                    Some(mismatch) => mismatch,
                    None if self.value.is_some() => {
                        (self.value, self.last) = (None, next);
                        ReplyOutcome::Deleted(Some(next))
                    }
                    None => ReplyOutcome::Absent,
                };
                Did::Delete { if_rev, reply: Some(reply) }
            }
        }
    }

    fn mismatch(&self, if_rev: Option<u64>) -> Option<ReplyOutcome> {
        if_rev.filter(|wanted| *wanted != self.rev()).map(|_| ReplyOutcome::Mismatch(Some(self.rev())))
    }

    /// The possible states after `did`, with revisions up to `max`.
    fn after(self, did: Did, max: u64) -> Vec<Self> {
        let (shown, if_rev) = match did {
            Did::Read(found) => (found.and_then(|(_, rev)| rev), None),
            Did::Set { if_rev, reply, .. } | Did::Delete { if_rev, reply } => (reply.and_then(shown), if_rev),
        };
        // A revision in a condition was told to a client, too.
        let is_named = self.is_told || if_rev.is_some_and(|rev| rev > 0) || shown.is_some();
        let first = if is_named { self.last + 1 } else { self.last.max(1) };
        let after = |next| {
            let mut after = self;
            let full = after.carry_out(did, next);
            let is_same = after.last == self.last && after.value == self.value;
            after.is_told = shown.is_some_and(|rev| rev > 0) || is_same && self.is_told;
            fits(did, full).then_some(after)
        };
        (first..=max).filter_map(after).collect()
    }
}

/// Whether `heard` is a part of `full`.
fn fits(heard: Did, full: Did) -> bool {
    hide(full, heard) == heard
}

/// Removes from `full` the revisions and outcomes that `as_in` does not have.
pub(crate) fn hide(full: Did, as_in: Did) -> Did {
    let written = |reply: Option<ReplyOutcome>, as_in: Option<ReplyOutcome>| match (reply, as_in) {
        (Some(reply), Some(as_in)) if shown(as_in).is_none() => Some(without_rev(reply)),
        (reply, Some(_)) => reply,
        (_, None) => None,
    };
    match (full, as_in) {
        (Did::Read(Some((value, _))), Did::Read(Some((_, None)))) => Did::Read(Some((value, None))),
        (Did::Set { value, if_rev, reply }, Did::Set { reply: as_in, .. }) => {
            Did::Set { value, if_rev, reply: written(reply, as_in) }
        }
        (Did::Delete { if_rev, reply }, Did::Delete { reply: as_in, .. }) => {
            Did::Delete { if_rev, reply: written(reply, as_in) }
        }
        (full @ (Did::Read(_) | Did::Set { .. } | Did::Delete { .. }), _) => full,
    }
}

/// The revision that a reply shows.
fn shown(reply: ReplyOutcome) -> Option<u64> {
    match reply {
        ReplyOutcome::Created(rev)
        | ReplyOutcome::Updated(rev)
        | ReplyOutcome::Deleted(rev)
        | ReplyOutcome::Mismatch(rev) => rev,
        ReplyOutcome::Absent => None,
    }
}

pub(crate) fn without_rev(reply: ReplyOutcome) -> ReplyOutcome {
    match reply {
        ReplyOutcome::Created(_) => ReplyOutcome::Created(None),
        ReplyOutcome::Updated(_) => ReplyOutcome::Updated(None),
        ReplyOutcome::Deleted(_) => ReplyOutcome::Deleted(None),
        ReplyOutcome::Absent => ReplyOutcome::Absent,
        ReplyOutcome::Mismatch(_) => ReplyOutcome::Mismatch(None),
    }
}

/// Whether some order of `ops` explains all replies. Operations with an unknown outcome may be left out.
pub(crate) fn is_linearizable(ops: &[Timed], rev_max: u64) -> bool {
    let must: Vec<bool> = ops.iter().map(|op| op.did.is_answered()).collect();
    let mut seen = BTreeSet::new();
    let mut left = vec![(0_u32, BruteForceModel::EMPTY)];
    while let Some((done, model)) = left.pop() {
        if !seen.insert((done, model)) {
            continue;
        }
        let is_left = |at: usize| done & (1 << at) == 0;
        if !(0..ops.len()).any(|at| must[at] && is_left(at)) {
            return true;
        }
        // An operation that was answered before another was sent is before it in every order.
        let behind = |at: usize, other: usize| {
            must[other] && is_left(other) && ops[other].answered.is_some_and(|other| other < ops[at].called)
        };
        let may_come = |at: &usize| is_left(*at) && !(0..ops.len()).any(|other| behind(*at, other));
        for at in (0..ops.len()).filter(may_come) {
            let after = model.after(ops[at].did, rev_max);
            left.extend(after.into_iter().map(|after| (done | 1 << at, after)));
        }
    }
    false
}
