//! Searches for an order that explains all replies. It tries every step that may be next (Wing and Gong), but never twice from the
//! same state (Lowe).

use std::collections::HashSet;
use std::time::Instant;

use crate::register::RegisterState;
use crate::step::Step;

/// The beginning of an order. The order of its steps does not matter any more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct OrderPrefix {
    /// One bit for each step; set if the step is in the prefix.
    done: Box<[u64]>,
    /// How many of its steps are answered, and how many have a position.
    answered: usize,
    placed: usize,
    /// The state of the key after them.
    state: RegisterState,
}

/// The index of a step that may be next, and the state after it.
type Candidate = (usize, RegisterState);

/// Whether some order of `steps` explains all replies. Steps with an unknown outcome may be left out.
pub(crate) fn is_linearizable(mut steps: Vec<Step>) -> bool {
    steps.sort_by_key(|step| step.called);
    let answered = steps.iter().filter(|step| step.is_answered()).count();
    let nothing = vec![0; steps.len().div_ceil(64)].into();
    let mut left = vec![OrderPrefix { done: nothing, answered: 0, placed: 0, state: RegisterState::EMPTY }];
    let (mut tried, mut candidates) = (HashSet::new(), Vec::new());
    while let Some(mut prefix) = left.pop() {
        // As long as there is only one candidate, no state has to be remembered.
        loop {
            if prefix.answered == answered {
                return true;
            }
            prefix.find_candidates(&steps, &mut candidates);
            let ([_], Some((at, state))) = (&candidates[..], candidates.first().cloned()) else { break };
            prefix.go(&steps, at, state);
        }
        if candidates.len() > 1 && tried.insert(prefix.clone()) {
            let extended = |(at, state)| {
                let mut prefix = prefix.clone();
                prefix.go(&steps, at, state);
                prefix
            };
            left.extend(candidates.drain(..).rev().map(extended));
        }
    }
    false
}

impl OrderPrefix {
    /// Finds the steps that may come next. Such a step fits the state, and it was sent before any other remaining step was answered.
    fn find_candidates(&self, steps: &[Step], candidates: &mut Vec<Candidate>) {
        candidates.clear();
        let mut end: Option<Instant> = None;
        let first = self.done.iter().take_while(|word| **word == u64::MAX).count() * 64;
        for (at, step) in steps.iter().enumerate().skip(first).filter(|(at, _)| !self.has(*at)) {
            if end.is_some_and(|end| end < step.called) {
                break;
            }
            end = [end, step.answered].into_iter().flatten().min();
            if step.behind.is_some_and(|others| self.placed < others) {
                continue;
            }
            let Some(state) = self.state.after(step) else { continue };
            if state == self.state {
                // The step does not change the state. If any order continues from here, there is also one in which this step is next.
                candidates.clear();
                candidates.push((at, state));
                return;
            }
            candidates.push((at, state));
        }
        // A step with an unknown outcome was applied late or never: it is tried last.
        candidates.sort_by_key(|(at, _)| !steps[*at].is_answered());
    }

    fn has(&self, at: usize) -> bool {
        self.done[at / 64] & (1 << (at % 64)) != 0
    }

    fn go(&mut self, steps: &[Step], at: usize, state: RegisterState) {
        self.done[at / 64] |= 1 << (at % 64);
        self.answered += usize::from(steps[at].is_answered());
        self.placed += usize::from(steps[at].behind.is_some());
        self.state = state;
    }
}
