//! Any batch, on any state of the store, has the same effect as its writes one by one.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use db::plan_model::{Model, ModelRow, means_the_same, revs_grow};
use db::{Change, Expiry, Key, Op, Rev, Value, Write};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

/// Few keys, so that many writes have the same key.
const KEYS: u8 = 6;

#[derive(Debug, Arbitrary)]
struct Input {
    /// The first revision of the batch.
    first: u32,
    start: BTreeMap<u8, StoredBefore>,
    writes: Vec<WriteDraft>,
}

/// The state of a key before the batch.
#[derive(Debug, Arbitrary)]
struct StoredBefore {
    /// Its revision, near the first of the batch.
    rev: u8,
    life: Life,
}

#[derive(Debug, Arbitrary)]
enum Life {
    Dead,
    For(u16),
    Until(u16),
    Ever,
}

#[derive(Debug, Arbitrary)]
enum WriteDraft {
    One(OpDraft),
    Atomic(Vec<OpDraft>),
}

#[derive(Debug, Arbitrary)]
struct OpDraft {
    key: u8,
    set: Option<(u8, Life)>,
    /// A revision near the first of the batch, or absence.
    only_if: Option<Option<u8>>,
    asks_rev: bool,
}

fuzz_target!(|input: Input| {
    let first = u64::from(input.first) + 100;
    let start: Model = input
        .start
        .into_iter()
        .map(|(key, was)| {
            let expiry = was.life.expiry();
            let value = if expiry == Expiry::At(0) { String::new() } else { "old".into() };
            (name(key), ModelRow { value, rev: near(first, was.rev), expiry })
        })
        .collect();
    let writes: Vec<Write> = input.writes.into_iter().filter_map(|ask| ask.write(first)).collect();
    means_the_same(&start, &writes, first);
    revs_grow(&start, &writes, first);
});

impl WriteDraft {
    /// The write. A batch has each key once and is not empty.
    fn write(self, first: u64) -> Option<Write> {
        match self {
            Self::One(op) => Some(Write::One(op.op(first))),
            Self::Atomic(ops) => {
                let mut keys = BTreeSet::new();
                let ops = ops.into_iter().map(|op| op.op(first));
                let ops: Vec<Op> = ops.filter(|op| keys.insert(op.key.clone())).collect();
                if ops.is_empty() { None } else { Some(Write::Atomic(ops)) }
            }
        }
    }
}

impl OpDraft {
    fn op(self, first: u64) -> Op {
        let key = Key::new(name(self.key), 512).expect("short");
        let change = match self.set {
            None | Some((_, Life::Dead)) => Change::Delete,
            Some((value, life)) => {
                Change::Set(Value::new(value.to_string(), 512).expect("short"), life.expiry())
            }
        };
        let if_rev = self.only_if.map(|rev| Rev(rev.map_or(0, |rev| near(first, rev))));
        Op { key, change, if_rev, asks_rev: self.asks_rev }
    }
}

impl Life {
    fn expiry(&self) -> Expiry {
        match self {
            Self::Dead => Expiry::At(0),
            Self::For(seconds) => Expiry::After(u64::from(*seconds) + 1),
            Self::Until(instant) => Expiry::At(u64::from(*instant) + 1),
            Self::Ever => Expiry::Never,
        }
    }
}

fn name(key: u8) -> String {
    format!("k{}", key % KEYS)
}

/// A revision from a little before `first` on.
fn near(first: u64, rev: u8) -> u64 {
    first - 8 + u64::from(rev % 32)
}
