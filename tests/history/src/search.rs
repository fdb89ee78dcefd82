//! Is there an order that makes sense? Whatever may come next is tried (Wing and Gong), but not twice from where the same
//! is done and known (Lowe).

use std::collections::HashSet;
use std::time::Instant;

use crate::register::Known;
use crate::step::Step;

/// The beginning of an order. How its steps are ordered does not matter any more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Begun {
    /// A bit for each step that is in it.
    done: Box<[u64]>,
    /// How many of them were answered, and how many have a place.
    answered: usize,
    placed: usize,
    /// What is known after them.
    known: Known,
}

/// A step that may come next, and what is known after it.
type Way = (usize, Known);

/// Whether some order of `steps` makes sense. Those without an answer may be left out of it.
pub(crate) fn some_order_makes_sense(mut steps: Vec<Step>) -> bool {
    steps.sort_by_key(|step| step.called);
    let answered = steps.iter().filter(|step| step.is_answered()).count();
    let nothing = vec![0; steps.len().div_ceil(64)].into();
    let mut left = vec![Begun { done: nothing, answered: 0, placed: 0, known: Known::NOTHING }];
    let (mut tried, mut ways) = (HashSet::new(), Vec::new());
    while let Some(mut begun) = left.pop() {
        // As long as there is one way only, nothing has to be remembered.
        loop {
            if begun.answered == answered {
                return true;
            }
            begun.find_ways(&steps, &mut ways);
            let ([_], Some((at, known))) = (&ways[..], ways.first().cloned()) else { break };
            begun.go(&steps, at, known);
        }
        if ways.len() > 1 && tried.insert(begun.clone()) {
            let gone = |(at, known)| {
                let mut begun = begun.clone();
                begun.go(&steps, at, known);
                begun
            };
            left.extend(ways.drain(..).rev().map(gone));
        }
    }
    false
}

impl Begun {
    /// Finds what may come next: whatever fits and was sent before anything else that is left was answered.
    fn find_ways(&self, steps: &[Step], ways: &mut Vec<Way>) {
        ways.clear();
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
            let Some(known) = self.known.after(step) else { continue };
            if known == self.known {
                // It changes nothing. So if there is an order that goes on from here, there is one with this in front.
                ways.clear();
                ways.push((at, known));
                return;
            }
            ways.push((at, known));
        }
        // What was not answered came late, or never: it is tried last.
        ways.sort_by_key(|(at, _)| !steps[*at].is_answered());
    }

    fn has(&self, at: usize) -> bool {
        self.done[at / 64] & (1 << (at % 64)) != 0
    }

    fn go(&mut self, steps: &[Step], at: usize, known: Known) {
        self.done[at / 64] |= 1 << (at % 64);
        self.answered += usize::from(steps[at].is_answered());
        self.placed += usize::from(steps[at].behind.is_some());
        self.known = known;
    }
}
