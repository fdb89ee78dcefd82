//! Curves: how rate and latency depend on the number of sockets, the rate, the size of values and the number of keys.

use e2e::{EngineKind, System};

use crate::BenchPlan;
use crate::figures::{name, ours};
use crate::gateway::Gateway;
use crate::machine::Machine;
use crate::ours::{BenchLoad, KEYS};

/// A series of measurements in which one quantity varies.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    /// Its name, which is also the name of its file.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    pub(crate) series: Vec<(String, Vec<(f64, f64)>)>,
}

type Measure = fn(&Machine, &BenchPlan, EngineKind) -> Curve;

/// Measures the requested curves, on `MySQL` or, without it, on another engine.
pub(crate) async fn measure(machine: &Machine, plan: &BenchPlan) -> Vec<Curve> {
    let Some(pair) = machine.pair(EngineKind::MySql).or_else(|| machine.pairs.first()) else {
        return Vec::new();
    };
    let engine = pair.system.database.engine;
    let curves: [(&str, Measure); 4] =
        [("sockets", sockets), ("rate", rate), ("value-size", value_size), ("keys", keys)];
    let wanted = curves.into_iter().filter(|(name, _)| plan.wants(name));
    let mut curves: Vec<Curve> = wanted.map(|(_, curve)| curve(machine, plan, engine)).collect();
    if plan.wants("replicas") && engine == EngineKind::MySql {
        curves.push(replicas(&pair.system, plan).await);
    }
    curves
}

/// Growing numbers of both services behind a gateway of their own.
async fn replicas(system: &System, plan: &BenchPlan) -> Curve {
    let loads =
        [("sets, 32 sockets x 64", BenchLoad::sets(32, 64)), ("gets, 64 connections", BenchLoad::gets(64))];
    let mut series = loads.map(|(label, _)| (label.to_owned(), Vec::new()));
    let (mut writers, mut readers) = (Vec::new(), Vec::new());
    for count in 1..=if plan.quick { 2 } else { 4 } {
        writers.push(system.another_writer().await);
        readers.push(system.another_reader().await);
        let (writers, readers): (Vec<_>, Vec<_>) = (writers.iter().collect(), readers.iter().collect());
        let Some(gateway) = Gateway::start(&writers, &readers).await else { break };
        for ((label, points), (_, load)) in series.iter_mut().zip(loads) {
            let measured = load.run(gateway.at, plan.span.as_secs_f64());
            println!("curve: {:>9.0}/s  {label}, {count} of each service", measured.per_second);
            points.push((float(count), measured.per_second));
        }
    }
    Curve {
        name: "replicas",
        title: "Throughput and replicas, behind the gateway (MySQL)".into(),
        x: "replicas of each service",
        y: "operations per second",
        series: series.into(),
    }
}

/// The rates of sets and of gets at each `x`.
fn both(
    machine: &Machine,
    plan: &BenchPlan,
    engine: EngineKind,
    points: &[usize],
    loads: [(&str, &dyn Fn(usize) -> BenchLoad); 2],
) -> Vec<(String, Vec<(f64, f64)>)> {
    let series = |(label, load): (&str, &dyn Fn(usize) -> BenchLoad)| {
        let point = |&x: &usize| {
            let measured = ours(machine, engine, load(x), plan.span.as_secs_f64())?;
            println!("curve: {:>9.0}/s  {label} at {x}", measured.per_second);
            Some((float(x), measured.per_second))
        };
        (label.to_owned(), points.iter().filter_map(point).collect())
    };
    loads.map(series).into()
}

fn sockets(machine: &Machine, plan: &BenchPlan, engine: EngineKind) -> Curve {
    let points: &[usize] = if plan.quick { &[1, 8, 64, 512] } else { &[1, 4, 16, 64, 256, 1024, 4096, 9000] };
    Curve {
        name: "sockets",
        title: format!("Throughput and clients, one by one ({})", name(engine)),
        x: "clients",
        y: "operations per second",
        series: both(
            machine,
            plan,
            engine,
            points,
            [("sets", &|n| BenchLoad::sets(n, 1)), ("gets", &BenchLoad::gets)],
        ),
    }
}

fn value_size(machine: &Machine, plan: &BenchPlan, engine: EngineKind) -> Curve {
    let points: &[usize] =
        if plan.quick { &[10, 1000, 100_000] } else { &[10, 100, 1000, 10_000, 100_000, 1_048_576] };
    // Few keys, so that the largest values do not fill the disk.
    let keys = |bytes: usize| if bytes > 1000 { 1000 } else { KEYS };
    let sets =
        move |value_bytes| BenchLoad { value_bytes, keys: keys(value_bytes), ..BenchLoad::sets(32, 4) };
    let gets = move |value_bytes| BenchLoad { value_bytes, keys: keys(value_bytes), ..BenchLoad::gets(32) };
    // Sets and gets of each size in turn: the gets read the values that were just set.
    let mut series = vec![
        ("sets, 32 sockets x 4".to_owned(), Vec::new()),
        ("gets, 32 connections".to_owned(), Vec::new()),
    ];
    for &bytes in points {
        for ((label, points), load) in series.iter_mut().zip([sets(bytes), gets(bytes)]) {
            if let Some(measured) = ours(machine, engine, load, plan.span.as_secs_f64()) {
                println!("curve: {:>9.0}/s  {label} of {bytes} bytes", measured.per_second);
                points.push((float(bytes), measured.per_second));
            }
        }
    }
    let title = format!("Throughput and size of the values ({})", name(engine));
    Curve { name: "value-size", title, x: "bytes of a value", y: "operations per second", series }
}

fn keys(machine: &Machine, plan: &BenchPlan, engine: EngineKind) -> Curve {
    let points: &[usize] =
        if plan.quick { &[1000, 10_000, 100_000] } else { &[10_000, 100_000, 1_000_000, 10_000_000] };
    let number = |n: usize| n as u64;
    let loads: [(&str, &dyn Fn(usize) -> BenchLoad); 2] = [
        // Gets first: every key is written before them.
        ("gets, 64 connections", &|n| BenchLoad { keys: number(n), fill: true, ..BenchLoad::gets(64) }),
        ("sets, 32 sockets x 64", &|n| BenchLoad { keys: number(n), ..BenchLoad::sets(32, 64) }),
    ];
    Curve {
        name: "keys",
        title: format!("Throughput and number of keys ({})", name(engine)),
        x: "keys",
        y: "operations per second",
        series: both(machine, plan, engine, points, loads),
    }
}

fn rate(machine: &Machine, plan: &BenchPlan, engine: EngineKind) -> Curve {
    let load = BenchLoad::sets(32, 1);
    let seconds = plan.span.as_secs_f64();
    let mut series: Vec<(String, Vec<(f64, f64)>)> =
        ["p50", "p90", "p99", "p99.9"].map(|label| (label.to_owned(), Vec::new())).into();
    if let Some(peak) = ours(machine, engine, load, seconds) {
        for percent in [10, 25, 50, 75, 90] {
            let rate = format!("{:.0}", peak.per_second * f64::from(percent) / 100.0).parse().ok();
            let Some(measured) = ours(machine, engine, BenchLoad { rate, ..load }, seconds * 2.0) else {
                continue;
            };
            println!(
                "curve: p50 {:.2} ms, p99 {:.2} ms at {percent} % of the peak",
                measured.p50, measured.p99
            );
            let latencies = [measured.p50, measured.p90, measured.p99, measured.p999];
            for ((_, points), latency) in series.iter_mut().zip(latencies) {
                points.push((measured.per_second, latency));
            }
        }
    }
    Curve {
        name: "rate",
        title: format!("Latency of sets and their rate, 32 sockets ({})", name(engine)),
        x: "sets per second",
        y: "milliseconds",
        series,
    }
}

fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
