//! Runs of many seeds, and of the seeds that once failed.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use super::script::Sabotage;
use super::simulate::{RunStats, simulate};

/// The seeds without `SCRIPTED_SEEDS`: some seconds in a debug build.
const SEEDS: Range<u64> = 0..2000;

/// Each bug of [`Sabotage`] must be found within this many runs.
const FOUND_WITHIN: u64 = 1000;

/// Seeds that found a bug of the lane, and the bug. If you change what a seed draws, these seeds no longer find it: then put the
/// bug in again for a moment and note the new seed.
const FAILED_ONCE: [(u64, &str); 9] = [
    (92, "a second write of a client overtook its first, which waited at high priority behind many others"),
    (3, "each statement of an attempt had its own time limit, so a write was answered seconds late"),
    (72, "a commit took longer than half of the time that a write has, so every write was refused for ever"),
    (185, "writes behind a statement that hung were refused when that ended, not at their deadline"),
    (98, "an atomic write that had waited for its sender's replies was queued after its deadline"),
    (4105, "a write that had waited for room was behind younger ones in the channel, and answered late"),
    (
        3148,
        "a key that had once been locked had no room for a write of its own, and was refused for a minute",
    ),
    (4146, "a lane whose last fence met a lock of somebody else stayed not ready until its next write"),
    (
        16636,
        "an atomic write with little time left was behind younger ones in the channel, and answered late",
    ),
];

/// The command that runs the seeds of the environment.
const REPLAY: &str = "cargo test -p db --lib every_promise_holds -- --nocapture";

/// The seeds of `SCRIPTED_SEEDS`, like `17` or `0..1000`, if it is set.
fn seeds_of_environment() -> Option<Range<u64>> {
    let text = std::env::var("SCRIPTED_SEEDS").ok()?;
    let number = |text: &str| text.trim().parse::<u64>().expect("SCRIPTED_SEEDS is like 17 or 0..1000");
    Some(match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(&text)..number(&text) + 1,
    })
}

/// The clock of a run.
struct RunClock(tokio::time::Instant);

impl FormatTime for RunClock {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{:>8} ms", self.0.elapsed().as_millis())
    }
}

/// Runs a seed and prints its log.
fn replay(seed: u64) -> Result<RunStats, String> {
    let log = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_timer(RunClock(tokio::time::Instant::now()))
        .with_ansi(false)
        .with_test_writer()
        .finish();
    tracing::subscriber::with_default(log, || simulate(seed, Sabotage::None))
}

/// Runs every seed on all cores. Returns the sum of their figures, or the first failure.
fn run_all(seeds: Range<u64>) -> Result<RunStats, String> {
    let next = AtomicU64::new(seeds.start);
    let work = || -> Result<RunStats, String> {
        let mut all = RunStats::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return Ok(all);
            }
            let ran =
                simulate(seed, Sabotage::None).inspect_err(|_| next.store(seeds.end, Ordering::Relaxed));
            all.add(ran?);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let mut all = RunStats::default();
        for worker in workers {
            all.add(worker.join().expect("a run does not panic")?);
        }
        Ok(all)
    })
}

#[test]
fn every_promise_holds_with_every_fault() {
    let seeds = seeds_of_environment().unwrap_or(SEEDS);
    let (begun, count) = (Instant::now(), seeds.end - seeds.start);
    let ran = if count == 1 { replay(seeds.start) } else { run_all(seeds) };
    let stats = ran.unwrap_or_else(|wrong| panic!("{wrong}\nto see it: SCRIPTED_SEEDS=N {REPLAY}"));
    let seconds = begun.elapsed().as_secs_f64();
    let log = tracing_subscriber::fmt().with_ansi(false).with_test_writer().finish();
    tracing::subscriber::with_default(log, || {
        tracing::info!(count, seconds, ?stats, "every run kept its promises");
    });
}

#[test]
fn a_run_is_its_seed() {
    for seed in 0..20 {
        let run = || simulate(seed, Sabotage::None);
        assert_eq!(run(), run(), "seed {seed}");
    }
}

#[test]
fn runs_that_once_failed_do_so_no_more() {
    for (seed, found) in FAILED_ONCE {
        simulate(seed, Sabotage::None).unwrap_or_else(|wrong| panic!("{found}, again? {wrong}"));
    }
}

/// Tests the judge: it must find `sabotage` soon.
fn is_found_soon(sabotage: Sabotage, texts: &[&str]) {
    let found = (0..FOUND_WITHIN).find_map(|seed| simulate(seed, sabotage).err());
    let found = found.unwrap_or_else(|| panic!("{sabotage:?} is not found within {FOUND_WITHIN} runs"));
    assert!(texts.iter().any(|text| found.contains(text)), "{sabotage:?} is reported as {found}");
}

#[test]
fn a_fence_that_lets_everything_pass_is_found() {
    is_found_soon(Sabotage::NoFence, &["not linearizable"]);
}

#[test]
fn a_lost_commit_taken_for_done_is_found() {
    is_found_soon(Sabotage::HopedForSeq, &["not linearizable"]);
}

#[test]
fn an_outcome_that_is_not_known_taken_for_refused_is_found() {
    // A delete has no value of its own, but its key is then not linearizable.
    is_found_soon(Sabotage::UnknownTakenForRefused, &["was refused and is applied", "not linearizable"]);
}

#[test]
fn a_clock_that_is_trusted_is_found() {
    is_found_soon(Sabotage::ClockTrusted, &["what was seen to expire may be back"]);
}

#[test]
fn a_batch_that_is_not_in_the_log_is_found() {
    is_found_soon(Sabotage::LogForgotten, &["its log says None"]);
}

#[test]
fn a_batch_in_the_log_that_was_rolled_back_is_found() {
    is_found_soon(Sabotage::LogKept, &["that was never committed is in the log", "its log says Some"]);
}

#[test]
fn a_lane_that_dies_is_found() {
    is_found_soon(Sabotage::ShortAnswer, &["still Unavailable"]);
}
