//! Events of the whole server while clients work.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::SmallRng;
use tokio::time::{Instant, sleep};

use super::locks::Lock;
use super::script::RowFault;
use super::server::ScriptedServer;
use crate::entry::Key;

/// How long somebody waits for a row that is to be held for long.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// Causes events until the future is dropped. `keys` are the keys that clients write.
pub(super) async fn run_events(server: ScriptedServer, keys: Vec<Key>) {
    loop {
        let every = u64::from(server.state().script.rates.event_every_ms);
        if every == 0 {
            return;
        }
        let wait = server.state().script.millis(0..=2 * every);
        sleep(wait).await;
        let event = server.state().script.random.random_range(0..6);
        match event {
            0 => {
                let down = server.state().script.millis(0..=8000);
                server.restart(down);
            }
            1 => {
                let step = server.state().script.random.random_range(-500_000_000..=500_000_000);
                server.step_clock(step);
            }
            2 => change_a_row(&server),
            3 => {
                let mut state = server.state();
                state.stalled_until = Instant::now() + state.script.millis(100..=6000);
            }
            4 => restore_a_row(&server),
            _ => {
                let mut state = server.state();
                let key = keys[state.script.random.random_range(0..keys.len())].clone();
                let hold = state.script.millis(100..=8000);
                let lock = if state.is_one_writer { Lock::Store } else { Lock::Row(key) };
                drop(state);
                tokio::spawn(hold_a_lock(server.clone(), lock, hold, hold));
            }
        }
    }
}

/// A session of somebody else waits at most `wait` for a row, and locks it for `hold`.
async fn hold_a_lock(server: ScriptedServer, lock: Lock, wait: Duration, hold: Duration) {
    let Ok((id, _)) = server.connect() else { return };
    if server.lock(id, &lock, wait).await.is_ok() {
        sleep(hold).await;
    }
    server.hang_up(id).await;
}

/// Holds rows locked, and keeps keys from being written, for up to 35 s, until the future is dropped. Draws from `random`, so that other
/// choices of the script stay the same.
pub(super) async fn hold_keys(server: ScriptedServer, keys: Vec<Key>, mut random: SmallRng) {
    loop {
        sleep(Duration::from_millis(random.random_range(0..=4000))).await;
        let key = keys[random.random_range(0..keys.len())].clone();
        let hold = Duration::from_millis(random.random_range(100..=35_000));
        if random.random_bool(0.3) {
            server.state().unwritable.insert(key.clone());
            let server = server.clone();
            drop(tokio::spawn(async move {
                sleep(hold).await;
                server.state().unwritable.remove(&key);
            }));
        } else if !server.state().is_one_writer {
            drop(tokio::spawn(hold_a_lock(server.clone(), Lock::Row(key), LOCK_WAIT, hold)));
        }
    }
}

fn change_a_row(server: &ScriptedServer) {
    let mut state = server.state();
    let lanes: Vec<u64> = state.tables.writers.keys().copied().collect();
    if lanes.is_empty() {
        return;
    }
    let lane = lanes[state.script.random.random_range(0..lanes.len())];
    let fault = if state.script.random.random() { RowFault::Wiped } else { RowFault::SeqRaised };
    drop(state);
    tokio::spawn(server.clone().change_row(lane, fault));
}

/// Sets the seq of a lane back. Only for a lane without a running COMMIT, because such a lane could not notice it.
fn restore_a_row(server: &ScriptedServer) {
    let mut state = server.state();
    let idle: Vec<u64> = state.tables.writers.keys().copied().filter(|lane| state.is_idle(*lane)).collect();
    if idle.is_empty() {
        return;
    }
    let lane = idle[state.script.random.random_range(0..idle.len())];
    let row = state.tables.writers.get_mut(&lane).expect("the lane was found there");
    row.seq /= 2;
}
