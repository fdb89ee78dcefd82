//! Operations per second of two builds, loaded in turn.
//!
//! Both builds run all the time, on databases of their own on one server, and one is idle while the other is loaded. The order
//! alternates from pair to pair (old new, new old, old new ...), so that a change in the speed of the machine affects both. Both
//! builds are started again every few pairs, because two processes of the same build may differ in speed: their memory layouts differ.

use e2e::{Build, DatabaseServer, EngineKind, System};

use super::ComparePlan;
use super::table::{Compared, Unit};
use crate::machine::{filled, server};
use crate::ours::BenchLoad;

/// The number of pairs between two starts of the services.
const PAIRS_PER_START: usize = 3;

/// The services of both builds on one engine.
#[derive(Debug)]
struct BothBuilds {
    /// Of the old build, then of the new build.
    systems: [System; 2],
    /// Stopped after the services.
    _server: Option<DatabaseServer>,
}

/// Measures the requested figures of `loads` on `engine`, which must be available.
pub(crate) async fn measure(
    engine: EngineKind,
    builds: [&Build; 2],
    plan: &ComparePlan,
    loads: &[BenchLoad],
) -> Vec<Compared> {
    let wanted = plan.wanted(engine, loads);
    if wanted.is_empty() {
        return Vec::new();
    }
    let server = server(engine).await;
    let [old, new] = builds;
    let mut systems =
        [filled(engine, server.as_ref(), old).await, filled(engine, server.as_ref(), new).await];
    for system in &mut systems {
        // They are started again before the first figure.
        system.set(&plan.settings());
    }
    let mut both = BothBuilds { systems, _server: server };
    let mut all = Vec::new();
    for (name, load) in wanted {
        all.push(both.compare(name, load, plan).await);
    }
    all
}

impl BothBuilds {
    /// Measures one figure, pair after pair.
    async fn compare(&mut self, name: String, load: BenchLoad, plan: &ComparePlan) -> Compared {
        let mut compared = Compared::new(name, Unit::PerSecond);
        for pair in 0..plan.pairs {
            if pair % PAIRS_PER_START == 0 {
                self.restart(load, plan).await;
            }
            let mut values = [0.0; 2];
            for turn in 0..2 {
                let build = (pair + turn) % 2;
                values[build] = load.run(&self.systems[build], plan.seconds).per_second;
                // A signal ends the run here: the load itself cannot be interrupted.
                tokio::task::yield_now().await;
            }
            compared.add(values);
        }
        compared
    }

    /// Starts the services again. Their first load does not count, because they prepare their statements during it.
    async fn restart(&mut self, load: BenchLoad, plan: &ComparePlan) {
        for system in &mut self.systems {
            system.restart().await;
        }
        for system in &self.systems {
            load.run(system, plan.seconds);
        }
    }
}
