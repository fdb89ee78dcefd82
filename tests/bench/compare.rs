//! `tests/bench/pairs`: is a new build slower than an old one?

mod builds;
mod instructions;
mod plan;
mod rates;
mod table;

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::figures::{LOADS, name};
use crate::machine::{ENGINES, possible};
use crate::ours::BenchLoad;
use builds::{Builds, Revision};
use plan::ComparePlan;
use table::Table;

/// Exit code: the arguments are invalid.
const USAGE: u8 = 64;

/// Exit code: a figure could not be measured.
const FAILED: u8 = 2;

/// Compares two builds as `args` say, and prints the table. The exit code is 0 if the new build is not slower, and 1 if it is.
pub(crate) async fn run(args: impl IntoIterator<Item = String>) -> ExitCode {
    // Dropping the future of `compare` ends everything that it has started.
    let done = tokio::select! {
        biased;
        () = interrupted() => Err((FAILED, "interrupted".into())),
        done = compare(args) => done,
    };
    match done {
        Ok(table) => {
            println!("\n{table}");
            ExitCode::from(u8::from(table.is_slower()))
        }
        Err((code, problem)) => {
            eprintln!("pairs: {problem}");
            ExitCode::from(code)
        }
    }
}

/// The table, or an exit code and a message.
async fn compare(args: impl IntoIterator<Item = String>) -> Result<Table, (u8, String)> {
    let usage = |problem| (USAGE, problem);
    let failed = |problem| (FAILED, problem);
    let plan = ComparePlan::read(args).map_err(usage)?;
    let loads = loads();
    let engines = ENGINES.into_iter().filter(|&engine| !plan.wanted(engine, &loads).is_empty());
    let engines: Vec<_> = engines.collect();
    let counts = instructions::OPERATIONS.iter().any(|operation| plan.wants(operation.name));
    if engines.is_empty() && !counts {
        return Err(usage("no figure has that word in its name".into()));
    }
    let builds = Builds::open().map_err(failed)?;
    let [old, new] = &plan.revisions;
    let [old, new] = [builds.find(old).map_err(usage)?, builds.find(new).map_err(usage)?];
    let (old_build, new_build) =
        (builds.get(&old).await.map_err(failed)?, builds.get(&new).await.map_err(failed)?);
    let both = [&old_build, &new_build];
    let (mut figures, mut missing) = (Vec::new(), Vec::new());
    for engine in engines {
        match possible(engine) {
            Ok(()) => figures.extend(rates::measure(engine, both, &plan, &loads).await),
            Err(reason) => missing.push(format!("{} ({reason})", name(engine))),
        }
    }
    if counts {
        match instructions::possible() {
            Ok(()) => figures.extend(instructions::measure(both, &plan).await),
            Err(reason) => missing.push(format!("instructions ({reason})")),
        }
    }
    if figures.is_empty() {
        return Err(failed(format!("nothing could be measured: {}", missing.join("; "))));
    }
    let same = old.tree == new.tree;
    let revisions = [old, new].map(|Revision { name, .. }| name);
    Ok(Table { revisions, same, figures, missing })
}

/// The loads of every engine: those of the table, and sessions that are put off again and again.
fn loads() -> Vec<BenchLoad> {
    let sessions = BenchLoad { ttl: Some(60), ..BenchLoad::sets(32, 64) };
    LOADS.into_iter().chain([sessions]).collect()
}

/// Waits for a signal that ends this run.
async fn interrupted() {
    let on = |kind| signal(kind).expect("signals can be listened for");
    let (mut terminate, mut interrupt) = (on(SignalKind::terminate()), on(SignalKind::interrupt()));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
