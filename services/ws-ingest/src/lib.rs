//! The write side of Keywire: `{"key":…,"value":…}` messages in over the WebSocket, committed, answered.

mod client;
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

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chassis::access::{SUBPROTOCOL, speaks_subprotocol};
use chassis::config::Public;
use chassis::problem::{Code, Problem};
use chassis::process::admin;
use chassis::process::stop::Stop;
use chassis::telemetry::Telemetry;
use chassis::{edge, server};
use db::{Store, Writer};
use http::{StatusCode, header};
use poem::{Endpoint, EndpointExt, Request, Response, Route, get};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::handshake::server::create_response;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::Client;
use crate::config::Config;
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

    /// The routes of the write side: the socket and its description.
    #[must_use]
    pub fn app(&self) -> impl Endpoint<Output = Response> + use<> {
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

    /// Whether every lane has its connection, as a question that can be asked at any time.
    pub fn readiness(&self) -> impl Fn() -> Result<(), String> + Send + Sync + use<> {
        let writer = self.context.writer.gauge();
        move || writer.ready()
    }

    /// Answers every write that was accepted, then closes the database connections. Call it when
    /// all sockets are closed.
    pub async fn drain(self) {
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
        let client = Client::of(&request).await?;
        let Ok(answer) = create_response(&handshake) else { return Ok(upgrade_required()) };
        let speaks_subprotocol = speaks_subprotocol(request.headers());
        let Ok(upgrade) = request.take_upgrade() else { return Ok(upgrade_required()) };

        let (context, purpose) = (Arc::clone(&self.context), self.purpose);
        self.context.stop.tracker().spawn(async move {
            match upgrade.await {
                Ok(io) => match purpose {
                    Purpose::Write => connection::serve(io, client, context).await,
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

/// `ws-ingest` as a process: its two ports, open from [`Server::bind`] on.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    admin: TcpListener,
    public: Public,
}

impl Server {
    /// Opens both ports and says on stdout which they are.
    ///
    /// # Errors
    /// When a port cannot be had.
    pub async fn bind(config: &Config, public: Public) -> io::Result<Self> {
        let listener = server::bind(config.listen_addr).await?;
        let admin = server::bind(config.admin_addr).await?;
        server::announce(("ws-ingest", env!("CARGO_PKG_VERSION")), &listener, &admin, public.tls.as_ref())?;
        Ok(Self { listener, admin, public })
    }

    /// Serves until `stop` begins, then drains in order: port, requests, sockets (1001), queue, database.
    pub async fn run(self, store: Store, config: &Config, telemetry: Telemetry, stop: Stop) {
        let ingest = Ingest::start(&store, &config.write, &telemetry, &stop);
        let work = async {
            let Public { origin, access, tls, .. } = self.public.clone();
            let app = edge::edge(ingest.app(), origin, access, &telemetry, stop.clone());
            server::serve(self.listener, tls, app, &self.public.limits, &stop).await;
            stop.tracker().close();
            stop.tracker().wait().await;
        };
        let admin = admin::serve_admin(self.admin, ingest.readiness(), &telemetry, &stop);
        tokio::select! {
            () = work => {}
            () = admin => {}
        }
        ingest.drain().await;
        telemetry.shutdown().await;
    }
}
