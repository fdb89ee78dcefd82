//! Good and bad histories of one key. Each bad one has a different reason.

use std::time::{Duration, Instant};

use crate::ReplyOutcome::{Absent, Created, Deleted, Mismatch, Updated};
use crate::{Did, Operation, ReplyOutcome, not_linearizable};

/// Operations as `(called, answered, did)`, in milliseconds. `answered` is 0 without a reply.
type History<'a> = &'a [(u64, u64, Did)];

pub(crate) fn judge(ops: History<'_>) -> bool {
    let zero = Instant::now();
    let at = |ms| zero + Duration::from_millis(ms);
    let op = |&(called, answered, did): &(u64, u64, Did)| Operation {
        key: 7,
        called: at(called),
        answered: Some(at(answered)).filter(|_| answered > 0),
        did,
    };
    not_linearizable(&ops.iter().map(op).collect::<Vec<_>>()).is_empty()
}

fn set(value: u64, reply: ReplyOutcome) -> Did {
    Did::Set { value, if_rev: None, reply: Some(reply) }
}

fn set_if(rev: u64, value: u64, reply: ReplyOutcome) -> Did {
    Did::Set { value, if_rev: Some(rev), reply: Some(reply) }
}

fn delete(reply: ReplyOutcome) -> Did {
    Did::Delete { if_rev: None, reply: Some(reply) }
}

fn delete_if(rev: u64, reply: ReplyOutcome) -> Did {
    Did::Delete { if_rev: Some(rev), reply: Some(reply) }
}

fn read(value: u64, rev: u64) -> Did {
    Did::Read(Some((value, Some(rev))))
}

/// A read whose reply shows no revision.
fn found(value: u64) -> Did {
    Did::Read(Some((value, None)))
}

const NOTHING: Did = Did::Read(None);

/// A set and a delete without a reply.
const fn lost_set(value: u64, if_rev: Option<u64>) -> Did {
    Did::Set { value, if_rev, reply: None }
}

const fn lost_delete(if_rev: Option<u64>) -> Did {
    Did::Delete { if_rev, reply: None }
}

const NEW: ReplyOutcome = Created(None);
const OLD: ReplyOutcome = Updated(None);
const GONE: ReplyOutcome = Deleted(None);

fn all_good(histories: &[History<'_>]) {
    for ops in histories {
        assert!(judge(ops), "{ops:?}");
    }
}

fn all_bad(histories: &[History<'_>]) {
    for ops in histories {
        assert!(!judge(ops), "{ops:?}");
    }
}

#[test]
fn values_that_make_sense_are_good() {
    all_good(&[
        &[],
        &[(1, 2, set(1, NEW)), (3, 4, found(1)), (5, 6, delete(GONE)), (7, 8, NOTHING)],
        // Concurrent writes may be in either order.
        &[(1, 9, set(1, NEW)), (1, 9, set(2, OLD)), (2, 3, found(1)), (4, 5, found(2))],
        // A write without a reply may have taken effect late, or never.
        &[(1, 0, lost_set(1, None)), (2, 3, NOTHING), (4, 5, found(1))],
        &[(1, 0, lost_set(1, None)), (2, 3, NOTHING), (4, 5, set(2, NEW)), (6, 7, found(2))],
        &[(1, 9, set_if(0, 1, NEW)), (2, 8, set_if(0, 2, Mismatch(None))), (10, 11, found(1))],
        // The time of a reply with an unknown outcome does not matter.
        &[(1, 2, lost_set(1, None)), (3, 4, NOTHING), (5, 6, found(1))],
        &[(1, 2, delete(Absent)), (3, 4, delete_if(0, Absent)), (5, 6, NOTHING)],
    ]);
}

#[test]
fn values_that_make_no_sense_are_bad() {
    all_bad(&[
        // An acknowledged write that is not read.
        &[(1, 2, set(1, NEW)), (3, 4, NOTHING)],
        // A read that returns an older state than an earlier read.
        &[(1, 9, set(1, NEW)), (2, 3, found(1)), (4, 5, NOTHING)],
        // An old write that undoes a newer one.
        &[(1, 2, set(1, NEW)), (3, 4, set(2, OLD)), (5, 6, found(1))],
        // A write without a reply that takes effect twice.
        &[(1, 0, lost_set(1, None)), (2, 3, found(1)), (4, 5, set(2, OLD)), (6, 7, found(1))],
        // A value that was never written.
        &[(1, 2, found(1))],
        // Two writes whose condition is the same absence.
        &[(1, 9, set_if(0, 1, NEW)), (2, 8, set_if(0, 2, NEW))],
        // The wrong outcome: created, updated, deleted or absent.
        &[(1, 2, set(1, NEW)), (3, 4, set(2, NEW))],
        &[(1, 2, set(1, OLD))],
        &[(1, 2, delete(GONE))],
        &[(1, 2, set(1, NEW)), (3, 4, delete(Absent))],
        // The outcome of another kind of operation.
        &[(1, 2, set(1, Absent))],
        &[(1, 2, delete(NEW))],
        &[(1, 2, set(1, NEW)), (3, 4, delete(OLD))],
        &[(1, 2, set(1, NEW)), (3, 4, set(2, GONE))],
    ]);
}

#[test]
fn revisions_that_make_sense_are_good() {
    all_good(&[
        &[
            (1, 2, set(1, Created(Some(5)))),
            (3, 4, read(1, 5)),
            (5, 6, set(2, Updated(Some(6)))),
            (7, 8, read(2, 6)),
        ],
        // Revisions grow in the order in which the writes took effect, not in the order of their replies.
        &[(1, 9, set(1, Updated(Some(8)))), (1, 9, set(2, Created(Some(5)))), (10, 11, read(1, 8))],
        // Revisions still grow after a delete.
        &[
            (1, 2, set(1, Created(Some(5)))),
            (3, 4, delete(Deleted(Some(6)))),
            (5, 6, set(2, Created(Some(7)))),
        ],
        // A read, or a false condition, shows a revision that the reply to the write did not show.
        &[(1, 2, set(1, NEW)), (3, 4, read(1, 5)), (5, 6, set_if(5, 2, Updated(Some(6))))],
        &[(1, 2, set(1, NEW)), (3, 4, set_if(9, 2, Mismatch(Some(5)))), (5, 6, read(1, 5))],
        // Between two revisions that were shown there may be one that was not; several writes that nobody read may share it.
        &[(1, 2, set(1, Created(Some(5)))), (3, 4, set(2, OLD)), (5, 6, set(3, Updated(Some(7))))],
        &[(1, 2, set(1, Created(Some(5)))), (3, 9, set(2, OLD)), (3, 9, set(3, OLD)), (10, 11, read(3, 6))],
        // A write without a reply has a revision.
        &[(1, 2, set(1, Created(Some(5)))), (3, 0, lost_set(2, None)), (4, 5, read(2, 8))],
        &[(1, 2, set(1, Created(Some(5)))), (3, 0, lost_delete(None)), (4, 5, set(2, Created(Some(7))))],
    ]);
}

#[test]
fn revisions_that_make_no_sense_are_bad() {
    all_bad(&[
        // A revision that is used twice: by two writes, by a delete, after a delete.
        &[(1, 2, set(1, Created(Some(5)))), (3, 4, set(2, Updated(Some(5))))],
        &[(1, 2, set(1, Created(Some(5)))), (3, 4, delete(Deleted(Some(5))))],
        &[
            (1, 2, set(1, Created(Some(5)))),
            (3, 4, delete(Deleted(Some(6)))),
            (5, 6, set(2, Created(Some(6)))),
        ],
        // A revision that is smaller than an earlier one.
        &[(1, 2, set(1, Created(Some(5)))), (3, 4, set(2, Updated(Some(4))))],
        &[(1, 2, set(1, Created(Some(5)))), (3, 4, delete(GONE)), (5, 6, set(2, Created(Some(3))))],
        // Revisions in another order than the values.
        &[(1, 9, set(1, Updated(Some(8)))), (1, 9, set(2, Created(Some(5)))), (10, 11, found(2))],
        // The wrong revision: of another write, of an earlier value, of an earlier read.
        &[(1, 2, set(1, Created(Some(5)))), (3, 4, read(1, 6))],
        &[(1, 2, set(1, Created(Some(5)))), (3, 4, set(2, Updated(Some(6)))), (5, 6, read(2, 5))],
        &[(1, 2, set(1, NEW)), (3, 4, read(1, 5)), (5, 6, read(1, 6))],
        // A revision that was not shown, without a free number between two that were.
        &[(1, 2, set(1, Created(Some(5)))), (3, 4, set(2, OLD)), (5, 6, set(3, Updated(Some(6))))],
        &[(1, 2, set(1, Created(Some(5)))), (3, 4, set(2, OLD)), (5, 6, read(2, 5))],
        &[(1, 2, set(1, NEW)), (3, 4, read(1, 0))],
        // Created although the key is there, with valid revisions.
        &[(1, 2, set(1, Created(Some(5)))), (3, 4, set(2, Created(Some(6))))],
        // A write without a reply that would need a revision where none is free.
        &[
            (1, 2, set(1, Created(Some(5)))),
            (3, 0, lost_set(2, None)),
            (4, 5, read(2, 6)),
            (6, 7, read(1, 5)),
        ],
        &[(1, 2, set(1, Created(Some(5)))), (3, 0, lost_delete(None)), (4, 5, set(2, Created(Some(6))))],
    ]);
}

#[test]
fn conditions_that_make_sense_are_good() {
    let one = (1, 2, set(1, Created(Some(5))));
    let gone = (3, 4, delete(Deleted(Some(6))));
    all_good(&[
        &[
            one,
            (3, 4, set_if(5, 2, Updated(Some(6)))),
            (5, 6, delete_if(6, Deleted(Some(7)))),
            (7, 8, NOTHING),
        ],
        &[
            one,
            (3, 4, set_if(4, 2, Mismatch(Some(5)))),
            (5, 6, delete_if(0, Mismatch(Some(5)))),
            (7, 8, read(1, 5)),
        ],
        // Of two writes with the same condition one is applied; the other sees its result.
        &[one, (3, 9, set_if(5, 2, Mismatch(Some(6)))), (3, 9, set_if(5, 3, Updated(Some(6))))],
        &[one, (3, 9, set_if(5, 2, Mismatch(Some(0)))), (3, 9, delete_if(5, GONE))],
        // A deleted key is absent.
        &[one, gone, (5, 6, set_if(6, 2, Mismatch(Some(0)))), (7, 8, set_if(0, 3, Created(Some(7))))],
        &[one, gone, (5, 6, delete_if(6, Mismatch(Some(0)))), (7, 8, delete_if(0, Absent))],
        // Without a reply: applied, not applied, applied late, prevented by another write.
        &[one, (3, 0, lost_set(2, Some(5))), (4, 5, read(2, 6))],
        &[one, (3, 0, lost_set(2, Some(5))), (4, 5, set_if(5, 3, Updated(Some(6)))), (6, 7, read(3, 6))],
        &[
            one,
            (3, 0, lost_delete(Some(5))),
            (4, 5, read(1, 5)),
            (6, 7, NOTHING),
            (8, 9, set(2, Created(Some(7)))),
        ],
        &[one, (3, 0, lost_set(2, Some(4))), (4, 5, read(1, 5))],
        &[(1, 0, lost_set(1, Some(0))), (2, 0, lost_set(2, Some(0))), (3, 4, NOTHING), (5, 6, read(2, 5))],
        &[one, (3, 4, set(2, OLD)), (5, 6, set_if(6, 3, Mismatch(None))), (7, 8, set(4, Updated(Some(8))))],
        // Only a condition that is true shows the revision of this write.
        &[(1, 2, set(1, NEW)), (3, 4, set_if(5, 2, OLD)), (5, 6, read(2, 6))],
        &[(1, 2, set(1, NEW)), (3, 0, lost_set(2, Some(5))), (4, 5, read(2, 6))],
        &[(1, 2, set(1, NEW)), (3, 4, set_if(5, 2, Mismatch(None))), (5, 6, read(1, 6))],
    ]);
}

#[test]
fn conditions_that_make_no_sense_are_bad() {
    let one = (1, 2, set(1, Created(Some(5))));
    let gone = (3, 4, delete(Deleted(Some(6))));
    all_bad(&[
        // Two applied writes with the same condition.
        &[one, (3, 9, set_if(5, 2, Updated(Some(6)))), (3, 9, set_if(5, 3, Updated(Some(7))))],
        &[one, (3, 9, set_if(5, 2, Updated(Some(6)))), (3, 9, delete_if(5, Deleted(Some(7))))],
        // A mismatch that shows a revision that never existed, that is out of date, or that is of an absent key.
        &[one, (3, 4, set_if(9, 2, Mismatch(Some(6)))), (5, 6, read(1, 5))],
        &[one, (3, 4, set(2, Updated(Some(6)))), (5, 6, set_if(9, 3, Mismatch(Some(5))))],
        &[one, (3, 4, set_if(9, 2, Mismatch(Some(0)))), (5, 6, read(1, 5))],
        &[(1, 2, set_if(9, 1, Mismatch(Some(5))))],
        // A mismatch although the condition is true, or without a condition.
        &[one, (3, 4, set_if(5, 2, Mismatch(Some(5)))), (5, 6, read(1, 5))],
        &[one, (3, 4, set_if(5, 2, Mismatch(None))), (5, 6, read(1, 5))],
        &[(1, 2, set_if(0, 1, Mismatch(Some(0))))],
        &[(1, 2, delete_if(0, Mismatch(Some(0))))],
        &[one, (3, 4, set(2, Mismatch(Some(5))))],
        // Applied although the condition is false.
        &[one, (3, 4, set_if(4, 2, Updated(Some(6))))],
        &[one, (3, 4, delete_if(4, Deleted(Some(6))))],
        &[one, (3, 4, delete_if(0, Deleted(Some(6))))],
        &[(1, 2, set_if(5, 1, Created(Some(6))))],
        // The condition is judged before the absence.
        &[(1, 2, delete_if(5, Absent))],
        // The revision of a delete matched a condition, or was shown as the revision of the key.
        &[one, gone, (5, 6, set_if(6, 2, Created(Some(7))))],
        &[one, gone, (5, 6, set_if(9, 2, Mismatch(Some(6))))],
        // A mismatch, but the write was applied.
        &[one, (3, 4, set_if(4, 2, Mismatch(Some(5)))), (5, 6, found(2))],
        // Without a reply: applied although the condition was never true, or although another write was applied first.
        &[one, (3, 0, lost_set(2, Some(4))), (4, 5, found(2))],
        &[one, (3, 0, lost_set(2, Some(5))), (4, 5, set_if(5, 3, Updated(Some(6)))), (6, 7, found(2))],
        &[(1, 0, lost_set(1, Some(0))), (2, 0, lost_set(2, Some(0))), (3, 4, found(1)), (5, 6, found(2))],
        // A revision that earlier conditions have excluded, or that differs from the one they have shown.
        &[(1, 2, set(1, NEW)), (3, 4, set_if(5, 2, Mismatch(None))), (5, 6, set_if(5, 3, OLD))],
        &[(1, 2, set(1, NEW)), (3, 4, set_if(5, 2, Mismatch(None))), (5, 6, set_if(9, 3, Mismatch(Some(5))))],
        &[one, (3, 4, set(2, OLD)), (5, 6, set_if(6, 3, Mismatch(None))), (7, 8, set(4, Updated(Some(7))))],
        &[
            one,
            (3, 4, set(2, OLD)),
            (5, 6, set_if(7, 3, Mismatch(None))),
            (7, 8, set_if(6, 4, Mismatch(None))),
            (9, 10, set(5, Updated(Some(8)))),
        ],
        &[(1, 2, set(1, NEW)), (3, 4, set_if(5, 2, Mismatch(None))), (5, 6, read(1, 5))],
        &[(1, 2, set(1, NEW)), (3, 4, set_if(9, 2, Mismatch(Some(5)))), (5, 6, read(1, 6))],
        &[(1, 2, set(1, NEW)), (3, 0, lost_set(2, Some(5))), (4, 5, read(2, 5))],
    ]);
}
