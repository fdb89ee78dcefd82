//! A running system: a database, and the processes that write to it and read from it.

use std::net::SocketAddr;

use crate::database::{Database, Role};
use crate::engine::EngineKind;
use crate::http::{HttpConnection, Response, get, storage};
use crate::process::ServiceProcess;
use crate::server::DatabaseServer;
use crate::socket::Socket;

/// `keywire` on `SQLite`; `ws-ingest` and `rest-read`, each with its own user, on a server.
#[derive(Debug)]
pub struct System {
    // Dropped in this order: the database last.
    /// The process that takes writes.
    pub writer: ServiceProcess,
    /// The process that answers reads. `None` if the writer answers them.
    pub reader: Option<ServiceProcess>,
    /// The database.
    pub database: Database,
    /// Settings that are not the defaults.
    settings: Vec<(String, String)>,
}

impl System {
    /// Starts everything on a fresh database and waits until it is ready.
    pub async fn start(engine: EngineKind) -> Self {
        Self::start_with_settings(engine, &[]).await
    }

    /// The same with `settings` for every process.
    pub async fn start_with_settings(engine: EngineKind, settings: &[(&str, &str)]) -> Self {
        let database = Database::fresh(engine).await;
        if engine != EngineKind::Sqlite {
            database.migrate();
        }
        let system = Self::start_processes(database, settings);
        system.ready().await;
        system
    }

    /// The same on a database server of its own, where no other test disturbs it or is counted.
    pub async fn start_on_own_server(
        engine: EngineKind,
        settings: &[(&str, &str)],
    ) -> (DatabaseServer, Self) {
        Self::start_on_server(DatabaseServer::new(engine, &[]), settings).await
    }

    /// The same on `server`, which this starts.
    pub async fn start_on_server(
        mut server: DatabaseServer,
        settings: &[(&str, &str)],
    ) -> (DatabaseServer, Self) {
        server.start().await;
        let database = Database::planned(server.engine, Some(server.url()));
        database.create().await;
        database.migrate();
        let system = Self::start_processes(database, settings);
        system.ready().await;
        (server, system)
    }

    /// Starts the processes on `database` without changing it, and does not wait until they are ready.
    #[must_use]
    pub fn start_processes(database: Database, settings: &[(&str, &str)]) -> Self {
        let settings: Vec<_> = settings.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        let writer = writer_on(&database, &settings);
        let reader = match database.engine {
            EngineKind::Sqlite => None,
            _ => Some(reader_on(&database, &settings)),
        };
        Self { writer, reader, database, settings }
    }

    /// Waits until every process is ready.
    pub async fn ready(&self) {
        self.writer.ready().await;
        if let Some(reader) = &self.reader {
            reader.ready().await;
        }
    }

    /// One more process that takes writes to the same database.
    pub async fn another_writer(&self) -> ServiceProcess {
        let writer = writer_on(&self.database, &self.settings);
        writer.ready().await;
        writer
    }

    /// One more process that reads the same database.
    pub async fn another_reader(&self) -> ServiceProcess {
        let reader = reader_on(&self.database, &self.settings);
        reader.ready().await;
        reader
    }

    /// Changes the configuration of the processes started from now on.
    pub fn set(&mut self, settings: &[(&str, &str)]) {
        self.settings = settings.iter().map(|&(name, value)| (name.into(), value.into())).collect();
    }

    /// Starts a new process that takes writes. It replaces the one before, which may have ended.
    pub async fn restart_writer(&mut self) {
        self.writer = writer_on(&self.database, &self.settings);
        self.writer.ready().await;
    }

    /// Stops every process in order and starts it again.
    pub async fn restart(&mut self) {
        self.writer.stop().await;
        self.writer = writer_on(&self.database, &self.settings);
        if let Some(reader) = &mut self.reader {
            reader.stop().await;
            *reader = reader_on(&self.database, &self.settings);
        }
        self.ready().await;
    }

    /// The address for sockets.
    #[must_use]
    pub fn ws(&self) -> SocketAddr {
        self.writer.public
    }

    /// The address for reads.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.reads().public
    }

    /// An open socket.
    pub async fn socket(&self) -> Socket {
        Socket::open(self.ws()).await
    }

    /// The process that answers reads.
    #[must_use]
    pub fn reads(&self) -> &ServiceProcess {
        self.reader.as_ref().unwrap_or(&self.writer)
    }

    /// A connection for reads.
    pub async fn connection(&self) -> HttpConnection {
        HttpConnection::open(self.http()).await
    }

    /// Reads `key`.
    pub async fn read(&self, key: &str) -> Response {
        get(self.http(), &storage(key)).await
    }
}

/// Starts the process that takes writes. On `SQLite` it is `keywire`, which also answers reads.
fn writer_on(database: &Database, settings: &[(String, String)]) -> ServiceProcess {
    let name = match database.engine {
        EngineKind::Sqlite => "keywire",
        _ => "ws-ingest",
    };
    start(name, database, Role::Writer, settings)
}

fn reader_on(database: &Database, settings: &[(String, String)]) -> ServiceProcess {
    start("rest-read", database, Role::Reader, settings)
}

fn start(name: &str, database: &Database, role: Role, settings: &[(String, String)]) -> ServiceProcess {
    let mut env = database.env(role);
    env.extend_from_slice(settings);
    ServiceProcess::of(&database.build, name, &env)
}
