//! `kill -9` of the service under load: every acknowledged write is there after the restart.

use e2e::{EngineKind, Load, PATIENCE, System, promises};

promises! {
    every:
        a_service_killed_under_load_loses_nothing_acknowledged;
}

async fn a_service_killed_under_load_loses_nothing_acknowledged(engine: EngineKind) {
    let mut system = System::start(engine).await;
    let mut tallies = Vec::new();
    for round in 0..5 {
        let load = Load::start(system.ws(), &format!("round {round}"), 3, 64);
        load.acked(2000, PATIENCE).await;
        system.writer.kill();
        load.interrupted(PATIENCE).await;
        tallies.push(load.stop().await);
        system.restart_writer().await;
    }
    for tally in &tallies {
        tally.check(system.http()).await;
    }
    let acked: usize = tallies.iter().map(|tally| tally.acked.len()).sum();
    let open: usize = tallies.iter().map(|tally| tally.unanswered.len()).sum();
    let entries = system.database.entries().await;
    let (acked, open) = (acked as u64, open as u64);
    assert!((acked..=acked + open).contains(&entries), "{acked} acked, {open} open, {entries} there");
}
