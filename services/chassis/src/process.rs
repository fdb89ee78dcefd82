//! A process of this system: starts telemetry and ports, serves until it is told to stop, and stops in order.

pub mod admin;
pub mod check;
pub mod descriptors;
pub mod stop;
pub mod terminal;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use poem::{Endpoint, Response};
use tokio::net::TcpListener;

use self::stop::{Signals, Stop, run_until_stopped};
use crate::config::Public;
use crate::edge::edge;
use crate::edge::fast_path::FastPath;
use crate::server::{ConnectionLimits, announce, bind, serve};
use crate::telemetry::{Logs, Telemetry, TelemetryError};

/// Runs `work` on a new runtime.
///
/// # Errors
/// The runtime cannot be started.
pub fn block_on<W: Future>(work: W) -> io::Result<W::Output> {
    let runtime = tokio::runtime::Runtime::new()?;
    let output = runtime.block_on(work);
    // A call that blocks, such as the last export of spans, must not hold up the end of the process.
    runtime.shutdown_background();
    Ok(output)
}

/// The service that a process runs.
pub trait Service {
    /// The routes of the public port.
    fn app(&self) -> impl Endpoint<Output = Response> + 'static;

    /// Answers plain requests as the app would, with fewer instructions.
    fn fast_path(&self) -> impl FastPath;

    /// The paths that take GET and no HEAD.
    fn get_only(&self) -> &'static [&'static str] {
        &[]
    }

    /// A check whether the service can do its work, for `/readyz`. The error says why not. The check must not block.
    fn readiness(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static;

    /// Finishes the work that was accepted and closes the database connections. Called once, after the app is dropped and all
    /// sockets are closed.
    fn close(self) -> impl Future<Output = ()>;
}

/// A process before its ports are open. Telemetry works, and signals are caught.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    public: Public,
    telemetry: Telemetry,
    stop: Stop,
    signals: Signals,
    /// Dropped last, so that the last lines are written.
    logs: Logs,
}

/// What an ordered stop takes beyond the ops: the last statement, the sockets and the connections to the database, up to 1 s each.
const STOP_AFTER_OPS: Duration = Duration::from_secs(3);

/// A process whose ports are open.
#[derive(Debug)]
pub struct Bound {
    process: Process,
    listener: TcpListener,
    admin: TcpListener,
}

/// Why a process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Telemetry cannot be set up.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The system refuses to report signals.
    #[error("cannot catch signals")]
    Signals(#[source] io::Error),
    /// The process may not open enough files.
    #[error("the limit of open files (ulimit -n) is {open_files_max}; at least {needed} are needed")]
    OpenFiles {
        /// The limit.
        open_files_max: usize,
        /// The smallest limit with which a client can connect.
        needed: usize,
    },
    /// A port cannot be opened, or stdout is closed. The error names the port.
    #[error(transparent)]
    Port(#[from] io::Error),
}

impl Process {
    /// Starts telemetry, catches signals, and raises the limit of open files. `name` is used in telemetry and in the first line on
    /// stdout. `database_connections` is the most connections to the database that the service opens.
    ///
    /// # Errors
    /// [`StartError::Telemetry`], [`StartError::Signals`], [`StartError::OpenFiles`].
    pub fn start(
        name: &'static str,
        mut public: Public,
        database_connections: usize,
    ) -> Result<Self, StartError> {
        let telemetry = Telemetry::new(name, public.otlp_endpoint.as_deref(), &public.attributes)?;
        let logs = telemetry.install(&public.log)?;
        logs.catch_panics();
        let signals = Signals::listen().map_err(StartError::Signals)?;
        public.limits = fitted(public.limits, database_connections)?;
        Ok(Self { name, public, telemetry, stop: Stop::new(), signals, logs })
    }

    /// Logs a warning if the ordered stop may end before the ops that were accepted, each of which may take `op_timeout`.
    pub fn warn_of_short_drain(&self, op_timeout: Duration) {
        if self.public.drain_timeout < op_timeout + STOP_AFTER_OPS {
            tracing::warn!(
                drain_timeout = ?self.public.drain_timeout,
                ?op_timeout,
                "DRAIN_TIMEOUT_MS should be at least 3 s longer than OP_TIMEOUT_MS: while the database hangs, a stop ends before the last replies"
            );
        }
    }

    /// Opens the public port and the admin port.
    ///
    /// # Errors
    /// [`StartError::Port`].
    pub async fn bind(self, listen_addr: SocketAddr, admin_addr: SocketAddr) -> Result<Bound, StartError> {
        Ok(Bound { process: self, listener: bind(listen_addr).await?, admin: bind(admin_addr).await? })
    }
}

impl Bound {
    /// The address of the public port.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The most connections of the public port. It may be lower than configured, because of the limit of open files.
    #[must_use]
    pub fn connections_max(&self) -> usize {
        self.process.public.limits.connections_max
    }

    /// The metrics, traces and logs of the process.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.process.telemetry
    }

    /// The stop signal of the process.
    #[must_use]
    pub fn stop(&self) -> &Stop {
        &self.process.stop
    }

    /// Prints the ports on stdout and serves `service` until a signal. Stops in order: public port, requests, sockets (Close
    /// 1001), admin port, service, telemetry. During the drain the admin port answers until the service is closed. Returns the
    /// exit code of [`run_until_stopped`].
    ///
    /// # Errors
    /// [`StartError::Port`]: stdout is closed.
    pub async fn serve(self, service: impl Service) -> Result<ExitCode, StartError> {
        let Self { process, listener, admin } = self;
        let Process { name, public, telemetry, stop, signals, logs } = process;
        announce(name, &listener, &admin, public.tls.is_some())?;
        let work = async {
            let public_hosts = public.origin.public_hosts.clone();
            let app = edge(service.app(), public.origin, public.access, &telemetry, stop.clone());
            let app = app.with_get_only(service.get_only()).with_fast_path(service.fast_path());
            let readiness = service.readiness();
            let serving = async {
                serve(listener, public.tls, app, &public.limits, &stop).await;
                stop.tracker().close();
                stop.tracker().wait().await;
            };
            tokio::select! {
                () = serving => {}
                () = admin::serve_admin(admin, readiness, public_hosts, &telemetry, &stop) => {}
            }
            service.close().await;
            telemetry.shutdown().await;
        };
        let code = run_until_stopped(&stop, signals, public.drain_timeout, work).await;
        drop(logs);
        Ok(code)
    }
}

/// `limits`, as far as the limit of open files allows.
fn fitted(limits: ConnectionLimits, database_connections: usize) -> Result<ConnectionLimits, StartError> {
    let open_files_max = descriptors::raise_limit().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot raise the limit of open files");
        descriptors::open_files_max()
    });
    let Some(open_files_max) = open_files_max else { return Ok(limits) };
    let configured = limits.connections_max;
    let Some(fitted) = descriptors::fit(limits, open_files_max, database_connections) else {
        let needed = descriptors::reserved(database_connections) + 1;
        return Err(StartError::OpenFiles { open_files_max, needed });
    };
    if fitted.connections_max < configured {
        let connections_max = fitted.connections_max;
        tracing::warn!(
            connections_max,
            configured,
            open_files_max,
            "CONNECTIONS_MAX is lowered, because the limit of open files (ulimit -n) allows no more"
        );
    }
    Ok(fitted)
}
