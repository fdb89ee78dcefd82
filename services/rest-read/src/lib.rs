//! The read side of Keywire: answers GET /storage/{key} with the last committed value, lists and exports entries, and
//! tells what changes.

mod backlog;
mod body;
mod client_speed;
pub mod config;
mod cursor;
mod damage;
mod error;
mod export;
#[cfg(test)]
mod fixture;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gets;
mod health;
mod http;
mod lists;
mod metrics;
mod owner;
mod pace;
mod watch;

use std::time::Duration;

use chassis::edge::fast_path::FastPath;
use chassis::process::Service;
use chassis::process::stop::Stop;
use chassis::telemetry::Telemetry;
use db::{KEY_BYTES_MAX, Store};
use poem::{Endpoint, Response};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::ReadLimits;
use crate::export::Exports;
use crate::gets::Gets;
use crate::http::api::{Api, service};
use crate::http::fast_path::EntryFastPath;
use crate::lists::Lists;
use crate::metrics::Metrics;
use crate::watch::Watches;

/// The read side of a process: its database connections, and the state that its requests share.
#[derive(Debug)]
pub struct Reads {
    api: Api,
    tasks: TaskTracker,
    store: Store,
}

impl Reads {
    /// Starts the readers, and a task that follows the log of changes while somebody watches. `stop` begins the drain. The database may be
    /// unreachable: gets and lists wait for it until their deadline.
    #[must_use]
    pub fn start(store: &Store, limits: &ReadLimits, telemetry: &Telemetry, stop: &Stop) -> Self {
        let (meter, tasks) = (telemetry.meter(), TaskTracker::new());
        let metrics = Metrics::new(&meter);
        let gets = Gets::start(store, limits, &tasks, &metrics);
        let lists = Lists::start(store, limits, gets.health(), &tasks, &metrics);
        let exports = Exports::new(store, limits, &tasks, &metrics);
        let watches = Watches::start(store, limits, &tasks, &metrics, stop.token());
        metrics::register_gauges(&meter, gets.health(), lists.unread(), exports.count(), &watches);
        Self {
            api: Api {
                gets,
                lists,
                exports,
                watches,
                key_bytes_max: limits.key_bytes_max,
                trust_forwarded_for: limits.trust_forwarded_for,
            },
            tasks,
            store: store.clone(),
        }
    }
}

impl Service for Reads {
    /// `/storage`, `/export`, `/watch`, the specification and the pages for browsers.
    fn app(&self) -> impl Endpoint<Output = Response> + 'static {
        http::app(self.api.clone())
    }

    /// A watch has no end, so it has no length that HEAD could tell.
    fn get_only(&self) -> &'static [&'static str] {
        &["/watch"]
    }

    /// Plain gets of one key, with two fifths fewer instructions.
    fn fast_path(&self) -> impl FastPath {
        EntryFastPath(self.api.clone())
    }

    /// Ready while a reader has a connection.
    fn readiness(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let health = self.api.gets.health().clone();
        move || health.ready()
    }

    /// Waits until the app is dropped, then closes the database connections.
    async fn close(self) {
        self.api.watches.close();
        drop(self.api);
        self.tasks.close();
        self.tasks.wait().await;
        self.store.wait_closed().await;
    }
}

/// The `OpenAPI` specification of the read side, pretty-printed.
#[must_use]
pub fn specification() -> String {
    let nothing = ReadLimits {
        readers: 0,
        lookup_keys_max: 0,
        lookup_queue_max: 0,
        op_timeout: Duration::ZERO,
        backlog_bytes_max: 0,
        key_bytes_max: KEY_BYTES_MAX,
        listers: 0,
        list_queue_max: 0,
        exports_max: 0,
        trust_forwarded_for: false,
        watches_max: 0,
        watch_snapshots: 0,
        watch_end_within: Duration::ZERO,
    };
    let (gets, ..) = Gets::new(&nothing);
    let (lists, _) = Lists::new(&nothing, gets.health());
    let (store, tasks, metrics) = (nowhere(), TaskTracker::new(), Metrics::noop());
    let exports = Exports::new(&store, &nothing, &tasks, &metrics);
    let watches = Watches::new(&store, &nothing, &tasks, &metrics, CancellationToken::new());
    let api = Api { gets, lists, exports, watches, key_bytes_max: KEY_BYTES_MAX, trust_forwarded_for: false };
    service(api).spec() + "\n"
}

/// The store of an API that is only described and never called.
fn nowhere() -> Store {
    Store::new("sqlite://nowhere", None, false).expect("the URL is valid, and its file is never opened")
}

#[cfg(test)]
mod tests;
