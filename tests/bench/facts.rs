//! Facts that are not rates: latency at half of the peak rate, latency during an overload, and memory.

use std::time::Duration;

use e2e::{EngineKind, ServiceProcess, Socket, System};

use crate::BenchPlan;
use crate::figures::{Figure, Source, ours};
use crate::machine::Machine;
use crate::ours::{BenchLoad, LoadTarget};

/// A fact, with the value that must be reached and the value that should be reached.
#[derive(Debug, Clone)]
pub(crate) struct Fact {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) must: &'static str,
    pub(crate) aim: &'static str,
}

/// Measures the facts that this machine can measure.
pub(crate) async fn measure(machine: &Machine, plan: &BenchPlan) -> Vec<Fact> {
    let mut facts = Vec::new();
    let Some(pair) = machine.pair(EngineKind::MySql).or_else(|| machine.pairs.first()) else { return facts };
    let engine = pair.system.database.engine;
    for load in [BenchLoad::sets(32, 1), BenchLoad::gets(64)] {
        if !plan.wants("half of the peak") {
            continue;
        }
        let seconds = plan.span.as_secs_f64();
        let Some(peak) = ours(machine, engine, load, seconds) else { continue };
        let rate = format!("{:.0}", peak.per_second / 2.0).parse().ok();
        let Some(half) = ours(machine, engine, BenchLoad { rate, ..load }, seconds * 2.0) else { continue };
        facts.push(Fact {
            name: format!("p99 / p50 at half of the peak, {load}"),
            value: format!("{:.1} ({:.2} ms / {:.2} ms)", half.p99 / half.p50, half.p99, half.p50),
            must: "10",
            aim: "4",
        });
    }
    if plan.wants("overload") {
        facts.push(overload(&pair.system, plan));
    }
    if plan.wants("memory") {
        facts.extend(memory(pair.system.another_writer().await, pair.system.another_reader().await).await);
        if !plan.quick {
            facts.extend(growth(machine).await);
        }
    }
    facts
}

/// The latency of a client that waits for each reply, beside ten times as many sockets as saturate the service.
fn overload(system: &System, plan: &BenchPlan) -> Fact {
    const LEAD_SECONDS: f64 = 1.0;
    // 60 s of each load in a whole run.
    let seconds = plan.span.as_secs_f64() * 4.0;
    let at = LoadTarget::from(system);
    let beside = |sockets| {
        std::thread::scope(|scope| {
            scope.spawn(move || BenchLoad::sets(sockets, 64).run(at, seconds + 2.0 * LEAD_SECONDS));
            std::thread::sleep(Duration::from_secs_f64(LEAD_SECONDS));
            BenchLoad::sets(1, 1).run(at, seconds).p99
        })
    };
    let rounds: Vec<(f64, f64)> = (0..plan.rounds).map(|_| (beside(32), beside(320))).collect();
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (saturated, overloaded) = rounds.into_iter().unzip();
    let (saturated, overloaded) = (median(saturated), median(overloaded));
    Fact {
        name:
            "p99 of sets one by one, median, beside an overload of 320 sockets x 64 / beside 32 sockets x 64"
                .into(),
        value: format!("{:.1} ({overloaded:.1} ms / {saturated:.1} ms)", overloaded / saturated),
        must: "2",
        aim: "",
    }
}

/// A comparison with the service that Keywire replaces (Django, daphne, `MySQL`). The figures of that service were measured once, on
/// a machine like the one of the committed table, and are not measured again here.
pub(crate) fn against_the_original(figures: &[Figure]) -> Vec<Fact> {
    let goals = [
        (BenchLoad::sets(32, 64), 441.0, "130", "190"), // its writes per second, 32 sockets x 64 under way
        (BenchLoad::gets(64), 198.0, "200", "300"),     // its reads per second, 32 connections
    ];
    let fact = |(load, original, must, aim): (BenchLoad, f64, _, _)| {
        let name = Source::Ours(EngineKind::MySql, load).to_string();
        let figure = figures.iter().find(|figure| figure.name == name)?;
        let value = format!("{:.0}", figure.median() / original);
        Some(Fact { name: format!("{name} / the original, {original} per second"), value, must, aim })
    };
    goals.into_iter().filter_map(fact).collect()
}

/// The largest memory of the pair on `MySQL`, after all curves.
pub(crate) fn peaks(machine: &Machine, plan: &BenchPlan) -> Vec<Fact> {
    let Some(pair) = machine.pair(EngineKind::MySql).filter(|_| plan.wants("memory")) else {
        return Vec::new();
    };
    let processes = [("ws-ingest", Some(&pair.system.writer)), ("rest-read", pair.system.reader.as_ref())];
    let fact = |(name, process): (&str, Option<&ServiceProcess>)| {
        let value = mib(process?.memory_max());
        Some(Fact {
            name: format!("largest memory of {name}, all figures and curves"),
            value,
            must: "",
            aim: "",
        })
    };
    processes.into_iter().filter_map(fact).collect()
}

/// Ten minutes of sets and gets in turn: how much the memory of either service has grown since the first minute.
async fn growth(machine: &Machine) -> Vec<Fact> {
    const TURN_SECONDS: f64 = 30.0;
    let Some(pair) = machine.pair(EngineKind::MySql) else { return Vec::new() };
    let (writer, reader) = (pair.system.another_writer().await, pair.system.another_reader().await);
    let at = LoadTarget { write: writer.public, read: reader.public };
    let minute = || {
        BenchLoad::sets(32, 64).run(at, TURN_SECONDS);
        BenchLoad::gets(64).run(at, TURN_SECONDS);
        [&writer, &reader].map(ServiceProcess::memory)
    };
    let first = minute();
    let last = (2..=10).fold(first, |_, _| minute());
    let fact = |(name, at): (&str, usize)| Fact {
        name: format!("growth of {name} from minute 1 to minute 10 of full load"),
        value: format!("{} ({} at the end)", mib(last[at].saturating_sub(first[at])), mib(last[at])),
        must: "none",
        aim: "",
    };
    [("ws-ingest", 0), ("rest-read", 1)].map(fact).into()
}

async fn memory(writer: ServiceProcess, reader: ServiceProcess) -> Vec<Fact> {
    let rest = [&writer, &reader].map(ServiceProcess::memory);
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        sockets.push(Socket::open(writer.public).await);
    }
    let per_socket = writer.memory().saturating_sub(rest[0]) / SOCKETS;
    vec![
        Fact {
            name: "memory of ws-ingest at rest".into(),
            value: mib(rest[0]),
            must: "30 MiB",
            aim: "15 MiB",
        },
        Fact {
            name: "memory of rest-read at rest".into(),
            value: mib(rest[1]),
            must: "30 MiB",
            aim: "15 MiB",
        },
        Fact {
            name: format!("memory of an idle socket ({SOCKETS} open)"),
            value: format!("{per_socket} KiB"),
            must: "20 KiB",
            aim: "10 KiB",
        },
    ]
}

/// The number of idle sockets that are opened to measure the memory of one.
const SOCKETS: u64 = 500;

fn mib(kib: u64) -> String {
    format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
}
