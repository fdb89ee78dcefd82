//! The database of one test: a file, or a schema on a server with a database user for each service.

mod role;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, MySqlConnection, Row as _, SqliteConnection};
use tempfile::TempDir;
use url::Url;

pub use self::role::Role;
use crate::binary::Build;
use crate::engine::EngineKind;

/// A database that no other test uses. Dropping it removes it.
#[derive(Debug)]
pub struct Database {
    /// The engine that it runs on.
    pub engine: EngineKind,
    /// The name of the schema. The names of its users begin with it.
    pub name: String,
    /// The build whose binaries migrate and use it.
    pub build: Build,
    /// The URL of the server, as its root user. `None` for `SQLite`.
    root: Option<Url>,
    folder: TempDir,
    /// Whether dropping it removes it.
    owned: bool,
}

impl Database {
    /// An empty database without tables, on the server of `engine` that this run uses.
    pub async fn fresh(engine: EngineKind) -> Self {
        if engine == EngineKind::Sqlite {
            return Self::planned(engine, None);
        }
        let database = Self::planned(engine, Some(engine.url().await));
        database.create().await;
        database
    }

    /// A database that does not exist yet, on the server at `root`.
    #[must_use]
    pub fn planned(engine: EngineKind, root: Option<Url>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("kw{}_{number}", std::process::id());
        let folder = tempfile::tempdir().expect("a folder can be made");
        std::fs::write(folder.path().join("password"), format!("{name}\n")).expect("a file can be written");
        Self { engine, name, build: Build::own(), root, folder, owned: true }
    }

    /// The same database for the services of `build`.
    #[must_use]
    pub fn used_by(mut self, build: &Build) -> Self {
        self.build = build.clone();
        self
    }

    /// The same database, for further processes. Dropping the result does not remove the database.
    #[must_use]
    pub fn again(&self) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        std::fs::copy(self.folder.path().join("password"), folder.path().join("password"))
            .expect("a file can be copied");
        let (engine, name, root) = (self.engine, self.name.clone(), self.root.clone());
        Self { engine, name, build: self.build.clone(), root, folder, owned: false }
    }

    /// A copy of the files of `SQLite`. No process may use them meanwhile.
    #[must_use]
    pub fn copied(&self) -> Self {
        let copy = Self::planned(self.engine, None).used_by(&self.build);
        let to = copy.folder.path().join("data");
        std::fs::create_dir(&to).expect("a folder can be made");
        for file in std::fs::read_dir(self.folder.path().join("data")).expect("there is a database") {
            let file = file.expect("a folder can be read");
            std::fs::copy(file.path(), to.join(file.file_name())).expect("a file can be copied");
        }
        copy
    }

    /// Creates the schema and its users, without tables and rights on tables.
    pub async fn create(&self) {
        let name = &self.name;
        let mut root = self.root().await;
        self.remove(&mut root).await;
        run(&mut root, &format!("create database {name}")).await;
        for user in Role::ALL.map(|role| self.user(role)) {
            run(&mut root, &format!("create user '{user}'@'%' identified by '{name}'")).await;
        }
        let migration = self.user(Role::Migration);
        run(&mut root, &format!("grant all on {name}.* to '{migration}'@'%' with grant option")).await;
    }

    /// Brings the schema up to date and grants rights, with `ws-ingest migrate`.
    pub fn migrate(&self) {
        let output = self.build.run_to_end("ws-ingest", &["migrate"], &self.migration_env());
        assert!(output.status.success(), "migrate: {output:?}");
    }

    /// The environment variables of `ws-ingest migrate`.
    #[must_use]
    pub fn migration_env(&self) -> Vec<(String, String)> {
        let mut env = self.env(Role::Migration);
        if self.engine != EngineKind::Sqlite {
            env.push(("WRITER_USER".into(), self.user(Role::Writer)));
            env.push(("READER_USER".into(), self.user(Role::Reader)));
        }
        env
    }

    /// The name of a user on the server.
    #[must_use]
    pub fn user(&self, role: Role) -> String {
        format!("{}_{}", self.name, role.letter())
    }

    /// The environment variables that make a service use this database.
    #[must_use]
    pub fn env(&self, role: Role) -> Vec<(String, String)> {
        let Some(root) = &self.root else {
            let url = format!("sqlite://{}", self.file().display());
            return vec![("DATABASE_URL".into(), url)];
        };
        self.env_at(role, &format!("{}:{}", root.host_str().unwrap_or_default(), root.port().unwrap_or(3306)))
    }

    /// The same, if the server is reached at `addr`.
    #[must_use]
    pub fn env_at(&self, role: Role, addr: &str) -> Vec<(String, String)> {
        let root = self.root.as_ref().expect("SQLite has no server");
        let query = root.query().map_or(String::new(), |query| format!("?{query}"));
        let url = format!("mysql://{}@{addr}/{}{query}", self.user(role), self.name);
        let password = self.folder.path().join("password").display().to_string();
        vec![("DATABASE_URL".into(), url), ("DATABASE_PASSWORD_FILE".into(), password)]
    }

    /// The address of the server.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        let root = self.root.as_ref().expect("SQLite has no server");
        root.socket_addrs(|| Some(3306)).expect("the server has an address")[0]
    }

    /// The folder of the test's own files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The number of rows in `entries`, dead ones included.
    pub async fn entries(&self) -> u64 {
        self.number("select count(*) from entries").await
    }

    /// The number that the statement `select` returns.
    pub async fn number(&self, select: &str) -> u64 {
        // Whatever the type of the column.
        let number = if self.engine == EngineKind::Sqlite { "integer" } else { "signed" };
        let select = AssertSqlSafe(format!("select cast(({select}) as {number})"));
        let number: i64 = if self.engine == EngineKind::Sqlite {
            let mut file = self.open_file().await;
            sqlx::query_scalar(select).fetch_one(&mut file).await.expect("it finds a number")
        } else {
            let mut root = self.root().await;
            run(&mut root, &format!("use {}", self.name)).await;
            sqlx::query_scalar(select).fetch_one(&mut root).await.expect("it finds a number")
        };
        u64::try_from(number).expect("it is not negative")
    }

    /// Executes `statement`, without the services.
    pub async fn execute(&self, statement: &str) {
        if self.engine == EngineKind::Sqlite {
            let done = self.open_file().await.execute(AssertSqlSafe(statement.to_owned())).await;
            done.unwrap_or_else(|error| panic!("{statement}: {error}"));
        } else {
            let mut root = self.root().await;
            run(&mut root, &format!("use {}", self.name)).await;
            run(&mut root, statement).await;
        }
    }

    /// Locks the file of `SQLite` against all other writers until the result is dropped.
    pub async fn locked(&self) -> SqliteConnection {
        let mut file = self.open_file().await;
        file.execute("begin immediate").await.expect("nobody else has it for long");
        file
    }

    async fn open_file(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.file());
        SqliteConnection::connect_with(&options).await.expect("the file can be opened")
    }

    /// Inserts rows without the services, which is faster and can make rows that they would not make. The keys must be in ascending
    /// order. All rows get this value and this expiry (microseconds UTC, or `null`).
    pub async fn put(&self, keys: impl IntoIterator<Item = String>, value: &str, expires_at: &str) {
        let hex = |text: &str| text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        let row = |key: String| format!("(x'{}', x'{}', 1, 1, {expires_at})", hex(&key), hex(value));
        let rows: Vec<String> = keys.into_iter().map(row).collect();
        for rows in rows.chunks(5000) {
            let rows = rows.join(", ");
            self.execute(&format!("insert into entries (k, v, rev, born, expires_at) values {rows}")).await;
        }
    }

    /// The value of the server's global status variable `name`. All connections are counted, also a new one that asks for it.
    pub async fn counted(root: &mut MySqlConnection, name: &str) -> u64 {
        let status = AssertSqlSafe(format!("show global status like '{name}'"));
        let status = sqlx::query(status).fetch_one(root).await;
        let value: String = status.expect("the server tells").get(1);
        value.parse().expect("it is a number")
    }

    /// A connection as the root user of the server, without a schema.
    pub async fn root(&self) -> MySqlConnection {
        let url = self.root.as_ref().expect("SQLite has no root");
        MySqlConnection::connect(url.as_str()).await.expect("the server answers its root")
    }

    /// A connection with the rights of `role`, in the schema.
    pub async fn login(&self, role: Role) -> MySqlConnection {
        let mut url = self.root.clone().expect("SQLite has no users");
        url.set_username(&self.user(role)).expect("the URL can hold a user");
        url.set_password(Some(&self.name)).expect("the URL can hold a password");
        url.set_path(&self.name);
        MySqlConnection::connect(url.as_str()).await.expect("the server knows the user")
    }

    /// The ids of the connections of `role` on the server, the newest last.
    pub async fn connections(&self, role: Role) -> Vec<i64> {
        let sql = match self.engine {
            // Its processlist fails while any running statement contains characters of four bytes.
            EngineKind::MySql => {
                "select cast(processlist_id as signed) from performance_schema.threads \
                 where processlist_user = ? order by 1"
            }
            _ => "select cast(id as signed) from information_schema.processlist where user = ? order by 1",
        };
        let connections = sqlx::query_scalar(sql).bind(self.user(role));
        connections.fetch_all(&mut self.root().await).await.expect("root sees all connections")
    }

    /// The file of `SQLite`.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("data").join("keywire.db")
    }

    async fn remove(&self, root: &mut MySqlConnection) {
        run(root, &format!("drop database if exists {}", self.name)).await;
        for user in Role::ALL.map(|role| self.user(role)) {
            run(root, &format!("drop user if exists '{user}'@'%'")).await;
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(root) = self.root.clone().filter(|_| self.owned) else { return };
        // The server may outlive this process, so the schema must be removed; or the server is gone already. A drop cannot wait for
        // the runtime, but a thread can.
        let name = self.name.clone();
        let users = Role::ALL.map(|role| self.user(role));
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async {
                let Ok(mut root) = MySqlConnection::connect(root.as_str()).await else { return };
                let users = users.map(|user| format!("drop user if exists '{user}'@'%'"));
                let schema = format!("drop database if exists {name}");
                for sql in std::iter::once(schema).chain(users) {
                    drop(root.execute(AssertSqlSafe(sql)).await);
                }
            });
        });
        drop(removal.join());
    }
}

/// Runs one statement. It must succeed.
async fn run(connection: &mut MySqlConnection, sql: &str) {
    let done = connection.execute(AssertSqlSafe(sql.to_owned())).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}
