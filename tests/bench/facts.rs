//! Latency at half of the peak, and memory.

use e2e::{Engine, Socket};

use crate::Plan;
use crate::figures::ours;
use crate::machine::Machine;
use crate::ours::Load;

/// Something else than a rate, with what must and what should be reached.
#[derive(Debug, Clone)]
pub(crate) struct Fact {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) must: &'static str,
    pub(crate) aim: &'static str,
}

/// Measures what can be had here.
pub(crate) async fn measure(machine: &Machine, plan: &Plan) -> Vec<Fact> {
    let mut facts = Vec::new();
    let Some(pair) = machine.pair(Engine::MySql).or_else(|| machine.pairs.first()) else { return facts };
    let engine = pair.system.database.engine;
    for load in [Load::sets(32, 1), Load::gets(64)] {
        if !plan.wants("half of the peak") {
            continue;
        }
        let seconds = plan.span.as_secs_f64();
        let Some(peak) = ours(machine, engine, load, seconds) else { continue };
        let rate = format!("{:.0}", peak.per_second / 2.0).parse().ok();
        let Some(half) = ours(machine, engine, Load { rate, ..load }, seconds * 2.0) else { continue };
        facts.push(Fact {
            name: format!("p99 / p50 at half of the peak, {load}"),
            value: format!("{:.1} ({:.2} ms / {:.2} ms)", half.p99 / half.p50, half.p99, half.p50),
            must: "10",
            aim: "4",
        });
    }
    if plan.wants("memory") {
        facts.extend(memory(pair.system.another_writer().await, pair.system.another_reader().await).await);
    }
    facts
}

async fn memory(writer: e2e::Process, reader: e2e::Process) -> Vec<Fact> {
    let rest = [&writer, &reader].map(|process| resident_kib(process.id()));
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        sockets.push(Socket::open(writer.public).await);
    }
    let per_socket = resident_kib(writer.id()).saturating_sub(rest[0]) / SOCKETS;
    let mib = |kib: u64| format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024);
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

/// Idle sockets that are opened to see what one takes.
const SOCKETS: u64 = 500;

/// What a process holds in memory, as Linux tells.
fn resident_kib(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
