//! The running whole: a database, and what writes to it and reads from it.

use std::net::SocketAddr;

use crate::database::{Database, Role};
use crate::engine::Engine;
use crate::http::{Connection, Response, get, storage};
use crate::process::Process;
use crate::server::Server;
use crate::socket::Socket;

/// `keywire` on `SQLite`; `ws-ingest` and `rest-read`, each with its own user, on a server.
#[derive(Debug)]
pub struct System {
    // Dropped in this order: the database goes last.
    /// Takes the writes.
    pub writer: Process,
    /// Answers the reads, unless the writer does.
    pub reader: Option<Process>,
    /// Holds the data.
    pub database: Database,
    /// Configuration beyond the defaults.
    settings: Vec<(String, String)>,
}

impl System {
    /// Starts everything on a fresh database and waits until it is ready.
    pub async fn start(engine: Engine) -> Self {
        Self::with(engine, &[]).await
    }

    /// The same with `settings` for every process.
    pub async fn with(engine: Engine, settings: &[(&str, &str)]) -> Self {
        let database = Database::fresh(engine).await;
        if engine != Engine::Sqlite {
            database.migrate();
        }
        let system = Self::on(database, settings);
        system.ready().await;
        system
    }

    /// The same on a server of its own, where others neither disturb nor are disturbed or counted.
    pub async fn apart(engine: Engine, settings: &[(&str, &str)]) -> (Server, Self) {
        Self::upon(Server::new(engine, &[]), settings).await
    }

    /// The same on `server`, which is started.
    pub async fn upon(mut server: Server, settings: &[(&str, &str)]) -> (Server, Self) {
        server.start().await;
        let database = Database::planned(server.engine, Some(server.url()));
        database.create().await;
        database.migrate();
        let system = Self::on(database, settings);
        system.ready().await;
        (server, system)
    }

    /// Starts the processes on `database` as it is, and does not wait until they are ready.
    #[must_use]
    pub fn on(database: Database, settings: &[(&str, &str)]) -> Self {
        let settings: Vec<_> = settings.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        let writer = writer_on(&database, &settings);
        let reader = match database.engine {
            Engine::Sqlite => None,
            _ => Some(reader_on(&database, &settings)),
        };
        Self { writer, reader, database, settings }
    }

    /// Waits until every process says that it is ready.
    pub async fn ready(&self) {
        self.writer.ready().await;
        if let Some(reader) = &self.reader {
            reader.ready().await;
        }
    }

    /// One more process that takes writes to the same database.
    pub async fn another_writer(&self) -> Process {
        let writer = writer_on(&self.database, &self.settings);
        writer.ready().await;
        writer
    }

    /// One more process that reads the same database.
    pub async fn another_reader(&self) -> Process {
        let reader = reader_on(&self.database, &self.settings);
        reader.ready().await;
        reader
    }

    /// Changes the configuration of the processes started from now on.
    pub fn set(&mut self, settings: &[(&str, &str)]) {
        self.settings = settings.iter().map(|&(name, value)| (name.into(), value.into())).collect();
    }

    /// Starts the process that takes the writes again, after it ended or in its place.
    pub async fn restart_writer(&mut self) {
        self.writer = writer_on(&self.database, &self.settings);
        self.writer.ready().await;
    }

    /// Stops every process in good order and starts it again.
    pub async fn restart(&mut self) {
        self.writer.stop().await;
        self.writer = writer_on(&self.database, &self.settings);
        if let Some(reader) = &mut self.reader {
            reader.stop().await;
            *reader = reader_on(&self.database, &self.settings);
        }
        self.ready().await;
    }

    /// Where sockets are opened.
    #[must_use]
    pub fn ws(&self) -> SocketAddr {
        self.writer.public
    }

    /// Where reads are sent.
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
    pub fn reads(&self) -> &Process {
        self.reader.as_ref().unwrap_or(&self.writer)
    }

    /// A connection for reads.
    pub async fn connection(&self) -> Connection {
        Connection::open(self.http()).await
    }

    /// Reads `key`.
    pub async fn read(&self, key: &str) -> Response {
        get(self.http(), &storage(key)).await
    }
}

/// What takes writes: on `SQLite` the one binary that does both.
fn writer_on(database: &Database, settings: &[(String, String)]) -> Process {
    let name = match database.engine {
        Engine::Sqlite => "keywire",
        _ => "ws-ingest",
    };
    start(name, database, Role::Writer, settings)
}

fn reader_on(database: &Database, settings: &[(String, String)]) -> Process {
    start("rest-read", database, Role::Reader, settings)
}

fn start(name: &str, database: &Database, role: Role, settings: &[(String, String)]) -> Process {
    let mut env = database.env(role);
    env.extend_from_slice(settings);
    Process::of(&database.build, name, &env)
}
