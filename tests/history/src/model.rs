//! One key, to the number; and every order of a few operations, tried one after another. Slow, and plain.

use std::collections::BTreeSet;

use crate::{Answer, Did};

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Model {
    value: Option<u64>,
    /// The revision of the last write that was applied.
    pub(crate) last: u64,
    /// Whether somebody was told of it, so that no other write can share it.
    is_told: bool,
}

/// An operation: the first moment at which it may have taken effect, and the last if there is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timed {
    pub(crate) called: u64,
    pub(crate) answered: Option<u64>,
    pub(crate) did: Did,
}

impl Model {
    pub(crate) const EMPTY: Self = Self { value: None, last: 0, is_told: true };

    /// The revision of the key as it is shown: 0 if it is absent.
    pub(crate) fn rev(&self) -> u64 {
        if self.value.is_some() { self.last } else { 0 }
    }

    /// Carries out what `did` asks for. If something is written it gets the revision `next`. What is answered, in full.
    pub(crate) fn carry_out(&mut self, did: Did, next: u64) -> Did {
        match did {
            Did::Read(_) => Did::Read(self.value.map(|value| (value, Some(self.last)))),
            Did::Set { value, if_rev, .. } => {
                let answer = match self.mismatch(if_rev) {
                    Some(mismatch) => mismatch,
                    None if self.value.is_some() => Answer::Updated(Some(next)),
                    None => Answer::Created(Some(next)),
                };
                if !matches!(answer, Answer::Mismatch(_)) {
                    (self.value, self.last) = (Some(value), next);
                }
                Did::Set { value, if_rev, answer: Some(answer) }
            }
            Did::Delete { if_rev, .. } => {
                let answer = match self.mismatch(if_rev) {
                    Some(mismatch) => mismatch,
                    None if self.value.is_some() => {
                        (self.value, self.last) = (None, next);
                        Answer::Deleted(Some(next))
                    }
                    None => Answer::Absent,
                };
                Did::Delete { if_rev, answer: Some(answer) }
            }
        }
    }

    fn mismatch(&self, if_rev: Option<u64>) -> Option<Answer> {
        if_rev.filter(|wanted| *wanted != self.rev()).map(|_| Answer::Mismatch(Some(self.rev())))
    }

    /// What may be there after `did`, in which no revision above `max` was given.
    fn after(self, did: Did, max: u64) -> Vec<Self> {
        let (shown, if_rev) = match did {
            Did::Read(found) => (found.and_then(|(_, rev)| rev), None),
            Did::Set { if_rev, answer, .. } | Did::Delete { if_rev, answer } => {
                (answer.and_then(shown), if_rev)
            }
        };
        // What a condition names is told, too.
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

/// Whether what was heard is part of what is so.
fn fits(heard: Did, full: Did) -> bool {
    hide(full, heard) == heard
}

/// `full`, as somebody heard it who heard as little as is in `as_in`.
pub(crate) fn hide(full: Did, as_in: Did) -> Did {
    let written = |answer: Option<Answer>, as_in: Option<Answer>| match (answer, as_in) {
        (Some(answer), Some(as_in)) if shown(as_in).is_none() => Some(without_rev(answer)),
        (answer, Some(_)) => answer,
        (_, None) => None,
    };
    match (full, as_in) {
        (Did::Read(Some((value, _))), Did::Read(Some((_, None)))) => Did::Read(Some((value, None))),
        (Did::Set { value, if_rev, answer }, Did::Set { answer: as_in, .. }) => {
            Did::Set { value, if_rev, answer: written(answer, as_in) }
        }
        (Did::Delete { if_rev, answer }, Did::Delete { answer: as_in, .. }) => {
            Did::Delete { if_rev, answer: written(answer, as_in) }
        }
        (full @ (Did::Read(_) | Did::Set { .. } | Did::Delete { .. }), _) => full,
    }
}

/// The revision that an answer shows.
fn shown(answer: Answer) -> Option<u64> {
    match answer {
        Answer::Created(rev) | Answer::Updated(rev) | Answer::Deleted(rev) | Answer::Mismatch(rev) => rev,
        Answer::Absent => None,
    }
}

pub(crate) fn without_rev(answer: Answer) -> Answer {
    match answer {
        Answer::Created(_) => Answer::Created(None),
        Answer::Updated(_) => Answer::Updated(None),
        Answer::Deleted(_) => Answer::Deleted(None),
        Answer::Absent => Answer::Absent,
        Answer::Mismatch(_) => Answer::Mismatch(None),
    }
}

/// Whether some order of `ops` makes sense. Those without an answer may also be left out.
pub(crate) fn some_order_makes_sense(ops: &[Timed], rev_max: u64) -> bool {
    let must: Vec<bool> = ops.iter().map(|op| op.did.is_answered()).collect();
    let mut seen = BTreeSet::new();
    let mut left = vec![(0_u32, Model::EMPTY)];
    while let Some((done, model)) = left.pop() {
        if !seen.insert((done, model)) {
            continue;
        }
        let is_left = |at: usize| done & (1 << at) == 0;
        if !(0..ops.len()).any(|at| must[at] && is_left(at)) {
            return true;
        }
        // Whatever was answered before it was sent comes before it.
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
