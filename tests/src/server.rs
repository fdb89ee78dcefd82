//! A database server for the tests, with durable settings, on a free port. It ends when it is dropped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::{Connection as _, MySqlConnection};
use tempfile::TempDir;
use url::Url;

use crate::disk::{Disk, DiskPart, run};
use crate::engine::EngineKind;
use crate::mariadb;
use crate::patience::eventually;
use crate::port::free_port;
use crate::process::signal;
use crate::program::{docker, program_path};

/// The settings that make a commit durable. They are the defaults of `MySQL`, but not of `MariaDB`.
const DURABLE: [&str; 3] = ["--log-bin=binlog", "--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"];

/// The time limit of a server's first start.
const START_MAX: Duration = Duration::from_secs(90);

/// The container image of `MySQL`.
const MYSQL_IMAGE: &str = "mysql:9.7";

/// A database server that one test, or one run of the tests, has for itself.
#[derive(Debug)]
pub struct DatabaseServer {
    /// `MariaDB` or `MySQL`.
    pub engine: EngineKind,
    port: u16,
    args: Vec<String>,
    /// Dropped before the folder in which it is mounted.
    disk: Option<Disk>,
    home: Home,
    /// A folder that is mounted in the container, at the same path.
    shown: Option<PathBuf>,
}

#[derive(Debug)]
enum Home {
    /// A process with its files in a private folder.
    Folder { folder: TempDir, child: Option<Child> },
    /// A container of this name. The first start creates it.
    Container { name: String, made: bool },
}

impl DatabaseServer {
    /// Whether servers of `engine` can be started on this machine.
    ///
    /// # Errors
    /// What is missing.
    pub fn possible(engine: EngineKind) -> Result<(), String> {
        match engine {
            EngineKind::Sqlite => Err("SQLite has no server".into()),
            EngineKind::MariaDb => ["mariadb-install-db", "mariadbd", "my_print_defaults"]
                .into_iter()
                .find(|program| program_path(program).is_none())
                .map_or(Ok(()), |missing| Err(format!("{missing} is not installed"))),
            EngineKind::MySql => docker(&["version"])
                .map_err(|_| "no Docker engine answers".to_owned())
                .and_then(|_| {
                    docker(&["image", "inspect", MYSQL_IMAGE])
                        .or_else(|_| docker(&["pull", "--quiet", MYSQL_IMAGE]))
                        .map_err(|_| format!("the image {MYSQL_IMAGE} cannot be pulled"))
                })
                .map(drop),
        }
    }

    /// A server on a free port, not started yet. `args` override the durable settings.
    #[must_use]
    pub fn new(engine: EngineKind, args: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let port = free_port().port();
        let home = match engine {
            EngineKind::Sqlite => panic!("SQLite has no server"),
            EngineKind::MariaDb => {
                Home::Folder { folder: tempfile::tempdir().expect("a folder can be made"), child: None }
            }
            EngineKind::MySql => {
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                let name = format!("keywire-test-{}-{number}", std::process::id());
                Home::Container { name, made: false }
            }
        };
        let args = DURABLE.iter().chain(args).map(|&arg| arg.to_owned()).collect();
        Self { engine, port, args, disk: None, home, shown: None }
    }

    /// Mounts a folder in its container, at the same path. Call it before the start.
    pub fn mount(&mut self, folder: &Path) {
        self.shown = Some(folder.to_owned());
    }

    /// Puts a part of its files on a small file system. Call it before the start.
    ///
    /// # Errors
    /// The file system cannot be mounted.
    pub fn confine(&mut self, part: DiskPart) -> Result<(), String> {
        let (disk, rest) = match &self.home {
            Home::Folder { folder, .. } => (Disk::mount(part, folder.path().join("disk"))?, folder.path()),
            Home::Container { .. } => (Disk::contained(part), Path::new("/var/lib/mysql")),
        };
        self.args.extend(disk.args(rest));
        self.disk = Some(disk);
        Ok(())
    }

    /// Fills the small file system to the last byte.
    pub fn fill(&self) {
        let [fill, _] = self.confined().filling();
        self.shell(&fill);
    }

    /// Makes room on the small file system again.
    pub fn empty(&self) {
        let [_, empty] = self.confined().filling();
        self.shell(&empty);
    }

    fn confined(&self) -> &Disk {
        self.disk.as_ref().expect("it has a file system of its own")
    }

    /// Runs a shell command on the machine or in the container that has its files.
    fn shell(&self, script: &str) {
        let done = match &self.home {
            Home::Folder { .. } => run(Command::new("sh").args(["-c", script])),
            Home::Container { name, .. } => docker(&["exec", name, "sh", "-c", script]).map(drop),
        };
        done.unwrap_or_else(|error| panic!("{script}: {error}"));
    }

    /// Its URL, as its root user.
    #[must_use]
    pub fn url(&self) -> Url {
        let password = match self.engine {
            EngineKind::MySql => ":root",
            _ => "",
        };
        let url = format!("mysql://root{password}@127.0.0.1:{}/", self.port);
        url.parse().expect("it is a URL")
    }

    /// Starts it, for the first time or again, and waits until it accepts connections.
    pub async fn start(&mut self) {
        self.launch();
        let url = self.url();
        eventually("the database server answers", START_MAX, async || {
            self.must_run();
            let root = MySqlConnection::connect(url.as_str()).await;
            root.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }

    /// Fails with its log if the process has ended by itself. (A container that has ended does not answer.)
    fn must_run(&mut self) {
        let Home::Folder { folder, child: Some(child) } = &mut self.home else { return };
        if let Some(status) = child.try_wait().expect("it is our child") {
            let log = std::fs::read_to_string(folder.path().join("server.log"));
            panic!("the database server has ended: {status}: {}", log.unwrap_or_default());
        }
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        match &mut self.home {
            Home::Folder { child, .. } => {
                let mut child = child.take().expect("it was started");
                child.kill().expect("it is our child");
                child.wait().expect("it is our child");
            }
            Home::Container { name, .. } => {
                docker(&["kill", name]).expect("it runs");
            }
        }
    }

    /// Freezes it with a signal, like a host that hangs. It keeps its connections and locks.
    pub fn freeze(&self) {
        match &self.home {
            Home::Folder { child, .. } => signal("STOP", child.as_ref().expect("it was started").id()),
            Home::Container { name, .. } => drop(docker(&["pause", name]).expect("it runs")),
        }
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        match &self.home {
            Home::Folder { child, .. } => signal("CONT", child.as_ref().expect("it was started").id()),
            Home::Container { name, .. } => drop(docker(&["unpause", name]).expect("it is paused")),
        }
    }

    fn launch(&mut self) {
        match &mut self.home {
            Home::Folder { folder, child } => {
                let small = self.disk.as_ref().and_then(Disk::data);
                let data = small.unwrap_or_else(|| folder.path().join("data"));
                if !data.exists() {
                    mariadb::install(folder.path(), &data);
                }
                *child = Some(mariadb::start(folder.path(), &data, self.port, &self.args));
            }
            Home::Container { name, made: true } => {
                docker(&["start", name]).expect("a stopped container can be started");
            }
            Home::Container { name, made } => {
                // The port is not published: measurements would include Docker's proxy.
                let port = format!("--port={}", self.port);
                let tmpfs = self.disk.as_ref().map(Disk::tmpfs);
                let data = self.disk.as_ref().and_then(Disk::data);
                let data = data.map(|data| format!("--datadir={}", data.display()));
                let mut run = vec!["run", "--detach", "--name", name, "--network", "host"];
                run.extend(["--label", "keywire-test", "--env", "MYSQL_ROOT_PASSWORD=root"]);
                let shown = self.shown.as_ref().map(|folder| format!("{0}:{0}:ro", folder.display()));
                run.extend(shown.iter().flat_map(|shown| ["--volume", shown]));
                run.extend(tmpfs.as_deref());
                run.extend(["--env", "MYSQL_INITDB_SKIP_TZINFO=1", MYSQL_IMAGE]);
                run.extend(["--bind-address=127.0.0.1", &port, "--mysqlx=OFF"]);
                run.extend(data.as_deref());
                run.extend(self.args.iter().map(String::as_str));
                *made = true;
                docker(&run).expect("a container can be started");
            }
        }
    }
}

impl Drop for DatabaseServer {
    fn drop(&mut self) {
        match &mut self.home {
            Home::Folder { child: Some(child), .. } => {
                drop(child.kill());
                drop(child.wait());
            }
            Home::Container { name, made: true } => {
                drop(docker(&["rm", "--force", "--volumes", name]));
            }
            Home::Folder { .. } | Home::Container { .. } => (),
        }
    }
}
