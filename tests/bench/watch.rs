//! `tests/bench/watches`: how fast changes reach watchers, and what many watchers cost.

mod hot_key;
mod idle;
mod latency;
mod stream;

use std::process::ExitCode;
use std::time::Duration;

use e2e::{Build, EngineKind};

use crate::figures::name;
use crate::machine::{ENGINES, filled, possible, server};

/// What is measured, and how long.
#[derive(Debug, Clone)]
struct WatchPlan {
    span: Duration,
    /// Idle watchers.
    idle: usize,
    /// Watchers of one key.
    hot: usize,
    only: Option<String>,
}

impl WatchPlan {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut plan = Self { span: Duration::from_secs(10), idle: 10_000, hot: 1000, only: None };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => {
                    plan = Self { span: Duration::from_secs(2), idle: 1000, hot: 100, ..plan };
                }
                "--only" => plan.only = Some(args.next().ok_or("--only needs a word")?.to_lowercase()),
                other => return Err(format!("unknown option {other}")),
            }
        }
        Ok(plan)
    }

    /// Whether `figure` of `engine` is to be measured.
    fn wants(&self, engine: EngineKind, figure: &str) -> bool {
        let figure = format!("{}: {figure}", name(engine)).to_lowercase();
        self.only.as_ref().is_none_or(|word| figure.contains(word.as_str()))
    }
}

/// A number of things, as a number to calculate with. There are fewer than 2^32 of them.
fn float(number: impl TryInto<u32>) -> f64 {
    f64::from(number.try_into().unwrap_or(u32::MAX))
}

/// Measures, and prints each figure when it is known.
pub(crate) async fn run(args: impl Iterator<Item = String>) -> ExitCode {
    let plan = match WatchPlan::read(args) {
        Ok(plan) => plan,
        Err(problem) => {
            eprintln!("bench: {problem}");
            return ExitCode::from(64);
        }
    };
    for engine in ENGINES {
        let figures = ["latency", "idle", "hot key"];
        if !figures.iter().any(|figure| plan.wants(engine, figure)) {
            continue;
        }
        if let Err(missing) = possible(engine) {
            eprintln!("bench: without {}: {missing}", name(engine));
            continue;
        }
        let server = server(engine).await;
        let mut system = filled(engine, server.as_ref(), &Build::own()).await;
        if plan.wants(engine, "latency") {
            latency::measure(&system, &plan).await;
        }
        if plan.wants(engine, "hot key") {
            hot_key::measure(&system, &plan).await;
        }
        if plan.wants(engine, "idle") {
            idle::measure(&mut system, &plan).await;
        }
    }
    ExitCode::SUCCESS
}
