//! Property tests: the checker has the same verdict as a search that tries every order.

use std::ops::Range;

use proptest::prelude::*;

use crate::corpus::judge;
use crate::model::{BruteForceModel, Timed, hide, is_linearizable, without_rev};
use crate::{Did, ReplyOutcome};

/// An operation before it is carried out, and how much its reply shows.
#[derive(Debug, Clone)]
struct Draft {
    is_read: bool,
    is_set: bool,
    condition: DraftCondition,
    /// The growth of the revision if it writes.
    growth: u64,
    detail: ReplyDetail,
    /// The time from sending to the effect, and from the effect to the reply.
    window: (u64, u64),
}

#[derive(Debug, Clone, Copy)]
enum DraftCondition {
    None,
    Absent,
    /// The condition names the revision of the key at this moment.
    Current,
    Other(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReplyDetail {
    All,
    NoRev,
    Nothing,
}

fn a_draft(
    window: Range<u64>,
    growth: Range<u64>,
    detail: impl Strategy<Value = ReplyDetail>,
) -> impl Strategy<Value = Draft> {
    let condition = prop_oneof![
        5 => Just(DraftCondition::None),
        2 => Just(DraftCondition::Absent),
        3 => Just(DraftCondition::Current),
        2 => (1_u64..9).prop_map(DraftCondition::Other),
    ];
    let op = (prop::bool::weighted(0.35), prop::bool::weighted(0.65), condition);
    (op, growth, detail, (window.clone(), window)).prop_map(
        |((is_read, is_set, condition), growth, detail, window)| Draft {
            is_read,
            is_set,
            condition,
            growth,
            detail,
            window,
        },
    )
}

fn any_detail() -> impl Strategy<Value = ReplyDetail> {
    prop_oneof![4 => Just(ReplyDetail::All), 2 => Just(ReplyDetail::NoRev), 1 => Just(ReplyDetail::Nothing)]
}

/// Carries out `drafts` one after another. Returns the true history.
fn happened(drafts: &[Draft]) -> Vec<Timed> {
    let mut model = BruteForceModel::EMPTY;
    let op = |(number, draft): (u64, &Draft)| {
        let if_rev = match draft.condition {
            DraftCondition::None => None,
            DraftCondition::Absent => Some(0),
            DraftCondition::Current => Some(model.rev()),
            DraftCondition::Other(rev) => Some(rev),
        };
        let did = match draft {
            Draft { is_read: true, .. } => Did::Read(None),
            Draft { is_set: true, .. } => Did::Set { value: number, if_rev, reply: None },
            Draft { is_set: false, .. } => Did::Delete { if_rev, reply: None },
        };
        let full = model.carry_out(did, model.last + draft.growth);
        let moment = number * 10;
        let answered = moment + draft.window.1;
        let did = heard(full, draft.detail);
        Timed {
            called: moment.saturating_sub(draft.window.0),
            answered: Some(answered).filter(|_| did.is_answered()),
            did,
        }
    };
    (1..).zip(drafts).map(op).collect()
}

fn heard(full: Did, detail: ReplyDetail) -> Did {
    let part = |reply: Option<ReplyOutcome>| match detail {
        ReplyDetail::All => reply,
        ReplyDetail::NoRev => reply.map(without_rev),
        ReplyDetail::Nothing => None,
    };
    let as_in = match full {
        Did::Read(found) if detail == ReplyDetail::All => Did::Read(found),
        Did::Read(found) => Did::Read(found.map(|(value, _)| (value, None))),
        Did::Set { value, if_rev, reply } => Did::Set { value, if_rev, reply: part(reply) },
        Did::Delete { if_rev, reply } => Did::Delete { if_rev, reply: part(reply) },
    };
    hide(full, as_in)
}

/// `did` with another outcome.
fn corrupted(did: Did, reply: ReplyOutcome, value: u64) -> Did {
    match did {
        Did::Set { value, if_rev, .. } => Did::Set { value, if_rev, reply: Some(reply) },
        Did::Delete { if_rev, .. } => Did::Delete { if_rev, reply: Some(reply) },
        Did::Read(_) => match reply {
            ReplyOutcome::Created(rev) | ReplyOutcome::Updated(rev) | ReplyOutcome::Deleted(rev) => {
                Did::Read(Some((value, rev)))
            }
            ReplyOutcome::Absent | ReplyOutcome::Mismatch(_) => Did::Read(None),
        },
    }
}

fn any_outcome(rev: impl Strategy<Value = Option<u64>> + Clone) -> impl Strategy<Value = ReplyOutcome> {
    prop_oneof![
        rev.clone().prop_map(ReplyOutcome::Created),
        rev.clone().prop_map(ReplyOutcome::Updated),
        rev.clone().prop_map(ReplyOutcome::Deleted),
        Just(ReplyOutcome::Absent),
        rev.prop_map(ReplyOutcome::Mismatch),
    ]
}

fn is_good(ops: &[Timed]) -> bool {
    let ops: Vec<_> = ops.iter().map(|op| (op.called, op.answered.unwrap_or(0), op.did)).collect();
    judge(&ops)
}

/// At least `cases`; `PROPTEST_CASES` may set more.
fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(cases), ..default }
}

proptest! {
    #![proptest_config(config(3000))]

    #[test]
    fn the_verdict_is_that_of_trying_every_order(
        drafts in prop::collection::vec(a_draft(0..35, 1..3, any_detail()), 1..7),
        corruptions in prop::collection::vec(
            (any::<prop::sample::Index>(), any_outcome(prop::option::of(0_u64..10)), 1_u64..7),
            0..3,
        ),
    ) {
        let mut ops = happened(&drafts);
        for (at, reply, value) in corruptions {
            let op = at.get_mut(&mut ops);
            op.did = corrupted(op.did, reply, value);
        }
        prop_assert_eq!(is_good(&ops), is_linearizable(&ops, 24), "{:?}", ops);
    }

    #[test]
    fn what_happened_is_good(
        drafts in prop::collection::vec(a_draft(0..60, 0..3, any_detail()), 1..30),
    ) {
        let ops = happened(&without_doubles(drafts));
        prop_assert!(is_good(&ops), "{:?}", ops);
    }

    #[test]
    fn a_single_wrong_reply_is_bad_if_everything_is_known(
        drafts in prop::collection::vec(a_draft(0..1, 1..3, Just(ReplyDetail::All)), 1..20),
        at in any::<prop::sample::Index>(),
        reply in any_outcome((0_u64..30).prop_map(Some)),
        value in 1_u64..40,
    ) {
        // A read behind each operation, so that its effect is seen.
        let read = |draft: &Draft| Draft { is_read: true, ..draft.clone() };
        let drafts: Vec<_> = drafts.iter().flat_map(|draft| [draft.clone(), read(draft)]).collect();
        let mut ops = happened(&drafts);
        prop_assert!(is_good(&ops));
        let op = at.get_mut(&mut ops);
        let wrong = corrupted(op.did, reply, value);
        let is_other = wrong != op.did && !(is_deleted(wrong) && is_deleted(op.did));
        op.did = wrong;
        prop_assert!(!(is_other && is_good(&ops)), "{:?}", ops);
    }
}

/// Whether it is a delete that was applied. No other operation shows its revision.
fn is_deleted(did: Did) -> bool {
    matches!(did, Did::Delete { reply: Some(ReplyOutcome::Deleted(_)), .. })
}

/// Only plain sets in a row whose replies show no revision may share one.
fn without_doubles(mut drafts: Vec<Draft>) -> Vec<Draft> {
    let mut may_share = false;
    for draft in &mut drafts {
        let is_plain = !draft.is_read
            && draft.is_set
            && draft.detail != ReplyDetail::All
            && matches!(draft.condition, DraftCondition::None);
        if !(is_plain && may_share) {
            draft.growth = draft.growth.max(1);
        }
        may_share = is_plain;
    }
    drafts
}
