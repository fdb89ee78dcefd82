//! Chooses the key of each operation, and the value of each set.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use rand::RngExt as _;
use rand::distr::{Alphanumeric, Distribution as _, SampleString as _};
use rand::rngs::SmallRng;
use rand_distr::Zipf;

use super::args::{BenchArgs, Distribution};

/// The exponent of the Yahoo Cloud Serving Benchmark.
const ZIPF_EXPONENT: f64 = 0.99;

/// Values are slices of a text that is this much longer than a value, so that each write changes its row.
const SPARE_BYTES: usize = 1024;

/// The keys of a run.
#[derive(Debug)]
pub(super) struct Keys {
    prefix: String,
    count: u64,
    choice: Choice,
    text: String,
    value_bytes: usize,
}

/// How the next key is chosen.
#[derive(Debug)]
enum Choice {
    /// Each key in turn, across all clients.
    InTurn(AtomicU64),
    Uniform,
    Zipf(Zipf<f64>),
}

/// Appends the key with this number to `to`.
pub(super) fn write_key(prefix: &str, number: u64, to: &mut String) {
    write!(to, "{prefix}{number:08}").expect("a String takes any text");
}

impl Keys {
    /// Each key in turn.
    pub(super) fn in_turn(args: &BenchArgs) -> Self {
        Self::new(args, Choice::InTurn(AtomicU64::new(0)))
    }

    /// Random keys of the configured distribution.
    pub(super) fn drawn(args: &BenchArgs) -> anyhow::Result<Self> {
        let choice = match args.distribution {
            Distribution::Uniform => Choice::Uniform,
            Distribution::Zipf => {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a distribution needs no exact number of keys"
                )]
                let count = args.keys.get() as f64;
                Choice::Zipf(Zipf::new(count, ZIPF_EXPONENT).context("no such distribution")?)
            }
        };
        Ok(Self::new(args, choice))
    }

    fn new(args: &BenchArgs, choice: Choice) -> Self {
        let value_bytes = args.value_bytes as usize;
        let text = Alphanumeric.sample_string(&mut rand::rng(), value_bytes + SPARE_BYTES);
        Self { prefix: args.key_prefix.clone(), count: args.keys.get(), choice, text, value_bytes }
    }

    /// Appends the next key to `to`.
    pub(super) fn next(&self, rng: &mut SmallRng, to: &mut String) {
        let number = match &self.choice {
            Choice::InTurn(next) => next.fetch_add(1, Ordering::Relaxed) % self.count,
            Choice::Uniform => rng.random_range(0..self.count),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "1 to the count of keys"
            )]
            Choice::Zipf(zipf) => zipf.sample(rng) as u64 - 1,
        };
        write_key(&self.prefix, number, to);
    }

    /// A value. It probably differs from the value before.
    pub(super) fn value(&self, rng: &mut SmallRng) -> &str {
        let from = rng.random_range(0..SPARE_BYTES);
        &self.text[from..from + self.value_bytes]
    }
}
