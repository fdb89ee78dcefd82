//! The write side of Keywire: receives writes over a WebSocket, commits them, and replies.

pub mod config;
mod metrics;
pub mod protocol;
mod socket;
mod specification;

use std::sync::Arc;

use chassis::edge::fast_path::{FastPath, NoFastPath};
use chassis::process::Service;
use chassis::process::stop::Stop;
use chassis::telemetry::Telemetry;
use db::{DatabaseUsers, Store, Writer};
use poem::{Endpoint, EndpointExt, Response, Route, get};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;
use crate::socket::budget::MessageBudgets;
use crate::socket::context::SocketContext;
use crate::socket::parsing::Parsers;
use crate::socket::{Purpose, SocketEndpoint};

/// The write side of a process.
#[derive(Debug)]
pub struct Ingest {
    context: Arc<SocketContext>,
    /// The tasks of the lanes and of the sweeper.
    tasks: TaskTracker,
    sweeper: CancellationToken,
    store: Store,
}

impl Ingest {
    /// Starts the lanes and the sweeper. While the database cannot be reached, writes wait until their deadline.
    #[must_use]
    pub fn start(store: &Store, args: &config::WriteArgs, telemetry: &Telemetry, stop: &Stop) -> Self {
        let meter = telemetry.meter();
        let metrics = Metrics::new(&meter, store.system());
        let tasks = TaskTracker::new();
        let observed = metrics.clone();
        let writer = Writer::start(store, args.writer(), &tasks, move |report| observed.batch(report));
        let (sweeper, observed) = (CancellationToken::new(), metrics.clone());
        db::sweep(store, args.sweeper(), &tasks, sweeper.clone(), move |report| observed.sweep(report));
        let message_budgets = Arc::new(MessageBudgets::new(args.message().message_bytes_max()));
        metrics::register_gauges(&meter, &writer, &message_budgets);
        let context = SocketContext {
            writer,
            limits: args.message(),
            metrics,
            stop: stop.clone(),
            message_budgets,
            parsers: Parsers::new(),
            exports_spans: telemetry.exports_spans(),
        };
        Self { context: Arc::new(context), tasks, sweeper, store: store.clone() }
    }
}

/// Brings the schema of `store` up to date, and gives `users` their rights. `restored`: the database was restored from a backup, so the store
/// gets a new id, see [`Store::mark_restored`]. Returns one line for the terminal that says what was done.
///
/// # Errors
/// [`db::Error`] if the database cannot be reached or refuses.
pub async fn migrate(
    store: &Store,
    users: &DatabaseUsers,
    restored: bool,
) -> Result<&'static str, db::Error> {
    store.migrate(users).await?;
    if restored {
        store.mark_restored().await?;
        return Ok("the schema is up to date, and watches that were begun before will get a new snapshot");
    }
    Ok("the schema is up to date")
}

impl Service for Ingest {
    /// The routes of the socket and of its specification.
    fn app(&self) -> impl Endpoint<Output = Response> + 'static {
        let socket = |purpose| Arc::new(SocketEndpoint::new(Arc::clone(&self.context), purpose));
        let routes = Route::new();
        #[cfg(feature = "echo")]
        let routes = routes.at("/ws/echo", get(socket(Purpose::Echo)));
        let socket = socket(Purpose::Write);
        routes
            .at("/ws/storage", get(Arc::clone(&socket)))
            .at("/ws/storage/", get(socket))
            .at("/ws/asyncapi.yaml", get(specification::document()))
            .map_to_response()
    }

    fn fast_path(&self) -> impl FastPath {
        NoFastPath
    }

    /// Ready while every lane has a database connection.
    fn readiness(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let writer = self.context.writer.health();
        move || writer.ready()
    }

    /// Finishes every write that was accepted, then closes the database connections.
    async fn close(self) {
        self.sweeper.cancel();
        drop(self.context);
        self.tasks.close();
        self.tasks.wait().await;
        self.store.wait_closed().await;
    }
}
