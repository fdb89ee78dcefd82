//! The model of a key: a register that may be empty, with a revision that grows with every write.
//!
//! After each step of an order there is exactly one possible state. This is so even after a write with an unknown outcome, because
//! an order contains such a write only if the order takes it as applied. So the state always says whether the key exists, and its
//! value. For the revision, the state sometimes has only bounds.

use crate::operation::{Did, ReplyOutcome};
use crate::step::Step;

/// The state of a key after some operations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RegisterState {
    /// The value; `None` if the key is absent.
    value: Option<u64>,
    /// The revision of the last write that was applied. It is the revision of the value, if there is one.
    last: LastRev,
}

/// The knowledge about the last revision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum LastRev {
    /// It is this revision. 0 before the first write.
    Is(u64),
    /// It is `least` or larger, and none of the revisions in `not`, which are sorted and larger than `least`.
    From { least: u64, not: Vec<u64> },
}

impl RegisterState {
    /// The state before the first operation.
    pub(crate) const EMPTY: Self = Self { value: None, last: LastRev::Is(0) };

    /// The state after `step`. `None` if the step cannot have this outcome here, or if its outcome is unknown and it cannot have been
    /// applied here.
    pub(crate) fn after(&self, step: &Step) -> Option<Self> {
        match step.did {
            Did::Set { value, if_rev, reply } => self.write(Some(value), if_rev, reply, step),
            Did::Delete { if_rev, reply } => self.write(None, if_rev, reply, step),
            Did::Read(found) => self.read(found.map(|(value, _)| value), step.rev),
        }
    }

    fn read(&self, found: Option<u64>, rev: Option<u64>) -> Option<Self> {
        let last = self.last.clone().known(rev)?;
        (self.value == found).then(|| self.with(last))
    }

    /// The state after a set, or after a delete if there is no value.
    fn write(
        &self,
        value: Option<u64>,
        if_rev: Option<u64>,
        reply: Option<ReplyOutcome>,
        step: &Step,
    ) -> Option<Self> {
        let (was_there, is_set) = (self.value.is_some(), value.is_some());
        let is_applied = match reply {
            Some(ReplyOutcome::Created(_)) => is_set && !was_there,
            Some(ReplyOutcome::Updated(_)) => is_set && was_there,
            Some(ReplyOutcome::Deleted(_)) => !is_set && was_there,
            Some(ReplyOutcome::Absent) if is_set || was_there => return None,
            Some(ReplyOutcome::Absent) => return Some(self.with(self.if_true(if_rev)?)),
            Some(ReplyOutcome::Mismatch(_)) => return self.mismatched(if_rev, step.told),
            None => is_set || was_there,
        };
        if is_applied { self.written(value, if_rev, step) } else { None }
    }

    /// The state after a write that was applied.
    fn written(&self, value: Option<u64>, if_rev: Option<u64>, step: &Step) -> Option<Self> {
        let last = self.if_true(if_rev)?.next(step.told)?.known(step.rev)?;
        Some(Self { value, last })
    }

    /// The state after a write whose condition was false. `shown` is the revision that its reply shows.
    fn mismatched(&self, if_rev: Option<u64>, shown: Option<u64>) -> Option<Self> {
        let last = self.if_false(if_rev)?;
        match (shown, self.value) {
            (Some(0) | None, None) => Some(self.with(last)),
            (Some(_), None) => None,
            (shown, Some(_)) => Some(self.with(last.known(shown)?)),
        }
    }

    /// The last revision if the condition is true. `None` if it cannot be true.
    fn if_true(&self, if_rev: Option<u64>) -> Option<LastRev> {
        match (if_rev, self.value) {
            (None, _) | (Some(0), None) => Some(self.last.clone()),
            (Some(0), Some(_)) | (Some(_), None) => None,
            (Some(rev), Some(_)) => self.last.is(rev),
        }
    }

    /// The last revision if the condition is false. `None` if it cannot be false.
    fn if_false(&self, if_rev: Option<u64>) -> Option<LastRev> {
        match (if_rev, self.value) {
            (None, _) | (Some(0), None) => None,
            (Some(0), Some(_)) | (Some(_), None) => Some(self.last.clone()),
            (Some(rev), Some(_)) => self.last.is_not(rev),
        }
    }

    /// The same state with more knowledge about the revision.
    fn with(&self, last: LastRev) -> Self {
        Self { value: self.value, last }
    }
}

impl LastRev {
    /// The knowledge that it is `rev`. `None` if it cannot be.
    fn is(&self, rev: u64) -> Option<Self> {
        let may_be = match self {
            Self::Is(told) => *told == rev,
            Self::From { least, not } => rev >= *least && !not.contains(&rev),
        };
        may_be.then_some(Self::Is(rev))
    }

    /// The knowledge that it is `rev`, if `rev` is known. `None` if it cannot be.
    fn known(self, rev: Option<u64>) -> Option<Self> {
        match rev {
            Some(rev) => self.is(rev),
            None => Some(self),
        }
    }

    /// The knowledge that it is not `rev`. `None` if it must be.
    fn is_not(&self, rev: u64) -> Option<Self> {
        let (mut least, mut not) = match self {
            Self::Is(told) => return (*told != rev).then(|| self.clone()),
            Self::From { least, not } => (*least, not.clone()),
        };
        if let Err(at) = not.binary_search(&rev)
            && rev >= least
        {
            not.insert(at, rev);
        }
        while not.first() == Some(&least) {
            not.remove(0);
            least = least.saturating_add(1);
        }
        Some(Self::From { least, not })
    }

    /// The revision of the next write. `told` is the revision that its reply shows. `None` if it cannot be the next one.
    ///
    /// A revision that a reply shows is larger than all before it. Several writes in a row whose replies show no revision may share
    /// one: they may have been committed together.
    fn next(&self, told: Option<u64>) -> Option<Self> {
        match (told, self) {
            (Some(told), Self::Is(last) | Self::From { least: last, .. }) => {
                (told > *last).then_some(Self::Is(told))
            }
            (None, Self::Is(last)) => Some(Self::From { least: last.saturating_add(1), not: Vec::new() }),
            (None, Self::From { least, .. }) => Some(Self::From { least: *least, not: Vec::new() }),
        }
    }
}
