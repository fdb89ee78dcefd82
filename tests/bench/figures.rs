//! The figures and their ratios. Each figure is measured several times, in turn with the others.

use std::fmt;

use e2e::EngineKind;

use crate::BenchPlan;
use crate::machine::Machine;
use crate::other_stores::OtherStoreKind;
use crate::ours::{BenchLoad, Measured};
use crate::raw::{Statement, rows};
use crate::spread::Spread;

/// The subject of a measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    /// Our pair on a database.
    Ours(EngineKind, BenchLoad),
    /// Our pair on `MySQL` behind the gateway.
    Gateway(BenchLoad),
    /// The database by itself.
    Raw(EngineKind, u64, Statement),
    /// Another store: sets or gets, one by one, on a number of connections.
    OtherStore(OtherStoreKind, bool, u64),
}

/// Operations per second, one value per round.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) rates: Vec<f64>,
}

/// One figure divided by another, with the value that must be reached and the value that should be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ratio {
    pub(crate) ours: Source,
    pub(crate) other: Source,
    pub(crate) must: f64,
    /// `None` if only `MySQL` has a goal.
    pub(crate) aim: Option<f64>,
}

const PIPELINED: BenchLoad = BenchLoad::sets(32, 64);

/// The loads of every engine: pipelined sets, sets one by one, one socket, gets.
pub(crate) const LOADS: [BenchLoad; 4] =
    [PIPELINED, BenchLoad::sets(32, 1), BenchLoad::sets(1, 1), BenchLoad::gets(64)];

/// The goals. Those of `MariaDB` differ because it reaches more without us.
pub(crate) fn ratios() -> Vec<Ratio> {
    let raw = |engine| {
        let raw = |connections, statement| Source::Raw(engine, connections, statement);
        (
            raw(2, Statement::Upsert(256)),
            raw(32, Statement::Upsert(1)),
            raw(1, Statement::Upsert(1)),
            raw(32, Statement::Select),
        )
    };
    let mut all = Vec::new();
    for (engine, musts, aims) in [
        (EngineKind::MySql, [0.75, 2.0, 0.5, 1.8], [Some(0.9), Some(3.0), Some(0.65), Some(2.8)]),
        (EngineKind::MariaDb, [0.7, 2.0, 0.5, 1.2], [None; 4]),
    ] {
        let (batches, many, one, selects) = raw(engine);
        for (at, other) in [batches, many, one, selects].into_iter().enumerate() {
            all.push(Ratio { ours: Source::Ours(engine, LOADS[at]), other, must: musts[at], aim: aims[at] });
        }
    }
    let mysql = |load| Source::Ours(EngineKind::MySql, load);
    let other_store = |sets| Source::OtherStore(OtherStoreKind::Webdis, sets, 256);
    all.extend([
        Ratio { ours: mysql(BenchLoad::sets(256, 1)), other: other_store(true), must: 1.0, aim: Some(1.5) },
        Ratio { ours: mysql(BenchLoad::gets(256)), other: other_store(false), must: 0.9, aim: Some(1.3) },
        Ratio { ours: Source::Gateway(PIPELINED), other: mysql(PIPELINED), must: 0.6, aim: Some(0.8) },
        Ratio {
            ours: Source::Gateway(BenchLoad::gets(64)),
            other: mysql(BenchLoad::gets(64)),
            must: 0.6,
            aim: Some(0.8),
        },
    ]);
    all
}

/// More figures, for the reader, which no ratio needs.
fn more() -> Vec<Source> {
    let sqlite = |load| Source::Ours(EngineKind::Sqlite, load);
    let [pipelined, one_by_one, one_socket, gets] = LOADS.map(sqlite);
    vec![
        Source::Raw(EngineKind::MySql, 4, Statement::SelectIn(128)),
        pipelined,
        one_by_one,
        one_socket,
        gets,
        Source::OtherStore(OtherStoreKind::Webdis, true, 32),
        Source::OtherStore(OtherStoreKind::Webdis, false, 32),
        Source::OtherStore(OtherStoreKind::Etcd, true, 256),
        Source::OtherStore(OtherStoreKind::Etcd, false, 256),
    ]
}

/// Measures all requested figures that this machine can measure.
pub(crate) async fn measure(machine: &Machine, plan: &BenchPlan) -> Vec<Figure> {
    let mut sources: Vec<Source> = Vec::new();
    for source in ratios().into_iter().flat_map(|ratio| [ratio.other, ratio.ours]).chain(more()) {
        let name = source.to_string();
        if plan.wants(&name) && !sources.iter().any(|known| known.to_string() == name) {
            sources.push(source);
        }
    }
    let mut figures: Vec<Figure> = Vec::new();
    for round in 1..=plan.rounds {
        for source in &sources {
            let Some(rate) = source.rate(machine, plan.span.as_secs_f64()).await else { continue };
            let name = source.to_string();
            println!("round {round}: {rate:>9.0}/s  {name}");
            match figures.iter_mut().find(|figure| figure.name == name) {
                Some(figure) => figure.rates.push(rate),
                None => figures.push(Figure { name, rates: vec![rate] }),
            }
        }
    }
    figures
}

impl Source {
    /// Operations per second; `None` if this machine cannot measure them.
    async fn rate(self, machine: &Machine, seconds: f64) -> Option<f64> {
        match self {
            Self::Ours(engine, load) => Some(ours(machine, engine, load, seconds)?.per_second),
            Self::Gateway(load) => Some(load.run(machine.gateway.as_ref()?.at, seconds).per_second),
            Self::Raw(engine, connections, statement) => {
                let raw = machine.pair(engine)?.raw.as_ref()?;
                Some(rows(raw, connections, statement, seconds).await)
            }
            Self::OtherStore(kind, true, connections) => {
                Some(machine.other_store(kind)?.sets(connections, seconds).await)
            }
            Self::OtherStore(kind, false, connections) => {
                Some(machine.other_store(kind)?.gets(connections, seconds).await)
            }
        }
    }
}

/// A load on the pair on `engine`.
pub(crate) fn ours(machine: &Machine, engine: EngineKind, load: BenchLoad, seconds: f64) -> Option<Measured> {
    Some(load.run(&machine.pair(engine)?.system, seconds))
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours(engine, load) => write!(f, "Keywire on {}: {load}", name(*engine)),
            Self::Gateway(load) => write!(f, "Keywire on MySQL behind the gateway: {load}"),
            Self::Raw(engine, connections, Statement::Upsert(rows)) => {
                write!(
                    f,
                    "{} itself: upserts of {}, {}",
                    name(*engine),
                    count(*rows, "row"),
                    count(*connections, "connection")
                )
            }
            Self::Raw(engine, connections, Statement::Select) => {
                write!(f, "{} itself: selects of a key, {}", name(*engine), count(*connections, "connection"))
            }
            Self::Raw(engine, connections, Statement::SelectIn(keys)) => {
                write!(f, "{} itself: selects of {keys} keys, {connections} connections", name(*engine))
            }
            Self::OtherStore(kind, sets, connections) => {
                let what = if *sets { "sets" } else { "gets" };
                let name = match kind {
                    OtherStoreKind::Webdis => "webdis and Redis, fsync always",
                    OtherStoreKind::Etcd => "etcd",
                };
                write!(f, "{name}: {what}, {connections} connections")
            }
        }
    }
}

impl fmt::Display for BenchLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.reads, self.pipeline) {
            (true, _) => write!(f, "gets, {} connections", self.clients),
            (false, 1) => write!(f, "sets, {} one by one", count(self.clients as u64, "socket")),
            (false, depth) => write!(f, "sets, {} sockets x {depth} under way", self.clients),
        }?;
        match self.ttl {
            Some(ttl) => write!(f, ", each expires after {ttl} s"),
            None => Ok(()),
        }
    }
}

/// Its official name.
pub(crate) fn name(engine: EngineKind) -> &'static str {
    match engine {
        EngineKind::MySql => "MySQL",
        EngineKind::MariaDb => "MariaDB",
        EngineKind::Sqlite => "SQLite",
    }
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

impl Figure {
    pub(crate) fn median(&self) -> f64 {
        self.spread().median
    }

    pub(crate) fn spread(&self) -> Spread {
        Spread::of(&self.rates)
    }
}
