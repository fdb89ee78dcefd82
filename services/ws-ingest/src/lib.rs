//! The write side of Keywire: `{"key":…,"value":…}` messages in over the WebSocket, committed, answered.

mod closing;
pub mod config;
mod connection;
#[cfg(feature = "echo")]
mod echo;
mod inbound;
mod intake;
mod metrics;
pub mod protocol;
mod replies;
mod specification;

use std::sync::Arc;
use std::time::Duration;

use chassis::access::{Caller, SUBPROTOCOL, speaks_subprotocol};
use chassis::edge::fast_path::{FastPath, NoFastPath};
use chassis::problem::{Code, Problem};
use chassis::process::Service;
use chassis::process::stop::Stop;
use chassis::telemetry::Telemetry;
use db::{Store, Writer};
use http::{StatusCode, header};
use poem::{Endpoint, EndpointExt, FromRequest as _, Request, Response, Route, get};
use tokio_tungstenite::tungstenite::handshake::server::create_response;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::Context;
use crate::metrics::Metrics;

/// The write side of a process: its lanes and what its sockets share.
#[derive(Debug)]
pub struct Ingest {
    context: Arc<Context>,
    /// The lanes and the sweeper.
    tasks: TaskTracker,
    sweeper: CancellationToken,
}

impl Ingest {
    /// Starts the lanes and the sweeper. The database may be away: writes wait for it until their deadline.
    #[must_use]
    pub fn start(store: &Store, args: &config::WriteArgs, telemetry: &Telemetry, stop: &Stop) -> Self {
        let meter = telemetry.meter();
        let metrics = Metrics::new(&meter, store.system());
        let tasks = TaskTracker::new();
        let observed = metrics.clone();
        let writer = Writer::start(store, args.writer(), &tasks, move |report| observed.batch(report));
        let (sweeper, observed) = (CancellationToken::new(), metrics.clone());
        let every = Duration::from_millis(args.sweep_interval_ms);
        db::sweep(store, every, &tasks, sweeper.clone(), move |round| observed.sweep(round));
        let room = inbound::room();
        metrics::watch(&meter, &writer, &room);
        let spans = telemetry.exports_spans();
        let context = Context { writer, limits: args.message(), metrics, stop: stop.clone(), room, spans };
        Self { context: Arc::new(context), tasks, sweeper }
    }
}

impl Service for Ingest {
    /// The socket and its description.
    fn app(&self) -> impl Endpoint<Output = Response> + 'static {
        let socket = |purpose| Arc::new(Socket { context: Arc::clone(&self.context), purpose });
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

    /// Ready if every lane has its connection.
    fn readiness(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let writer = self.context.writer.health();
        move || writer.ready()
    }

    /// Answers every write that was accepted, then closes the database connections.
    async fn drain(self) {
        self.sweeper.cancel();
        drop(self.context);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The endpoint that turns a handshake into a socket.
struct Socket {
    context: Arc<Context>,
    purpose: Purpose,
}

/// What becomes of the messages of a socket.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Write,
    #[cfg(feature = "echo")]
    Echo,
}

impl Endpoint for Socket {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let mut handshake = http::Request::new(());
        *handshake.method_mut() = request.method().clone();
        *handshake.version_mut() = request.version();
        *handshake.headers_mut() = request.headers().clone();
        let caller = Caller::from_request_without_body(&request).await?;
        let Ok(answer) = create_response(&handshake) else { return Ok(upgrade_required()) };
        let speaks_subprotocol = speaks_subprotocol(request.headers());
        let Ok(upgrade) = request.take_upgrade() else { return Ok(upgrade_required()) };

        let (context, purpose) = (Arc::clone(&self.context), self.purpose);
        self.context.stop.tracker().spawn(async move {
            match upgrade.await {
                Ok(io) => match purpose {
                    Purpose::Write => connection::serve(io, caller, context).await,
                    #[cfg(feature = "echo")]
                    Purpose::Echo => echo::serve(io, context).await,
                },
                Err(error) => tracing::debug!(%error, "a client left during the handshake"),
            }
        });
        let mut response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS).finish();
        *response.headers_mut() = answer.headers().clone();
        if speaks_subprotocol {
            let name = header::HeaderValue::from_static(SUBPROTOCOL);
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, name);
        }
        Ok(response)
    }
}

fn upgrade_required() -> Response {
    let message = "this is a WebSocket: connect with an Upgrade to websocket, version 13";
    let mut response = Problem::new(Code::UpgradeRequired, message).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, header::HeaderValue::from_static("13"));
    response
}
