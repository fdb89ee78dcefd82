//! What a single key is to be: a register that may be empty, with a revision that grows with every write.
//!
//! What is known of a key is a single possibility, also after writes without an answer: such a write stands in an order
//! only where it was applied. So it is always known whether the key is there and with which value; only of its revision
//! there may be nothing but bounds.

use crate::step::Step;
use crate::{Answer, Did};

/// What is known of a key after some operations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Known {
    /// The value; None if the key is absent.
    value: Option<u64>,
    /// The revision of the last write that was applied: that of the value, if there is one.
    last: Last,
}

/// What is known of a revision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Last {
    /// It was told. 0 before the first write.
    Is(u64),
    /// Nobody was told: it is this or larger, and none of those in `not`, which are sorted and larger than `least`.
    From { least: u64, not: Vec<u64> },
}

impl Known {
    /// Before the first operation.
    pub(crate) const NOTHING: Self = Self { value: None, last: Last::Is(0) };

    /// What is known after `step`; None if it cannot have been answered like that here, or if it has no answer and cannot
    /// have been applied here.
    pub(crate) fn after(&self, step: &Step) -> Option<Self> {
        match step.did {
            Did::Set { value, if_rev, answer } => self.write(Some(value), if_rev, answer, step),
            Did::Delete { if_rev, answer } => self.write(None, if_rev, answer, step),
            Did::Read(found) => self.read(found.map(|(value, _)| value), step.rev),
        }
    }

    fn read(&self, found: Option<u64>, rev: Option<u64>) -> Option<Self> {
        let last = self.last.clone().known(rev)?;
        (self.value == found).then(|| self.with(last))
    }

    /// After a set, or a delete if there is no value.
    fn write(
        &self,
        value: Option<u64>,
        if_rev: Option<u64>,
        answer: Option<Answer>,
        step: &Step,
    ) -> Option<Self> {
        let (was_there, is_set) = (self.value.is_some(), value.is_some());
        let is_applied = match answer {
            Some(Answer::Created(_)) => is_set && !was_there,
            Some(Answer::Updated(_)) => is_set && was_there,
            Some(Answer::Deleted(_)) => !is_set && was_there,
            Some(Answer::Absent) if is_set || was_there => return None,
            Some(Answer::Absent) => return Some(self.with(self.if_true(if_rev)?)),
            Some(Answer::Mismatch(_)) => return self.mismatched(if_rev, step.told),
            None => is_set || was_there,
        };
        if is_applied { self.written(value, if_rev, step) } else { None }
    }

    /// After a write that was applied.
    fn written(&self, value: Option<u64>, if_rev: Option<u64>, step: &Step) -> Option<Self> {
        let last = self.if_true(if_rev)?.next(step.told)?.known(step.rev)?;
        Some(Self { value, last })
    }

    /// After a write whose condition was false, and the revision that its answer showed.
    fn mismatched(&self, if_rev: Option<u64>, shown: Option<u64>) -> Option<Self> {
        let last = self.if_false(if_rev)?;
        match (shown, self.value) {
            (Some(0) | None, None) => Some(self.with(last)),
            (Some(_), None) => None,
            (shown, Some(_)) => Some(self.with(last.known(shown)?)),
        }
    }

    /// The last revision if the condition is true; None if it cannot be.
    fn if_true(&self, if_rev: Option<u64>) -> Option<Last> {
        match (if_rev, self.value) {
            (None, _) | (Some(0), None) => Some(self.last.clone()),
            (Some(0), Some(_)) | (Some(_), None) => None,
            (Some(rev), Some(_)) => self.last.is(rev),
        }
    }

    /// The last revision if the condition is false; None if it cannot be.
    fn if_false(&self, if_rev: Option<u64>) -> Option<Last> {
        match (if_rev, self.value) {
            (None, _) | (Some(0), None) => None,
            (Some(0), Some(_)) | (Some(_), None) => Some(self.last.clone()),
            (Some(rev), Some(_)) => self.last.is_not(rev),
        }
    }

    /// The same, and more is known of the revision.
    fn with(&self, last: Last) -> Self {
        Self { value: self.value, last }
    }
}

impl Last {
    /// It turns out to be `rev`. None if it cannot be.
    fn is(&self, rev: u64) -> Option<Self> {
        let may_be = match self {
            Self::Is(told) => *told == rev,
            Self::From { least, not } => rev >= *least && !not.contains(&rev),
        };
        may_be.then_some(Self::Is(rev))
    }

    /// It turns out to be `rev`, if that is known. None if it cannot be.
    fn known(self, rev: Option<u64>) -> Option<Self> {
        match rev {
            Some(rev) => self.is(rev),
            None => Some(self),
        }
    }

    /// It turns out not to be `rev`. None if it must be.
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

    /// The revision that follows, which the answer told or not. None if it cannot follow.
    ///
    /// One that was told is larger than all before it. Of several in a row that nobody was told only the last needs a
    /// number of its own: what was committed together has one revision, if no answer shows more than that.
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
