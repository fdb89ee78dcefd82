//! Watchers are cut off at random and resume on any replica, while services and the database are killed and answers are lost. Nothing
//! is missed, nothing goes back, and no atomic batch is seen by half.
//!
//! `CHAOS_SECONDS` says how long things fail (default: 5, and each fault occurs once at least). `CHAOS_SEED` repeats the choices of a run,
//! though not its timing.

mod faults;
mod watcher;
mod writer;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use e2e::{EngineKind, Held, PATIENCE, System, eventually, get, measured, promises};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use self::faults::Faults;
use self::watcher::{Interest, Watcher};

promises! {
    every:
        watchers_miss_nothing_whatever_fails;
}

/// How often watchers must have been cut off, so that a run proves something.
const CUTS_MIN: u64 = 10;

/// The settings of every process. A fault ends before clients give up, and the log of changes is soon too large.
const SETTINGS: [(&str, &str); 3] =
    [("OP_TIMEOUT_MS", "4000"), ("SWEEP_INTERVAL_MS", "100"), ("CHANGES_BYTES_MAX", "1048576")];

/// What all tasks of a run share.
struct World {
    /// All keys begin with it.
    name: String,
    seed: u64,
    /// Where writers listen at the moment.
    writers: Mutex<Vec<SocketAddr>>,
    /// Where readers listen at the moment.
    readers: Mutex<Vec<SocketAddr>>,
    /// Nobody writes any more.
    is_quiet: AtomicBool,
    /// Nobody watches any more.
    is_over: AtomicBool,
    /// Half of the watchers stay away.
    is_half_away: AtomicBool,
    /// How many of these have a stream.
    present: AtomicI64,
    /// The writes that were acknowledged.
    acked: AtomicU64,
    /// Values are numbers, and none is written twice.
    value: AtomicU64,
    /// Keys that nobody writes again, and their values: whoever misses one never learns of it.
    once: Mutex<BTreeMap<String, &'static str>>,
}

impl World {
    /// Choices that are the same in each run with the same seed.
    fn choices(&self, task: u64) -> SmallRng {
        SmallRng::seed_from_u64(self.seed ^ (task << 32))
    }

    fn is_quiet(&self) -> bool {
        self.is_quiet.load(Ordering::Relaxed)
    }

    fn is_half_away(&self) -> bool {
        self.is_half_away.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Sends half of the watchers away, and waits until they have left.
    async fn send_half_away(&self) {
        self.is_half_away.store(true, Ordering::Relaxed);
        eventually("half of the watchers leave", PATIENCE, async || {
            match self.present.load(Ordering::Relaxed) {
                0 => Ok(()),
                present => Err(format!("{present} have not")),
            }
        })
        .await;
    }

    /// Waits until `count` more writes are acknowledged.
    async fn more(&self, count: u64) {
        let before = self.acked.load(Ordering::Relaxed);
        eventually("writes are acknowledged", PATIENCE * 2, async || {
            match self.acked.load(Ordering::Relaxed) - before {
                done if done >= count => Ok(()),
                done => Err(format!("{done} of {count}")),
            }
        })
        .await;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number in the environment variable `name`.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|number| number.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// What a list of all keys shows.
async fn listed(addr: SocketAddr, name: &str) -> BTreeMap<String, Held> {
    let response = get(addr, &format!("/storage?prefix={name}%2F&limit=1000")).await;
    assert_eq!(response.status, 200, "{response:?}");
    let page = response.json();
    assert!(page["next"].is_null(), "one page holds all");
    let items = page["items"].as_array().expect("items is a list").iter();
    let text = |item: &serde_json::Value, name: &str| item[name].as_str().map(ToOwned::to_owned);
    let held = |item| Held { value: text(item, "value"), rev: item["rev"].as_u64().expect("a revision") };
    items.map(|item| (text(item, "key").expect("a key"), held(item))).collect()
}

/// Waits until a watcher knows what a list shows.
async fn converges(watcher: &Watcher, reader: SocketAddr, world: &World) {
    eventually(&format!("{:?} knows what is there", watcher.interest), PATIENCE, async || {
        let mut expected = listed(reader, &world.name).await;
        expected.retain(|key, _| watcher.interest.covers(key, &world.name));
        if !watcher.interest.with_values() {
            for held in expected.values_mut() {
                held.value = None;
            }
        }
        let found = watcher.known();
        let differs = |key: &&String| expected.get(*key) != found.get(*key);
        match expected.keys().chain(found.keys()).find(differs) {
            None => Ok(()),
            Some(key) => {
                Err(format!("{key}: {:?} is there, {:?} was told", expected.get(key), found.get(key)))
            }
        }
    })
    .await;
}

/// Waits until a watcher knows the keys that were written once.
async fn knows_once(watcher: &Watcher, world: &World) {
    let mut expected = locked(&world.once).clone();
    expected.retain(|key, _| watcher.interest.covers(key, &world.name));
    eventually(&format!("{:?} knows what was written once", watcher.interest), PATIENCE * 2, async || {
        let found = watcher.known();
        let is_known = |key: &String, value: &str| {
            found.get(key).is_some_and(|held| held.value.as_deref().is_none_or(|held| held == value))
        };
        match expected.iter().find(|(key, value)| !is_known(key, value)) {
            None => Ok(()),
            Some((key, value)) => Err(format!("{key}: {value} is there, {:?} was told", found.get(key))),
        }
    })
    .await;
}

async fn watchers_miss_nothing_whatever_fails(engine: EngineKind) {
    let seconds = number("CHAOS_SECONDS").unwrap_or(5);
    let seed = number("CHAOS_SEED").unwrap_or_else(rand::random);
    measured(&format!("chaos on {engine:?}: CHAOS_SEED={seed} CHAOS_SECONDS={seconds}"));
    let (server, mut system) = match engine {
        EngineKind::Sqlite => (None, System::start_with_settings(engine, &SETTINGS).await),
        EngineKind::MariaDb | EngineKind::MySql => {
            let (server, system) = System::start_on_own_server(engine, &SETTINGS).await;
            (Some(server), system)
        }
    };
    let world = Arc::new(World {
        name: format!("chaos{seed:016x}"),
        seed,
        writers: Mutex::default(),
        readers: Mutex::default(),
        is_quiet: AtomicBool::new(false),
        is_over: AtomicBool::new(false),
        is_half_away: AtomicBool::new(false),
        present: AtomicI64::new(0),
        acked: AtomicU64::new(0),
        value: AtomicU64::new(1),
        once: Mutex::default(),
    });
    let mut faults = Faults::new(Arc::clone(&world), &system, server).await;
    let writers: Vec<_> = (0..4).map(|task| tokio::spawn(writer::write(Arc::clone(&world), task))).collect();
    let watchers: Vec<_> = Interest::ALL
        .into_iter()
        .zip(10..)
        .map(|(interest, task)| Watcher::start(&world, interest, task))
        .collect();

    let started = Instant::now();
    while !faults.round_is_done() || started.elapsed() < Duration::from_secs(seconds) {
        faults.next(&mut system).await;
        world.more(40).await;
        world.is_half_away.store(false, Ordering::Relaxed);
        // Before a later fault resets the watchers, which would hide what they have missed.
        for watcher in &watchers {
            watcher.must_run();
            knows_once(watcher, &world).await;
        }
    }
    world.is_quiet.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("a writer does not panic");
    }
    for watcher in &watchers {
        watcher.must_run();
        converges(watcher, system.http(), &world).await;
    }
    world.is_over.store(true, Ordering::Relaxed);
    let (mut accounts, mut cuts) = (Vec::new(), 0);
    for watcher in watchers {
        let interest = watcher.interest;
        let account = watcher.stop().await;
        // The log was cut and switched off. There is no other reason.
        let is_expected = |code: &String| matches!(&**code, "too_old" | "not_logged");
        assert!(account.resets.iter().all(is_expected), "{interest:?}: {:?}", account.resets);
        cuts += account.cuts;
        accounts.push(format!("{interest:?} {account:?}"));
    }
    assert!(cuts >= CUTS_MIN, "only {cuts} times: {accounts:?}");
    let acked = world.acked.load(Ordering::Relaxed);
    measured(&format!("{acked} writes acknowledged, {}; {}", faults.account(), accounts.join("; ")));
}
