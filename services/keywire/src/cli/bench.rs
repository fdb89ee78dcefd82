//! `keywire bench`: puts load on a running server and measures its throughput and latency.

mod args;
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
use chassis::process::terminal::say;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use keys::Keys;
use load_client::LoadClient;
use load_run::LoadRun;
use report::Report;
use results::Results;
use schedule::Schedule;

pub(crate) use args::BenchArgs;

/// The most clients that connect at the same time: more could overflow the accept queue of the server.
const CONNECTING_MAX: usize = 64;

/// Operations in flight on each socket that fills the store.
const FILL_PIPELINE: usize = 64;

/// The most sockets that fill the store.
const FILL_CLIENTS: usize = 32;

/// Runs the load and prints the report as a table or as JSON. The run fails if a client cannot connect, a connection breaks, or
/// a reply is not from Keywire: one line on stderr, exit code 1.
pub(crate) fn bench(args: &BenchArgs) -> ExitCode {
    let done = run(args).and_then(|report| {
        let mut out = std::io::stdout();
        if args.json { writeln!(out, "{}", report.json()) } else { write!(out, "{report}") }
            .context("cannot print the result")?;
        Ok(report.succeeded())
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(format_args!("keywire bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    // Each client is a connection.
    raise_limit().context("cannot raise the limit of open files")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.threads.get())
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        if args.reads > 0 && !args.no_fill {
            fill(args).await.context("cannot write the keys for the reads")?;
        }
        measure(args).await
    })
}

/// Writes every key once, so that reads find it.
async fn fill(args: &BenchArgs) -> anyhow::Result<()> {
    let mut filling = args.clone();
    let most = usize::try_from(args.keys.get()).unwrap_or(usize::MAX).div_ceil(FILL_PIPELINE);
    filling.clients = FILL_CLIENTS.min(most).try_into().expect("there is at least one key");
    filling.pipeline = FILL_PIPELINE.try_into().expect("a pipeline is not empty");
    (filling.reads, filling.rate, filling.count) = (0, None, Some(args.keys));
    let run = LoadRun::new(filling, Keys::in_turn(args), Schedule::closed_loop(None, Some(args.keys)));
    let (clients, _) = connect(&run).await?;
    drive(&run, clients, Instant::now()).await?;
    let refused = run.results(|results| results.refused.clone());
    anyhow::ensure!(refused.is_empty(), "the server refused some writes: {refused:?}");
    Ok(())
}

/// Runs the measured load.
async fn measure(args: &BenchArgs) -> anyhow::Result<Report> {
    let keys = Keys::drawn(args)?;
    let count = args.count;
    let span = if count.is_some() { None } else { Some(Duration::from_secs_f64(args.seconds)) };
    let schedule = match args.rate {
        Some(rate) => Schedule::fixed_rate(rate.get(), args.clients.get(), span, count),
        None => Schedule::closed_loop(span, count),
    };
    let run = LoadRun::new(args.clone(), keys, schedule);
    let (clients, connecting) = connect(&run).await?;
    let cpu = report::cpu_time();
    let begun = Instant::now();
    let unsent = drive(&run, clients, begun).await?;
    let elapsed = begun.elapsed();
    let cpu = cpu.zip(report::cpu_time()).map(|(before, after)| after.saturating_sub(before));
    let results = run.results(|results| std::mem::replace(results, Results::new()));
    Ok(Report { args: args.clone(), results, elapsed, connecting, unsent, cpu })
}

/// Opens the connections of all clients. Also returns how long that took.
async fn connect(run: &LoadRun) -> anyhow::Result<(Vec<LoadClient>, Duration)> {
    let begun = Instant::now();
    let total = run.args.clients.get();
    let mut opening = JoinSet::new();
    let mut clients = Vec::with_capacity(total);
    for number in 0..total {
        if opening.len() >= CONNECTING_MAX
            && let Some(opened) = opening.join_next().await
        {
            clients.push(opened??);
        }
        opening.spawn(LoadClient::connect(run.clone(), number));
    }
    while let Some(opened) = opening.join_next().await {
        clients.push(opened??);
    }
    Ok((clients, begun.elapsed()))
}

/// Runs the clients until all have finished. Returns how many operations fell due and were never sent.
async fn drive(run: &LoadRun, clients: Vec<LoadClient>, begun: Instant) -> anyhow::Result<u64> {
    run.schedule.begin(begun);
    let mut running: JoinSet<anyhow::Result<u64>> = clients.into_iter().map(|c| c.run(begun)).collect();
    let progress = run.progress();
    let mut tick = interval(Duration::from_millis(200));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unsent = 0;
    loop {
        tokio::select! {
            ended = running.join_next() => match ended {
                Some(ended) => unsent += ended??,
                None => break,
            },
            _ = tick.tick(), if progress.is_shown() => run.show(&progress, begun.elapsed()),
        }
    }
    Ok(unsent)
}
