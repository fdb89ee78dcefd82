//! Serving: both services in one process, on one port.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use chassis::config::Public;
use chassis::edge::fast_path::FastPath;
use chassis::process::terminal::greet;
use chassis::process::{Process, Service};
use db::{DatabaseUsers, Store};
use poem::{Endpoint, Request, Response};
use rest_read::Reads;
use ws_ingest::Ingest;

use crate::config::Config;

/// Migrates the database, opens the ports and serves until a signal. Returns the exit code.
pub(crate) async fn serve(config: &Config, public: Public, store: Store) -> anyhow::Result<ExitCode> {
    let is_tls = public.tls.is_some();
    let database_connections = config.write.database_connections() + config.read.database_connections();
    let process = Process::start("keywire", public, database_connections)?;
    process.warn_of_short_drain(Duration::from_millis(config.write.op_timeout_ms));
    // Before the ports open: a client that can connect can write.
    store.migrate(&DatabaseUsers::default()).await.context("cannot prepare the database")?;
    let process = process.bind(config.listen_addr, config.admin_addr).await?;
    greet(first_steps(config, process.local_addr()?, is_tls));
    let (telemetry, stop) = (process.telemetry(), process.stop());
    let ingest = Ingest::start(&store, &config.write, telemetry, stop);
    let limits = config.read.limits(
        config.write.op_timeout_ms,
        config.write.key_bytes_max,
        process.connections_max(),
        config.public.drain_timeout_ms,
    );
    let reads = Reads::start(&store, &limits, telemetry, stop);
    // Boxed: the future of both services together is large.
    Ok(Box::pin(process.serve(BothServices { ingest, reads })).await?)
}

/// The first steps for a new user.
fn first_steps(config: &Config, addr: SocketAddr, is_tls: bool) -> String {
    let data = config.database_url.rsplit_once('@').map_or(config.database_url.as_str(), |(_, host)| host);
    let (http, ws) = if is_tls { ("https", "wss") } else { ("http", "ws") };
    format!(
        r#"
  Keywire: write over WebSocket, read and follow over HTTP.

    console  {http}://{addr}/
    write    {ws}://{addr}/ws/storage/   {{"key":"hello","value":"world"}}
    read     curl {http}://{addr}/storage/hello
    follow   curl -N {http}://{addr}/watch
    docs     {http}://{addr}/docs
    data     {data}

  Ctrl-C stops Keywire. No acknowledged write is lost.

"#
    )
}

/// Both services in one process, on one port.
struct BothServices {
    ingest: Ingest,
    reads: Reads,
}

impl Service for BothServices {
    fn app(&self) -> impl Endpoint<Output = Response> + 'static {
        PathRouter { write: self.ingest.app(), read: self.reads.app() }
    }

    fn fast_path(&self) -> impl FastPath {
        self.reads.fast_path()
    }

    fn get_only(&self) -> &'static [&'static str] {
        self.reads.get_only()
    }

    fn readiness(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let (can_write, can_read) = (self.ingest.readiness(), self.reads.readiness());
        move || can_write().and_then(|()| can_read())
    }

    async fn close(self) {
        // Each waits until the database has closed the connections of both.
        tokio::join!(self.ingest.close(), self.reads.close());
    }
}

/// Passes requests to the two services by path, as the gateway does.
struct PathRouter<W, R> {
    write: W,
    read: R,
}

impl<W, R> Endpoint for PathRouter<W, R>
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
