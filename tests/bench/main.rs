//! `tests/bench/run` compares Keywire with its databases and with other stores. `tests/bench/pairs` compares two builds of Keywire.
//! `tests/bench/watches` measures watches.
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a terminal is where it is used")]

mod compare;
mod curves;
mod facts;
mod figures;
mod gateway;
mod http;
mod machine;
mod other_stores;
mod ours;
mod plot;
mod raw;
mod report;
mod spread;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use machine::Machine;

/// How long and how often each figure is measured.
#[derive(Debug, Clone)]
struct BenchPlan {
    quick: bool,
    rounds: usize,
    span: Duration,
    /// Measure only what has this in its name.
    only: Option<String>,
    out: PathBuf,
}

impl BenchPlan {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut quick, mut only, mut out) = (false, None, None);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => quick = true,
                "--only" => only = Some(args.next().ok_or("--only needs a word")?),
                flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
                path if out.is_none() => out = Some(PathBuf::from(path)),
                more => return Err(format!("only one folder can be given: {more}")),
            }
        }
        let (rounds, span) = if quick { (3, Duration::from_secs(1)) } else { (5, Duration::from_secs(3)) };
        let out = out.unwrap_or_else(|| "tests/bench/results".into());
        Ok(Self { quick, rounds, span, only, out })
    }

    /// Whether `name` is to be measured.
    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|word| name.contains(word.as_str()))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).peekable();
    if args.next_if(|arg| arg == "pairs").is_some() {
        return compare::run(args).await;
    }
    if args.next_if(|arg| arg == "watch").is_some() {
        return watch::run(args).await;
    }
    match BenchPlan::read(args) {
        Ok(plan) => measure(&plan).await,
        Err(problem) => {
            eprintln!("bench: {problem}");
            return ExitCode::from(64);
        }
    }
    ExitCode::SUCCESS
}

/// Measures everything in `plan`, and writes the table and the plots.
async fn measure(plan: &BenchPlan) {
    std::fs::create_dir_all(&plan.out).expect("the folder of the results can be made");
    let begun = Instant::now();
    let machine = Machine::start().await;
    let figures = figures::measure(&machine, plan).await;
    let mut facts = facts::measure(&machine, plan).await;
    let curves = curves::measure(&machine, plan).await;
    facts.extend(facts::peaks(&machine, plan));
    facts.extend(facts::against_the_original(&figures));
    let text = report::markdown(plan, &figures, &facts, &curves, begun.elapsed());
    std::fs::write(plan.out.join("README.md"), &text).expect("the table can be written");
    for curve in &curves {
        plot::write(curve, &plan.out);
    }
    println!("\n{text}");
}
