//! The checker means what trying every order means.

use std::ops::Range;

use proptest::prelude::*;

use crate::corpus::judge;
use crate::model::{Model, Timed, hide, some_order_makes_sense, without_rev};
use crate::{Answer, Did};

/// An operation before it is carried out, and what is heard of it.
#[derive(Debug, Clone)]
struct Draft {
    is_read: bool,
    is_set: bool,
    condition: Condition,
    /// By how much the revision grows if it writes.
    growth: u64,
    hears: Hears,
    /// How long before and after the moment at which it takes effect it was sent and answered.
    window: (u64, u64),
}

#[derive(Debug, Clone, Copy)]
enum Condition {
    None,
    Absent,
    /// On the revision the key has at this moment.
    Current,
    Other(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hears {
    All,
    NoRev,
    Nothing,
}

fn a_draft(
    window: Range<u64>,
    growth: Range<u64>,
    hears: impl Strategy<Value = Hears>,
) -> impl Strategy<Value = Draft> {
    let condition = prop_oneof![
        5 => Just(Condition::None),
        2 => Just(Condition::Absent),
        3 => Just(Condition::Current),
        2 => (1_u64..9).prop_map(Condition::Other),
    ];
    let op = (prop::bool::weighted(0.35), prop::bool::weighted(0.65), condition);
    (op, growth, hears, (window.clone(), window)).prop_map(
        |((is_read, is_set, condition), growth, hears, window)| Draft {
            is_read,
            is_set,
            condition,
            growth,
            hears,
            window,
        },
    )
}

fn hears_anything() -> impl Strategy<Value = Hears> {
    prop_oneof![4 => Just(Hears::All), 2 => Just(Hears::NoRev), 1 => Just(Hears::Nothing)]
}

/// Carries out `drafts` one after another: what really happened.
fn happened(drafts: &[Draft]) -> Vec<Timed> {
    let mut model = Model::EMPTY;
    let op = |(number, draft): (u64, &Draft)| {
        let if_rev = match draft.condition {
            Condition::None => None,
            Condition::Absent => Some(0),
            Condition::Current => Some(model.rev()),
            Condition::Other(rev) => Some(rev),
        };
        let did = match draft {
            Draft { is_read: true, .. } => Did::Read(None),
            Draft { is_set: true, .. } => Did::Set { value: number, if_rev, answer: None },
            Draft { is_set: false, .. } => Did::Delete { if_rev, answer: None },
        };
        let full = model.carry_out(did, model.last + draft.growth);
        let moment = number * 10;
        let answered = moment + draft.window.1;
        let did = heard(full, draft.hears);
        Timed {
            called: moment.saturating_sub(draft.window.0),
            answered: Some(answered).filter(|_| did.is_answered()),
            did,
        }
    };
    (1..).zip(drafts).map(op).collect()
}

fn heard(full: Did, hears: Hears) -> Did {
    let part = |answer: Option<Answer>| match hears {
        Hears::All => answer,
        Hears::NoRev => answer.map(without_rev),
        Hears::Nothing => None,
    };
    let as_in = match full {
        Did::Read(found) if hears == Hears::All => Did::Read(found),
        Did::Read(found) => Did::Read(found.map(|(value, _)| (value, None))),
        Did::Set { value, if_rev, answer } => Did::Set { value, if_rev, answer: part(answer) },
        Did::Delete { if_rev, answer } => Did::Delete { if_rev, answer: part(answer) },
    };
    hide(full, as_in)
}

/// Any answer to `did`.
fn corrupted(did: Did, answer: Answer, value: u64) -> Did {
    match did {
        Did::Set { value, if_rev, .. } => Did::Set { value, if_rev, answer: Some(answer) },
        Did::Delete { if_rev, .. } => Did::Delete { if_rev, answer: Some(answer) },
        Did::Read(_) => match answer {
            Answer::Created(rev) | Answer::Updated(rev) | Answer::Deleted(rev) => {
                Did::Read(Some((value, rev)))
            }
            Answer::Absent | Answer::Mismatch(_) => Did::Read(None),
        },
    }
}

fn an_answer(rev: impl Strategy<Value = Option<u64>> + Clone) -> impl Strategy<Value = Answer> {
    prop_oneof![
        rev.clone().prop_map(Answer::Created),
        rev.clone().prop_map(Answer::Updated),
        rev.clone().prop_map(Answer::Deleted),
        Just(Answer::Absent),
        rev.prop_map(Answer::Mismatch),
    ]
}

fn is_good(ops: &[Timed]) -> bool {
    let ops: Vec<_> = ops.iter().map(|op| (op.called, op.answered.unwrap_or(0), op.did)).collect();
    judge(&ops)
}

/// `PROPTEST_CASES` asks for more.
fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(cases), ..default }
}

proptest! {
    #![proptest_config(config(3000))]

    #[test]
    fn it_means_what_trying_every_order_means(
        drafts in prop::collection::vec(a_draft(0..35, 1..3, hears_anything()), 1..7),
        corruptions in prop::collection::vec(
            (any::<prop::sample::Index>(), an_answer(prop::option::of(0_u64..10)), 1_u64..7),
            0..3,
        ),
    ) {
        let mut ops = happened(&drafts);
        for (at, answer, value) in corruptions {
            let op = at.get_mut(&mut ops);
            op.did = corrupted(op.did, answer, value);
        }
        prop_assert_eq!(is_good(&ops), some_order_makes_sense(&ops, 24), "{:?}", ops);
    }

    #[test]
    fn what_happened_is_good(
        drafts in prop::collection::vec(a_draft(0..60, 0..3, hears_anything()), 1..30),
    ) {
        let ops = happened(&without_doubles(drafts));
        prop_assert!(is_good(&ops), "{:?}", ops);
    }

    #[test]
    fn a_single_wrong_answer_is_bad_where_everything_is_known(
        drafts in prop::collection::vec(a_draft(0..1, 1..3, Just(Hears::All)), 1..20),
        at in any::<prop::sample::Index>(),
        answer in an_answer((0_u64..30).prop_map(Some)),
        value in 1_u64..40,
    ) {
        // A read behind each, so that whatever it did is seen.
        let read = |draft: &Draft| Draft { is_read: true, ..draft.clone() };
        let drafts: Vec<_> = drafts.iter().flat_map(|draft| [draft.clone(), read(draft)]).collect();
        let mut ops = happened(&drafts);
        prop_assert!(is_good(&ops));
        let op = at.get_mut(&mut ops);
        let wrong = corrupted(op.did, answer, value);
        let is_other = wrong != op.did && !(is_deleted(wrong) && is_deleted(op.did));
        op.did = wrong;
        prop_assert!(!(is_other && is_good(&ops)), "{:?}", ops);
    }
}

/// Whether it deleted something. Nobody can see with which revision.
fn is_deleted(did: Did) -> bool {
    matches!(did, Did::Delete { answer: Some(Answer::Deleted(_)), .. })
}

/// Only sets that nobody is told of may share a revision, one after another.
fn without_doubles(mut drafts: Vec<Draft>) -> Vec<Draft> {
    let mut may_share = false;
    for draft in &mut drafts {
        let is_plain = !draft.is_read
            && draft.is_set
            && draft.hears != Hears::All
            && matches!(draft.condition, Condition::None);
        if !(is_plain && may_share) {
            draft.growth = draft.growth.max(1);
        }
        may_share = is_plain;
    }
    drafts
}
