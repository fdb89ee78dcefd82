//! A client that watches, is cut off at random, and resumes with its cursor on any reader.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::{Heard, Held, NotWatching, Watch, Watched};
use rand::RngExt as _;
use rand::rngs::SmallRng;
use tokio::task::JoinHandle;

use super::writer::{GROUPS, SINGLES, TOGETHER, group, pair, single};
use super::{World, locked};

/// The pause before a client comes back.
const PAUSE: Duration = Duration::from_millis(50);

/// What a watcher watches, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    /// Everything.
    All,
    /// Everything, without values.
    AllWithoutValues,
    /// Everything, and it rests after each event.
    AllSlowly,
    /// The keys of all groups.
    Groups,
    /// The keys of one group, and some others.
    Keys,
    /// The same keys without values, and it rests after each event.
    KeysSlowly,
}

/// A running watcher.
pub(super) struct Watcher {
    pub(super) interest: Interest,
    watched: Arc<Mutex<Watched>>,
    task: JoinHandle<Account>,
}

/// What a watcher went through.
#[derive(Debug, Default)]
pub(super) struct Account {
    events: u64,
    cursors: u64,
    /// Streams that the watcher left.
    pub(super) cuts: u64,
    /// Streams that the service ended in order.
    ends: u64,
    /// Streams that broke.
    breaks: u64,
    /// Attempts that were refused.
    refused: u64,
    /// The codes of the resets.
    pub(super) resets: Vec<String>,
}

impl Interest {
    pub(super) const ALL: [Self; 6] =
        [Self::All, Self::AllWithoutValues, Self::AllSlowly, Self::Groups, Self::Keys, Self::KeysSlowly];

    fn query(self, name: &str) -> String {
        let keys = || keys(name).iter().map(|key| format!("key={key}")).collect::<Vec<_>>().join("&");
        match self {
            Self::All | Self::AllSlowly => format!("prefix={name}/"),
            Self::AllWithoutValues => format!("prefix={name}/&values=false"),
            Self::Groups => format!("prefix={name}/group/"),
            Self::Keys => keys(),
            Self::KeysSlowly => format!("{}&values=false", keys()),
        }
    }

    pub(super) fn covers(self, key: &str, name: &str) -> bool {
        match self {
            Self::All | Self::AllWithoutValues | Self::AllSlowly => true,
            Self::Groups => key.starts_with(&format!("{name}/group/")),
            Self::Keys | Self::KeysSlowly => keys(name).iter().any(|other| other == key),
        }
    }

    pub(super) fn with_values(self) -> bool {
        match self {
            Self::All | Self::AllSlowly | Self::Groups | Self::Keys => true,
            Self::AllWithoutValues | Self::KeysSlowly => false,
        }
    }

    /// Whether it is one of those that stay away, see [`World::is_half_away`].
    fn stays_away(self) -> bool {
        match self {
            Self::All | Self::AllSlowly | Self::Keys => true,
            Self::AllWithoutValues | Self::Groups | Self::KeysSlowly => false,
        }
    }

    fn rest(self) -> Option<Duration> {
        match self {
            Self::All | Self::AllWithoutValues | Self::Groups | Self::Keys => None,
            Self::AllSlowly | Self::KeysSlowly => Some(Duration::from_millis(1)),
        }
    }
}

/// The keys that are watched one by one: those of one group, and every other single one.
fn keys(name: &str) -> Vec<String> {
    let singles = (0..SINGLES).step_by(2).map(|number| single(name, number));
    group(name, 1).into_iter().chain(singles).collect()
}

impl Watcher {
    pub(super) fn start(world: &Arc<World>, interest: Interest, task: u64) -> Self {
        let watched = Arc::new(Mutex::new(Watched::new()));
        let run = run(Arc::clone(world), interest, Arc::clone(&watched), world.choices(task));
        Self { interest, watched, task: tokio::spawn(run) }
    }

    /// What it knows at its last cursor.
    pub(super) fn known(&self) -> BTreeMap<String, Held> {
        locked(&self.watched).entries().clone()
    }

    /// Fails if it has found a broken promise.
    pub(super) fn must_run(&self) {
        assert!(!self.task.is_finished(), "{:?} has found a broken promise", self.interest);
    }

    pub(super) async fn stop(self) -> Account {
        self.task.await.expect("it has found no broken promise")
    }
}

async fn run(
    world: Arc<World>,
    interest: Interest,
    watched: Arc<Mutex<Watched>>,
    mut choices: SmallRng,
) -> Account {
    let mut account = Account::default();
    let is_present = |is_present: bool| {
        if interest.stays_away() {
            world.present.fetch_add(if is_present { 1 } else { -1 }, Ordering::Relaxed);
        }
    };
    while !world.is_over() {
        if interest.stays_away() && world.is_half_away() {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let addr = {
            let readers = locked(&world.readers);
            readers[choices.random_range(0..readers.len())]
        };
        let cursor = locked(&watched).cursor().map(ToOwned::to_owned);
        let query = interest.query(&world.name);
        let opened = match &cursor {
            Some(cursor) if choices.random() => {
                Watch::try_open(addr, &format!("{query}&after={cursor}"), &[]).await
            }
            Some(cursor) => Watch::try_open(addr, &query, &[("Last-Event-ID", cursor)]).await,
            None => Watch::try_open(addr, &query, &[]).await,
        };
        match opened {
            Ok(watch) => {
                // Some streams live for long.
                let most = if choices.random_range(0..6) == 0 { 8000 } else { 1500 };
                let limit = Duration::from_millis(choices.random_range(20..most));
                // The stream is cut off wherever it is.
                is_present(true);
                let followed = follow(watch, interest, &world, &watched, &mut account);
                let followed = tokio::time::timeout(limit, followed).await;
                is_present(false);
                match followed {
                    Ok(Some(Heard::End)) => account.ends += 1,
                    Ok(Some(_)) => account.breaks += 1,
                    Ok(None) | Err(_) => account.cuts += 1,
                }
                locked(&watched).cut();
            }
            Err(NotWatching::Refused(response)) => {
                // 501: the log is off.
                assert!(matches!(response.status, 501 | 503), "{response:?}");
                account.refused += 1;
            }
            Err(NotWatching::Broken(_)) => account.breaks += 1,
        }
        if choices.random() {
            tokio::time::sleep(PAUSE).await;
        }
    }
    account.resets.clone_from(&locked(&watched).resets);
    account
}

/// Takes note of all events of a stream. Returns how it ended, or `None` when the watcher shall stay away.
async fn follow(
    mut watch: Watch,
    interest: Interest,
    world: &World,
    watched: &Mutex<Watched>,
    account: &mut Account,
) -> Option<Heard> {
    while !(interest.stays_away() && world.is_half_away()) {
        match watch.hear().await.1 {
            Heard::Event(event) => {
                account.events += 1;
                let mut watched = locked(watched);
                let is_cursor = watched.hear(&event);
                if is_cursor.unwrap_or_else(|broken| panic!("{interest:?}, seed {}: {broken}", world.seed)) {
                    account.cursors += 1;
                    check_groups(watched.entries(), interest, world);
                    check_pair(watched.entries(), interest, world);
                }
            }
            Heard::Comment => {}
            end @ (Heard::End | Heard::Broken) => return Some(end),
        }
        if let Some(rest) = interest.rest() {
            tokio::time::sleep(rest).await;
        }
    }
    None
}

/// Checks that no atomic batch is seen by half.
fn check_groups(entries: &BTreeMap<String, Held>, interest: Interest, world: &World) {
    for number in 0..GROUPS {
        let keys = group(&world.name, number);
        if !keys.iter().all(|key| interest.covers(key, &world.name)) {
            continue;
        }
        let held: Vec<&Held> = keys.iter().filter_map(|key| entries.get(key)).collect();
        let is_whole = held.is_empty() || held.len() == keys.len();
        let is_one = held.windows(2).all(|two| two[0].value == two[1].value);
        assert!(is_whole && is_one, "{interest:?}, seed {}: half of a batch: {held:?}", world.seed);
    }
}

/// Checks that the keys of the pair are never seen by half of a batch that wrote both.
fn check_pair(entries: &BTreeMap<String, Held>, interest: Interest, world: &World) {
    let keys = pair(&world.name);
    if !interest.with_values() || !keys.iter().all(|key| interest.covers(key, &world.name)) {
        return;
    }
    let [first, second] = keys.map(|key| entries.get(&key).and_then(|held| held.value.as_deref()));
    let is_whole = first == second || first.is_none_or(|first| !first.starts_with(TOGETHER));
    assert!(is_whole, "{interest:?}, seed {}: half of a batch: {first:?}, {second:?}", world.seed);
}
