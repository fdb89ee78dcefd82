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

use super::clients::Client;
use super::events;
use super::record::{Answers, Record};
use super::script::{Rates, Script};
use super::sent;
use super::server::{Sabotage, Server};
use super::session::Scripted;
use crate::entry::{Change, Expiry, Key, Op, Refusal, Value, Write};
use crate::lane::config::WriterConfig;
use crate::lane::outbox::Place;
use crate::lane::pending::Ticket;
use crate::lane::trial;
use crate::lane::writer::{Submitted, Writer};

/// Within this time after the last fault every writer works again: `wait_timeout` frees locks after 30 s.
const RECOVERY_MAX: Duration = Duration::from_mins(1);

/// How long a run may take by its own clock.
const RUN_MAX: Duration = Duration::from_hours(1);

/// What a run was like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stats {
    pub(super) answers: Answers,
    pub(super) commits: u64,
}

impl Stats {
    /// Counts another run in.
    pub(super) fn add(&mut self, other: Self) {
        self.answers.settled += other.answers.settled;
        self.answers.refused += other.answers.refused;
        self.answers.unknown += other.answers.unknown;
        self.answers.turned_away += other.answers.turned_away;
        self.commits += other.commits;
    }
}

/// What is chosen before a run begins.
struct Setup {
    /// As `SQLite`: one writer at a time in the whole store, one lane, no round trips.
    is_one_writer: bool,
    processes: usize,
    lanes: usize,
    clients: usize,
    steps: u64,
    keys: u64,
    config: WriterConfig,
    rates: Rates,
}

impl Setup {
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
            op_timeout: Duration::from_millis([300, 1000, 2000, 10_000][random.random_range(0..4)]),
        };
        Self {
            is_one_writer,
            processes: random.random_range(1..=2),
            lanes,
            // One run of ten has a crowd.
            clients: random.random_range(1..=5) * if seed % 10 == 5 { 6 } else { 1 },
            steps: random.random_range(4..=10),
            keys: random.random_range(2..=4),
            config,
            rates: Rates::draw(random),
        }
    }
}

/// Runs the world of `seed` and judges it.
///
/// # Errors
/// Every promise that was found broken.
pub(super) fn simulate(seed: u64, sabotage: Sabotage) -> Result<Stats, String> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime of one thread");
    let result = runtime.block_on(async {
        timeout(RUN_MAX, run(seed, sabotage)).await.unwrap_or_else(|_| Err("the run does not end".into()))
    });
    result.map_err(|wrong| format!("seed {seed}: {wrong}"))
}

async fn run(seed: u64, sabotage: Sabotage) -> Result<Stats, String> {
    let mut random = SmallRng::seed_from_u64(seed);
    let setup = Setup::draw(seed, &mut random);
    let script = Script::new(random.random(), setup.rates);
    let server = Server::new(script, setup.is_one_writer, sabotage);
    let (record, tracker) = (Record::default(), TaskTracker::new());
    let reported = Arc::new([const { AtomicU64::new(0) }; 2]);
    let writers: Vec<Writer> =
        (0..setup.processes).map(|_| start(&server, &setup, &tracker, &mut random, &reported)).collect();

    let mut clients = JoinSet::new();
    for number in 0..setup.clients {
        let writer = writers[number % writers.len()].clone();
        let client = Client::new(writer, server.clone(), record.clone(), &mut random, setup.keys);
        clients.spawn(client.work(setup.steps));
    }
    let events = tokio::spawn(events::run_events(server.clone(), sent::keys(setup.keys)));
    while let Some(done) = clients.join_next().await {
        done.map_err(|panic| panic.to_string())?;
    }
    events.abort();
    server.state().script.calm();

    for (number, writer) in writers.iter().enumerate() {
        recover(writer, &record, &sent::keys(setup.keys), number).await;
    }
    sent::read_all(&server, &record, setup.keys);
    if let Some(writer) = writers.iter().find(|writer| writer.gauge().depth() > 0) {
        record.violation(format!("{} writes still wait", writer.gauge().depth()));
    }
    let drained: Vec<_> = writers.iter().map(submit_some).collect();
    drop(writers);
    for ticket in drained.into_iter().flatten() {
        let deadline = Instant::now() + RECOVERY_MAX;
        if record.answer(Ok(ticket), deadline, "a write before the end").await == Err(Refusal::OutcomeUnknown)
        {
            record.violation("a write that waited when its writer was dropped was forgotten".into());
        }
    }
    tracker.close();
    if timeout(RECOVERY_MAX, tracker.wait()).await.is_err() {
        record.violation("a lane does not end when its writer is dropped".into());
    }
    let answers = record.heard().answers;
    let reported = reported.each_ref().map(|count| count.load(Ordering::Relaxed));
    if reported != [answers.settled, answers.refused + answers.unknown] {
        record.violation(format!("reports of {reported:?} where clients heard {answers:?}"));
    }
    record.judge(&server)?;
    let stats = Stats { answers: record.heard().answers, commits: server.state().tables.commits };
    Ok(stats)
}

fn start(
    server: &Server,
    setup: &Setup,
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
    if setup.is_one_writer {
        Writer::on(&Scripted::<false>(server.clone()), 1, setup.config, tracker, random, observe)
    } else {
        let lanes = setup.lanes + 1;
        Writer::on(&Scripted::<true>(server.clone()), lanes, setup.config, tracker, random, observe)
    }
}

/// Queues some writes and waits for none of them.
fn submit_some(writer: &Writer) -> Vec<Ticket> {
    let submit = |number| {
        let write = trial::set(&format!("drained/{number}"));
        match writer.try_submit(write, Place::Back, Span::none(), writer.deadline()) {
            Submitted::Queued(ticket) => Some(ticket),
            Submitted::Returned(..) => None,
        }
    };
    (0..5).filter_map(submit).collect()
}

/// Writes every key, as often as it takes: nothing goes wrong any more, so it must not take long.
async fn recover(writer: &Writer, record: &Record, keys: &[Key], number: usize) {
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
            let ticket = writer.submit(Write::One(op), Place::Back, Span::none(), deadline).await;
            let Err(refusal) = record.answer(ticket, deadline, &name).await else { break };
            if begun.elapsed() > RECOVERY_MAX {
                return record.violation(format!("{name}: still {refusal:?}"));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}
