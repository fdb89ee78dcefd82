//! `keywire bench`: puts load on a running pair and tells how fast it answers.

mod args;
mod gets;
mod keys;
mod load_client;
mod report;
mod results;
mod schedule;
mod sets;

use std::io::Write as _;
use std::num::NonZeroU64;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chassis::process::terminal::say;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::progress::Progress;

use keys::Keys;
use load_client::{Client, End};
use report::Report;
use results::Tally;
use schedule::Pace;

pub(crate) use args::BenchArgs;

/// Clients that connect at the same time: a listening socket has a queue of its own, which is not to be flooded.
const CONNECTING_MAX: usize = 64;

/// Operations a filling socket has under way.
const FILL_PIPELINE: usize = 64;

/// Sockets that fill the store, at most.
const FILL_CLIENTS: usize = 32;

/// What every client of a run shares.
#[derive(Debug, Clone)]
struct Run {
    args: Arc<BenchArgs>,
    keys: Arc<Keys>,
    pace: Arc<Pace>,
    tally: Arc<Mutex<Tally>>,
}

impl Run {
    fn new(args: BenchArgs, keys: Keys, pace: Pace) -> Self {
        let tally = Arc::new(Mutex::new(Tally::new()));
        Self { args: Arc::new(args), keys: Arc::new(keys), pace: Arc::new(pace), tally }
    }

    fn tally<T>(&self, look: impl FnOnce(&mut Tally) -> T) -> T {
        look(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What there is to do: so many operations, or so many milliseconds.
    fn progress(&self) -> Progress {
        if self.args.json {
            return Progress::hidden();
        }
        let millis = Duration::from_secs_f64(self.args.seconds).as_millis();
        let total = self.args.count.map_or(u64::try_from(millis).unwrap_or(u64::MAX), NonZeroU64::get);
        Progress::new(Some(total))
    }

    fn show(&self, progress: &Progress, elapsed: Duration) {
        let (done, told) = self.tally(|tally| (tally.answered(), report::so_far(tally, elapsed)));
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        progress.at(if self.args.count.is_some() { done } else { millis }, || told);
    }
}

/// Runs the load and prints its table, or JSON. A client that cannot connect, a connection that breaks or an answer
/// that is none ends it: one line on stderr, exit code 1.
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.threads.get())
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        if args.reads > 0 && !args.no_fill {
            fill(args).await.context("cannot write the keys that are to be read")?;
        }
        measure(args).await
    })
}

/// Writes every key once, so that reads find something.
async fn fill(args: &BenchArgs) -> anyhow::Result<()> {
    let mut filling = args.clone();
    let most = usize::try_from(args.keys.get()).unwrap_or(usize::MAX).div_ceil(FILL_PIPELINE);
    filling.clients = FILL_CLIENTS.min(most).try_into().context("there is a key")?;
    filling.pipeline = FILL_PIPELINE.try_into().context("a pipeline")?;
    (filling.reads, filling.rate, filling.count) = (0, None, Some(args.keys));
    let run = Run::new(filling, Keys::in_turn(args), Pace::closed(None, Some(args.keys)));
    let (clients, _) = connect(&run).await?;
    drive(&run, clients, Instant::now()).await?;
    let refused = run.tally(|tally| tally.refused.clone());
    anyhow::ensure!(refused.is_empty(), "some were refused: {refused:?}");
    Ok(())
}

async fn measure(args: &BenchArgs) -> anyhow::Result<Report> {
    let keys = Keys::drawn(args)?;
    let count = args.count;
    let span = if count.is_some() { None } else { Some(Duration::from_secs_f64(args.seconds)) };
    let pace = match args.rate {
        Some(rate) => Pace::fixed(rate.get(), args.clients.get(), span, count),
        None => Pace::closed(span, count),
    };
    let run = Run::new(args.clone(), keys, pace);
    let (clients, connecting) = connect(&run).await?;
    let cpu = report::cpu_time();
    let begun = Instant::now();
    let unsent = drive(&run, clients, begun).await?;
    let elapsed = begun.elapsed();
    let cpu = cpu.zip(report::cpu_time()).map(|(before, after)| after.saturating_sub(before));
    let tally = run.tally(|tally| std::mem::replace(tally, Tally::new()));
    Ok(Report { args: args.clone(), tally, elapsed, connecting, unsent, cpu })
}

/// Opens every client's connections; how long that took.
async fn connect(run: &Run) -> anyhow::Result<(Vec<Client>, Duration)> {
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
        opening.spawn(Client::connect(run.clone(), number));
    }
    while let Some(opened) = opening.join_next().await {
        clients.push(opened??);
    }
    Ok((clients, begun.elapsed()))
}

/// Lets the clients work until each is done; how many operations fell due and were never sent.
async fn drive(run: &Run, clients: Vec<Client>, begun: Instant) -> anyhow::Result<u64> {
    run.pace.begin(begun);
    let mut working: JoinSet<anyhow::Result<End>> = clients.into_iter().map(|c| c.run(begun)).collect();
    let progress = run.progress();
    let mut moment = interval(Duration::from_millis(200));
    moment.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unsent = 0;
    loop {
        tokio::select! {
            ended = working.join_next() => match ended {
                Some(ended) => unsent += ended??.unsent,
                None => break,
            },
            _ = moment.tick(), if progress.is_shown() => run.show(&progress, begun.elapsed()),
        }
    }
    Ok(unsent)
}
