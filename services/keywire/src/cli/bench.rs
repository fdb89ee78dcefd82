//! `keywire bench`: puts load on a running server and measures its throughput and latency.

mod args;
mod cleanup;
mod drive;
mod gets;
mod keys;
mod load_client;
mod load_run;
mod report;
mod results;
mod schedule;
mod sets;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chassis::process::descriptors::raise_limit;
use chassis::process::stop::Signals;
use chassis::process::terminal::say;

use crate::cli::client::signal_exit_code;

use drive::{LoadEnd, Stopped, connect, drive};
use keys::Keys;
use load_run::LoadRun;
use report::Report;
use results::Results;
use schedule::Schedule;

pub(crate) use args::BenchArgs;

/// Operations in flight on each socket that fills the store.
const FILL_PIPELINE: usize = 64;

/// The most sockets that fill the store.
const FILL_CLIENTS: usize = 32;

/// Runs the load, prints the report as a table or as JSON, and deletes the keys. The run fails if a client cannot connect, a
/// connection breaks, or a reply is not from Keywire: one line on stderr, exit code 1.
pub(crate) fn bench(args: &BenchArgs) -> ExitCode {
    run(args).unwrap_or_else(|error| {
        say(format_args!("keywire bench: {error:#}"));
        ExitCode::FAILURE
    })
}

fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    // Each client is a connection.
    raise_limit().context("cannot raise the limit of open files")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.threads.get())
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut signals = Signals::listen().context("cannot catch signals")?;
        let (succeeded, interrupted) = match measure(args, &mut signals).await {
            Ok(report) => {
                print(&report).context("cannot print the result")?;
                (report.succeeded(), report.interrupted)
            }
            Err(Stopped::Interrupted(signal)) => {
                say("keywire bench: interrupted; nothing was measured");
                (false, Some(signal))
            }
            Err(Stopped::Failed(error)) => return Err(error),
        };
        if !args.leaves_keys() {
            let left = format!("keys that begin with {:?} may be left", args.key_prefix);
            tokio::select! {
                deleted = cleanup::delete_keys(args) => deleted.with_context(|| left)?,
                signal = signals.next() => {
                    say(format_args!("keywire bench: interrupted; {left}"));
                    return Ok(signal_exit_code(signal));
                }
            }
        }
        Ok(match interrupted {
            Some(signal) => signal_exit_code(signal),
            None if succeeded => ExitCode::SUCCESS,
            None => ExitCode::FAILURE,
        })
    })
}

fn print(report: &Report) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    if report.args.json { writeln!(out, "{}", report.json()) } else { write!(out, "{report}") }
}

/// Writes the keys for the reads, then runs and measures the load. A signal ends the load early; the report then has what was measured
/// until the signal.
async fn measure(args: &BenchArgs, signals: &mut Signals) -> Result<Report, Stopped> {
    if args.reads > 0 && !args.no_fill {
        fill(args, signals).await?;
    }
    let keys = Keys::drawn(args)?;
    let count = args.count;
    let span = if count.is_some() { None } else { Some(Duration::from_secs_f64(args.seconds)) };
    let schedule = match args.rate {
        Some(rate) => Schedule::fixed_rate(rate.get(), args.clients.get(), span, count),
        None => Schedule::closed_loop(span, count),
    };
    let run = LoadRun::new(args.clone(), keys, schedule);
    let (clients, connecting) = connect(&run, signals).await?;
    let cpu = report::cpu_time();
    let begun = Instant::now();
    let LoadEnd { unsent, interrupted } = drive(&run, clients, begun, signals).await?;
    let elapsed = begun.elapsed();
    let cpu = cpu.zip(report::cpu_time()).map(|(before, after)| after.saturating_sub(before));
    let results = run.results(|results| std::mem::replace(results, Results::new()));
    Ok(Report { args: args.clone(), results, elapsed, connecting, unsent, cpu, interrupted })
}

/// Writes every key once, so that reads find it.
async fn fill(args: &BenchArgs, signals: &mut Signals) -> Result<(), Stopped> {
    let mut filling = args.clone();
    let most = usize::try_from(args.keys.get()).unwrap_or(usize::MAX).div_ceil(FILL_PIPELINE);
    filling.clients = FILL_CLIENTS.min(most).try_into().expect("there is at least one key");
    filling.pipeline = FILL_PIPELINE.try_into().expect("a pipeline is not empty");
    (filling.reads, filling.rate, filling.count) = (0, None, Some(args.keys));
    let run = LoadRun::new(filling, Keys::in_turn(args), Schedule::closed_loop(None, Some(args.keys)));
    let failed = |stopped| match stopped {
        Stopped::Failed(error) => Stopped::Failed(error.context("cannot write the keys for the reads")),
        Stopped::Interrupted(signal) => Stopped::Interrupted(signal),
    };
    let (clients, _) = connect(&run, signals).await.map_err(failed)?;
    if let Some(signal) = drive(&run, clients, Instant::now(), signals).await.map_err(failed)?.interrupted {
        return Err(Stopped::Interrupted(signal));
    }
    let refused = run.results(|results| results.refused.clone());
    if refused.is_empty() {
        return Ok(());
    }
    Err(failed(Stopped::Failed(anyhow::anyhow!("the server refused some writes: {refused:?}"))))
}
