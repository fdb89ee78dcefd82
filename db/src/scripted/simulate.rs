//! One run: writers, clients, a script of faults, then calm, then the verdict.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::{SmallRng, StdRng};
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::Span;

use super::client::SimulatedClient;
use super::events;
use super::journal::{Journal, ReplyCounts};
use super::process::Process;
use super::script::{FaultRates, Sabotage, Script};
use super::sent;
use super::server::ScriptedServer;
use super::session::ScriptedEngine;
use crate::entry::{Change, Expiry, Key, Op, Refusal, Value, Write};
use crate::lane::config::WriterConfig;
use crate::lane::pending::Ticket;
use crate::lane::samples;
use crate::lane::sender::Priority;
use crate::lane::writer::{Submitted, Writer};
use crate::outage::OutageLog;

/// Within this time after the last fault every writer must work again. `wait_timeout` frees locks after 30 s.
const RECOVERY_MAX: Duration = Duration::from_mins(1);

/// The longest run, by its own clock.
const RUN_MAX: Duration = Duration::from_hours(1);

/// The figures of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RunStats {
    pub(super) counts: ReplyCounts,
    pub(super) commits: u64,
}

impl RunStats {
    /// Adds another run.
    pub(super) fn add(&mut self, other: Self) {
        self.counts.acknowledged += other.counts.acknowledged;
        self.counts.refused += other.counts.refused;
        self.counts.unknown += other.counts.unknown;
        self.counts.turned_away += other.counts.turned_away;
        self.commits += other.commits;
    }
}

/// The choices before a run begins.
struct RunSetup {
    /// Like `SQLite`: one writer at a time in the whole store, one lane, no round trips.
    is_one_writer: bool,
    processes: usize,
    clients: usize,
    steps: u64,
    keys: u64,
    config: WriterConfig,
    rates: FaultRates,
    /// Whether somebody else holds keys locked for long, and keys cannot be written.
    holds_keys: bool,
}

impl RunSetup {
    fn draw(seed: u64, random: &mut SmallRng) -> Self {
        let is_one_writer = random.random_bool(0.3);
        let small = |number| NonZeroUsize::new(number).expect("at least one");
        let lanes = if is_one_writer { 1 } else { random.random_range(2..=3) };
        let config = WriterConfig {
            lanes: small(lanes),
            batch_ops_max: small(random.random_range(1..=8)),
            batch_bytes_max: if random.random() { 2000 } else { 1 << 20 },
            queue_ops_max: small(random.random_range(1..=16)),
            queue_bytes_max: if random.random() { 4000 } else { 1 << 20 },
            // No seed of `FAILED_ONCE` ends in these digits: a statement more is another run.
            logs_changes: [0, 1, 4, 7, 9].contains(&(seed % 10)),
            op_timeout: Duration::from_millis([300, 1000, 2000, 10_000][random.random_range(0..4)]),
        };
        Self {
            is_one_writer,
            processes: random.random_range(1..=2),
            // One run of ten has many clients.
            clients: random.random_range(1..=5) * if seed % 10 == 5 { 6 } else { 1 },
            steps: random.random_range(4..=10),
            keys: random.random_range(2..=4),
            config,
            rates: FaultRates::draw(random),
            // No seed of `FAILED_ONCE` ends in these digits.
            holds_keys: [0, 1, 7, 8].contains(&(seed % 10)),
        }
    }
}

/// Runs the simulation of `seed` and judges it.
///
/// # Errors
/// Every promise that was found broken.
pub(super) fn simulate(seed: u64, sabotage: Sabotage) -> Result<RunStats, String> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime of one thread");
    let result = runtime.block_on(async {
        timeout(RUN_MAX, run(seed, sabotage)).await.unwrap_or_else(|_| Err("the run does not end".into()))
    });
    result.map_err(|wrong| format!("seed {seed}: {wrong}"))
}

async fn run(seed: u64, sabotage: Sabotage) -> Result<RunStats, String> {
    let mut random = SmallRng::seed_from_u64(seed);
    let setup = RunSetup::draw(seed, &mut random);
    let script = Script::new(random.random(), setup.rates);
    let server = ScriptedServer::new(script, setup.is_one_writer, sabotage);
    let (journal, tracker) = (Journal::default(), TaskTracker::new());
    let reported = Arc::new([const { AtomicU64::new(0) }; 2]);
    let processes: Vec<Process> = (0..setup.processes).map(|_| Process::new()).collect();
    let writers: Vec<Writer> = processes
        .iter()
        .map(|process| start(&server, process, &setup, &tracker, &mut random, &reported))
        .collect();

    let mut clients = JoinSet::new();
    for number in 0..setup.clients {
        let process = number % writers.len();
        let (writer, process) = (writers[process].clone(), processes[process].clone());
        let client =
            SimulatedClient::new(writer, server.clone(), process, journal.clone(), &mut random, setup.keys);
        clients.spawn(client.work(setup.steps));
    }
    let events = tokio::spawn(events::run_events(server.clone(), sent::keys(setup.keys)));
    let held = setup.holds_keys.then(|| {
        let random = SmallRng::seed_from_u64(!seed);
        tokio::spawn(events::hold_keys(server.clone(), sent::keys(setup.keys), random))
    });
    while let Some(done) = clients.join_next().await {
        done.map_err(|panic| panic.to_string())?;
    }
    events.abort();
    held.iter().for_each(tokio::task::JoinHandle::abort);
    server.state().script.calm();

    for (number, writer) in writers.iter().enumerate() {
        recover(writer, &journal, &sent::keys(setup.keys), number).await;
    }
    for (writer, process) in writers.iter().zip(&processes) {
        sleep(RECOVERY_MAX).await;
        works(writer, &journal).await;
        let (writer, process) = (writer.clone(), process.clone());
        let client =
            SimulatedClient::new(writer, server.clone(), process, journal.clone(), &mut random, setup.keys);
        client.write_all().await;
    }
    sent::read_all(&server, &processes[0], &journal, setup.keys);
    if let Some(writer) = writers.iter().find(|writer| writer.health().depth() > 0) {
        journal.violation(format!("{} writes still wait", writer.health().depth()));
    }
    let drained: Vec<_> = writers.iter().map(submit_some).collect();
    drop(writers);
    for ticket in drained.into_iter().flatten() {
        let deadline = Instant::now() + RECOVERY_MAX;
        if journal.outcome(Ok(ticket), deadline, "a write before the end").await
            == Err(Refusal::OutcomeUnknown)
        {
            journal.violation("a write that waited when its writer was dropped was forgotten".into());
        }
    }
    tracker.close();
    if timeout(RECOVERY_MAX, tracker.wait()).await.is_err() {
        journal.violation("a lane does not end when its writer is dropped".into());
    }
    let counts = journal.entries().counts;
    let reported = reported.each_ref().map(|count| count.load(Ordering::Relaxed));
    if reported != [counts.acknowledged, counts.refused + counts.unknown] {
        journal.violation(format!("reports of {reported:?} where clients counted {counts:?}"));
    }
    journal.judge(&server)?;
    let stats = RunStats { counts: journal.entries().counts, commits: server.state().tables.commits };
    Ok(stats)
}

fn start(
    server: &ScriptedServer,
    process: &Process,
    setup: &RunSetup,
    tracker: &TaskTracker,
    random: &mut SmallRng,
    reported: &Arc<[AtomicU64; 2]>,
) -> Writer {
    let reported = Arc::clone(reported);
    let observe = move |report: crate::BatchReport| {
        reported[0].fetch_add(report.committed as u64, Ordering::Relaxed);
        reported[1].fetch_add(report.refused as u64, Ordering::Relaxed);
    };
    let random = StdRng::seed_from_u64(random.random());
    let (config, lanes, outages) = (setup.config, setup.config.lanes.get(), OutageLog::new("test"));
    if setup.is_one_writer {
        let engine = ScriptedEngine::<false>::new(server.clone(), process.clock.clone());
        Writer::start_on(&engine, &outages, lanes, config, tracker, random, observe)
    } else {
        let engine = ScriptedEngine::<true>::new(server.clone(), process.clock.clone());
        // One more for atomic writes.
        Writer::start_on(&engine, &outages, lanes + 1, config, tracker, random, observe)
    }
}

/// Queues some writes without waiting for their outcomes.
fn submit_some(writer: &Writer) -> Vec<Ticket> {
    let submit = |number| {
        let write = samples::set(&format!("drained/{number}"));
        match writer.try_submit(write, Priority::Normal, Span::none(), writer.deadline()) {
            Submitted::Queued(ticket) => Some(ticket),
            Submitted::Returned(..) => None,
        }
    };
    (0..5).filter_map(submit).collect()
}

/// Writes every key, with as many attempts as it needs. There are no faults any more, so it must not take long.
async fn recover(writer: &Writer, journal: &Journal, keys: &[Key], number: usize) {
    let begun = Instant::now();
    for key in keys {
        let name = format!("after the faults, writer {number}, {key:?}");
        loop {
            let value = Value::new("0".into(), 512).expect("a short value");
            let op = Op {
                key: Key::new(format!("calm/{}", key.as_str()), 512).expect("a short key"),
                change: Change::Set(value, Expiry::Never),
                if_rev: None,
                asks_rev: false,
            };
            let deadline = writer.deadline();
            let ticket = writer.submit(Write::One(op), Priority::Normal, Span::none(), deadline).await;
            let Err(refusal) = journal.outcome(ticket, deadline, &name).await else { break };
            if begun.elapsed() > RECOVERY_MAX {
                return journal.violation(format!("{name}: still {refusal:?}"));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A minute without faults is over: every lane acknowledges each write at once, and the writer is ready.
async fn works(writer: &Writer, journal: &Journal) {
    if let Err(why) = writer.health().ready() {
        journal.violation(format!("a minute after the faults, a writer is not ready: {why}"));
    }
    // So many keys belong to all lanes.
    for number in 0..12 {
        let deadline = writer.deadline();
        let write = samples::set(&format!("works/{number}"));
        let ticket = writer.submit(write, Priority::Normal, Span::none(), deadline).await;
        if let Err(refusal) = journal.outcome(ticket, deadline, "a write a minute after the faults").await {
            journal.violation(format!("a minute after the faults, works/{number} is refused: {refusal:?}"));
        }
    }
}
