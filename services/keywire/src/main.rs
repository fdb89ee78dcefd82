//! `keywire`: both services in one process on one port, over a file of its own.

mod bench;
mod client;
mod config;
mod export;
mod get;
mod import;
mod ls;
mod progress;
mod put;
mod token;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use chassis::config::{Public, parse, usage_error};
use chassis::process::admin;
use chassis::process::stop::{Signals, Stop, run_until_stopped};
use chassis::telemetry::Telemetry;
use chassis::{edge, server};
use db::{Grants, Store};
use poem::{Endpoint, Request, Response};
use rest_read::Reads;
use tokio::net::TcpListener;
use ws_ingest::Ingest;

use crate::client::Failure;
use crate::config::{Command, Config};

fn main() -> ExitCode {
    run().unwrap_or_else(|error| chassis::process::stop::failure(format_args!("{error:#}")))
}

fn run() -> anyhow::Result<ExitCode> {
    let config = match parse::<Config>() {
        Ok(config) => config,
        Err(exit) => return Ok(exit),
    };
    if let Some(command) = &config.command {
        return execute(command, &config);
    }
    let store = match store(&config) {
        Ok(store) => store,
        Err(message) => return Ok(usage_error(message)),
    };
    let public = match config.public.validate(config.listen_addr) {
        Ok(public) => public,
        Err(error) => return Ok(usage_error(error)),
    };
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(start(&config, public, store))
}

/// Does what is not serving.
fn execute(command: &Command, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check { admin_addr } => {
            Ok(chassis::process::check::check(admin_addr.unwrap_or(config.admin_addr)))
        }
        Command::Put(args) => finish(put::put(args)),
        Command::Get(args) => finish(get::get(args)),
        Command::Del(args) => finish(put::del(args)),
        Command::Ls(args) => finish(ls::ls(args)),
        Command::Export(args) => finish(export::export(args)),
        Command::Import(args) => finish(import::import(args)),
        Command::Token(args) => Ok(client::finish(token::token(args))),
        Command::Bench(args) => Ok(bench::bench(args)),
    }
}

/// Carries out a command of the client, to its exit code.
fn finish(command: impl Future<Output = Result<(), Failure>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(client::finish(runtime.context("cannot start the runtime")?.block_on(command)))
}

fn store(config: &Config) -> Result<Store, String> {
    let password = chassis::config::database_password(config.database_password_file.as_deref())?;
    Store::new(&config.database_url, password.as_ref(), config.allow_unsafe_durability)
        .map_err(|e| e.to_string())
}

async fn start(config: &Config, public: Public, store: Store) -> anyhow::Result<ExitCode> {
    let telemetry = Telemetry::new("keywire", public.otlp_endpoint.as_deref())?;
    telemetry.install(&public.log)?;
    let signals = Signals::listen().context("cannot catch signals")?;
    // The ports open when the store is ready: whoever finds them open can write at once.
    store.migrate(&Grants::default()).await.context("cannot prepare the database")?;
    let listener = server::bind(config.listen_addr).await?;
    let admin = server::bind(config.admin_addr).await?;
    greet(config, &listener, public.tls.is_some())?;
    server::announce(("keywire", env!("CARGO_PKG_VERSION")), &listener, &admin, public.tls.as_ref())?;

    let (stop, drain_timeout) = (Stop::new(), public.drain_timeout);
    let work = serve(config, public, store, telemetry, (listener, admin), stop.clone());
    Ok(run_until_stopped(&stop, signals, drain_timeout, work).await)
}

/// Tells a newcomer where to go.
fn greet(config: &Config, listener: &TcpListener, tls: bool) -> anyhow::Result<()> {
    let at = listener.local_addr()?;
    let data = config.database_url.rsplit_once('@').map_or(config.database_url.as_str(), |(_, host)| host);
    let (http, ws) = if tls { ("https", "wss") } else { ("http", "ws") };
    let mut out = std::io::stdout();
    writeln!(out, "\n  Keywire: write over the WebSocket, read over HTTP.\n")?;
    writeln!(out, "    try it   {http}://{at}/")?;
    writeln!(out, "    write    {ws}://{at}/ws/storage/   {{\"key\":\"hello\",\"value\":\"world\"}}")?;
    writeln!(out, "    read     curl {http}://{at}/storage/hello")?;
    writeln!(out, "    docs     {http}://{at}/docs")?;
    writeln!(out, "    data     {data}")?;
    writeln!(out, "\n  Ctrl-C stops it; nothing acknowledged is lost.\n")?;
    Ok(())
}

/// Serves until `stop` begins, then drains in order: port, requests, sockets (1001), queue, database.
async fn serve(
    config: &Config,
    public: Public,
    store: Store,
    telemetry: Telemetry,
    (listener, admin): (TcpListener, TcpListener),
    stop: Stop,
) {
    let ingest = Ingest::start(&store, &config.write, &telemetry, &stop);
    let limits = config.read.limits(config.write.op_timeout_ms, config.write.key_bytes_max);
    let reads = Reads::start(&store, &limits, &telemetry);
    let (can_write, can_read) = (ingest.readiness(), reads.readiness());
    let work = async {
        let both = Both { write: ingest.app(), read: reads.app() };
        let app = edge::edge(both, public.origin, public.access, &telemetry, stop.clone());
        let app = app.with_express(reads.express());
        server::serve(listener, public.tls, app, &public.limits, &stop).await;
        stop.tracker().close();
        stop.tracker().wait().await;
    };
    let admin = admin::serve_admin(admin, move || can_write().and_then(|()| can_read()), &telemetry, &stop);
    tokio::select! {
        () = work => {}
        () = admin => {}
    }
    ingest.drain().await;
    reads.drain().await;
    telemetry.shutdown().await;
}

/// One origin for both sides, split as the gateway splits it.
struct Both<W, R> {
    write: W,
    read: R,
}

impl<W, R> Endpoint for Both<W, R>
where
    W: Endpoint<Output = Response>,
    R: Endpoint<Output = Response>,
{
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        if request.uri().path().starts_with("/ws/") {
            self.write.call(request).await
        } else {
            self.read.call(request).await
        }
    }
}
