//! The read side of Keywire: GET /storage/{key} answered with what was last committed.

mod backlog;
mod backoff;
mod body;
pub mod config;
mod cursor;
mod error;
mod export;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gets;
mod http;
mod lists;
mod metrics;
mod pace;
#[cfg(test)]
mod trial;

use std::sync::Arc;
use std::time::Duration;

use chassis::edge::fast_path::FastPath;
use chassis::process::Service;
use chassis::telemetry::Telemetry;
use db::{KEY_BYTES_MAX, Store};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::metrics::noop::NoopMeterProvider;
use poem::{Endpoint, Response};
use tokio_util::task::TaskTracker;

use crate::config::Limits;
use crate::export::Exports;
use crate::gets::Lookup;
use crate::http::api::{Api, service};
use crate::http::fast_path::Entries;
use crate::lists::Lists;
use crate::metrics::Metrics;

/// The read side of a process: its connections and what its requests share.
#[derive(Debug)]
pub struct Reads {
    api: Api,
    tasks: TaskTracker,
}

impl Reads {
    /// Starts the readers. The database may be away: gets and lists wait for it until their deadline.
    #[must_use]
    pub fn start(store: &Store, limits: &Limits, telemetry: &Telemetry) -> Self {
        let (meter, tasks) = (telemetry.meter(), TaskTracker::new());
        let metrics = Metrics::new(&meter);
        let lookup = Lookup::start(store, limits, &tasks, &metrics);
        let lists = Lists::start(store, limits, lookup.state(), &tasks, &metrics);
        let exports = Exports::new(store, limits, &tasks, &metrics);
        metrics::watch(&meter, lookup.state(), Arc::clone(lists.backlog()), exports.count());
        Self { api: Api { lookup, lists, exports, key_bytes_max: limits.key_bytes_max }, tasks }
    }
}

impl Service for Reads {
    /// `/storage`, `/export`, the specification and the pages.
    fn app(&self) -> impl Endpoint<Output = Response> + 'static {
        http::app(self.api.clone())
    }

    /// Plain gets of one key, with two fifths fewer instructions.
    fn fast_path(&self) -> impl FastPath {
        Entries(self.api.clone())
    }

    /// Ready if there is a connection to read with.
    fn readiness(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let state = self.api.lookup.state().clone();
        move || state.ready()
    }

    /// Waits until the app is dropped, then closes the database connections.
    async fn drain(self) {
        drop(self.api);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The `OpenAPI` specification of the read side, pretty-printed.
#[must_use]
pub fn specification() -> String {
    let nothing = Limits {
        readers: 0,
        select_keys_max: 0,
        queue_keys_max: 0,
        op_timeout: Duration::ZERO,
        backlog_bytes_max: 0,
        key_bytes_max: KEY_BYTES_MAX,
        listers: 0,
        queue_lists_max: 0,
        exports_max: 0,
    };
    let (tasks, meter) = (TaskTracker::new(), NoopMeterProvider::new().meter("none"));
    let (lookup, ..) = Lookup::new(&nothing);
    let (lists, _) = Lists::new(&nothing, lookup.state());
    let exports = Exports::new(&nowhere(), &nothing, &tasks, &Metrics::new(&meter));
    service(Api { lookup, lists, exports, key_bytes_max: KEY_BYTES_MAX }).spec() + "\n"
}

/// A store for an API that is described and never called.
fn nowhere() -> Store {
    Store::new("sqlite://nowhere", None, false).expect("it names a file, which is never opened")
}

#[cfg(test)]
mod tests;
