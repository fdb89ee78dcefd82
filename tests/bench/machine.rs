//! Everything that is measured: databases, pairs of services, the gateway, other stores. All of it ends with the bench.

use e2e::{Build, Database, DatabaseServer, EngineKind, Role, System};
use sqlx::{Connection as _, MySqlConnection};
use url::Url;

use crate::figures::name;
use crate::gateway::Gateway;
use crate::other_stores::{OtherStore, OtherStoreKind};
use crate::ours::{BenchLoad, KEYS};

/// Every engine, the most important first.
pub(crate) const ENGINES: [EngineKind; 3] = [EngineKind::MySql, EngineKind::MariaDb, EngineKind::Sqlite];

/// The settings of docker-compose.yml, except for memory.
const MYSQL: [&str; 7] = [
    "--innodb-buffer-pool-size=1G",
    "--innodb-redo-log-capacity=1G",
    "--binlog-row-image=MINIMAL",
    "--binlog-cache-size=1M",
    "--performance-schema=OFF",
    "--innodb-adaptive-hash-index=ON",
    "--max-connections=300",
];
const MARIADB: [&str; 5] = [
    "--innodb-buffer-pool-size=1G",
    "--innodb-log-file-size=1G",
    "--binlog-row-image=MINIMAL",
    "--binlog-cache-size=1M",
    "--max-connections=300",
];

/// A running pair of services on a database.
#[derive(Debug)]
pub(crate) struct RunningServices {
    pub(crate) system: System,
    /// The URL of the database for the raw client; `None` for `SQLite`.
    pub(crate) raw: Option<String>,
    /// Stopped after the pair.
    _server: Option<DatabaseServer>,
}

/// Everything that this machine can run.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) pairs: Vec<RunningServices>,
    /// In front of the pair on `MySQL`.
    pub(crate) gateway: Option<Gateway>,
    pub(crate) other_stores: Vec<OtherStore>,
}

impl Machine {
    pub(crate) async fn start() -> Self {
        let mut pairs = Vec::new();
        for engine in ENGINES {
            match possible(engine) {
                Ok(()) => pairs.push(RunningServices::start(engine).await),
                Err(missing) => eprintln!("bench: without {}: {missing}", name(engine)),
            }
        }
        let behind = pairs.iter().find(|pair| pair.system.database.engine == EngineKind::MySql);
        let behind = behind.and_then(|pair| Some((&pair.system.writer, pair.system.reader.as_ref()?)));
        let gateway = match behind {
            Some((writer, reader)) => Gateway::start(&[writer], &[reader]).await,
            None => None,
        };
        let mut other_stores = Vec::new();
        for kind in [OtherStoreKind::Webdis, OtherStoreKind::Etcd] {
            match OtherStore::start(kind).await {
                Some(other_store) => other_stores.push(other_store),
                None => eprintln!("bench: without {kind:?}: not installed"),
            }
        }
        Self { pairs, gateway, other_stores }
    }

    pub(crate) fn pair(&self, engine: EngineKind) -> Option<&RunningServices> {
        self.pairs.iter().find(|pair| pair.system.database.engine == engine)
    }

    pub(crate) fn other_store(&self, kind: OtherStoreKind) -> Option<&OtherStore> {
        self.other_stores.iter().find(|other_store| other_store.kind == kind)
    }
}

impl RunningServices {
    async fn start(engine: EngineKind) -> Self {
        let server = server(engine).await;
        let system = filled(engine, server.as_ref(), &Build::own()).await;
        let raw = server.as_ref().map(|server| {
            let mut raw = plain(server);
            raw.set_path(&system.database.name);
            raw.to_string()
        });
        Self { system, raw, _server: server }
    }
}

/// Whether this machine can run `engine`. The error says what is missing.
pub(crate) fn possible(engine: EngineKind) -> Result<(), String> {
    if engine == EngineKind::Sqlite { Ok(()) } else { DatabaseServer::possible(engine) }
}

/// Starts a database server of `engine` for the bench. `SQLite` has none.
pub(crate) async fn server(engine: EngineKind) -> Option<DatabaseServer> {
    let args: &[&str] = match engine {
        EngineKind::Sqlite => return None,
        EngineKind::MySql => &MYSQL,
        EngineKind::MariaDb => &MARIADB,
    };
    let mut server = DatabaseServer::new(engine, args);
    server.start().await;
    Some(server)
}

/// The services of `build` on a database of their own, on `server` if `engine` has servers. Nearly every key is set.
pub(crate) async fn filled(engine: EngineKind, server: Option<&DatabaseServer>, build: &Build) -> System {
    let database = Database::planned(engine, server.map(plain)).used_by(build);
    if let Some(server) = server {
        database.create().await;
        introduce(server, &database).await;
        database.migrate();
    }
    let system = System::start_processes(database, &[]);
    system.ready().await;
    // Every figure finds the same keys.
    BenchLoad::sets(32, 64).run_count(&system, 4 * KEYS);
    system
}

/// The URL of `server` for clients without TLS, like those of the Unix socket in docker-compose.yml.
fn plain(server: &DatabaseServer) -> Url {
    let mut url = server.url();
    url.set_query(Some("ssl-mode=DISABLED"));
    url
}

/// Logs every user in with TLS, once. Without TLS the server accepts only a password that it has seen before.
async fn introduce(server: &DatabaseServer, database: &Database) {
    for role in [Role::Migration, Role::Writer, Role::Reader] {
        let mut url = server.url();
        url.set_username(&database.user(role)).expect("the URL can hold a user");
        url.set_password(Some(&database.name)).expect("the URL can hold a password");
        MySqlConnection::connect(url.as_str()).await.expect("the server knows the user");
    }
}
