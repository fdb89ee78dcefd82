//! The faults of a run: services are killed or stopped in order, the database is killed, a proxy loses answers, and the log of changes is cut or
//! switched off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use e2e::{DatabaseServer, EngineKind, PATIENCE, Proxy, Role, ServiceProcess, Socket, System, eventually};
use rand::RngExt as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;

use super::writer::{SINGLES, single};
use super::{SETTINGS, World, locked};
use crate::watch::fill_log;

/// The value that a program without a log writes.
const UNLOGGED: &str = "unlogged";

/// One answer of so many is lost.
const LOST: u64 = 60;

/// A way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    KillWriter(usize),
    DrainWriter(usize),
    KillReader(usize),
    DrainReader(usize),
    KillDatabase,
    /// So much is logged that the oldest part is removed. Watchers that are away need it.
    CutLog,
    /// The log is switched off for a while.
    SwitchOff,
    /// A program that knows no log writes.
    WriteUnlogged,
}

/// The processes that fail, beside those of the [`System`], which do not.
pub(super) struct Faults {
    world: Arc<World>,
    choices: SmallRng,
    /// The second one is behind the proxy, if there is one. So it is with the readers.
    writers: Vec<ServiceProcess>,
    readers: Vec<ServiceProcess>,
    server: Option<DatabaseServer>,
    proxy: Option<Proxy>,
    /// What is still to come in this round.
    left: Vec<Fault>,
    rounds: usize,
    count: usize,
}

impl Faults {
    pub(super) async fn new(world: Arc<World>, system: &System, server: Option<DatabaseServer>) -> Self {
        let proxy = match system.database.engine {
            EngineKind::Sqlite => None,
            EngineKind::MariaDb | EngineKind::MySql => Some(Proxy::start(system.database.addr(), LOST).await),
        };
        let choices = world.choices(1000);
        let mut faults = Self {
            world,
            choices,
            writers: Vec::new(),
            readers: Vec::new(),
            server,
            proxy,
            left: Vec::new(),
            rounds: 0,
            count: 0,
        };
        for place in 0..2 {
            let writer = faults.start(system, Role::Writer, place).await;
            faults.writers.push(writer);
            let reader = faults.start(system, Role::Reader, place).await;
            faults.readers.push(reader);
        }
        faults.tell(system);
        faults
    }

    /// Whether each fault has occurred.
    pub(super) fn round_is_done(&self) -> bool {
        self.rounds > 0 && self.left.is_empty()
    }

    /// What has failed.
    pub(super) fn account(&self) -> String {
        let lost = self.proxy.as_ref().map_or(0, Proxy::lost);
        format!("{lost} answers lost, {} faults", self.count)
    }

    /// Lets something fail, and start again.
    pub(super) async fn next(&mut self, system: &mut System) {
        if self.left.is_empty() {
            self.left = (0..2)
                .flat_map(|place| {
                    [
                        Fault::KillWriter(place),
                        Fault::DrainWriter(place),
                        Fault::KillReader(place),
                        Fault::DrainReader(place),
                    ]
                })
                .chain([Fault::CutLog, Fault::SwitchOff, Fault::WriteUnlogged])
                .chain(self.server.is_some().then_some(Fault::KillDatabase))
                .collect();
            self.left.shuffle(&mut self.choices);
            self.rounds += 1;
        }
        let fault = self.left.pop().expect("there are several");
        if matches!(fault, Fault::CutLog | Fault::KillWriter(0)) || self.choices.random() {
            // They come back when more was written.
            self.world.send_half_away().await;
        }
        let once = self.write_once(system.ws()).await;
        match fault {
            Fault::KillWriter(place) => self.writers[place].kill(),
            Fault::KillReader(place) => self.readers[place].kill(),
            Fault::DrainWriter(place) => drain(&mut self.writers[place]).await,
            Fault::DrainReader(place) => drain(&mut self.readers[place]).await,
            Fault::KillDatabase => {
                let server = self.server.as_mut().expect("only a server can be killed");
                server.kill();
                server.start().await;
            }
            Fault::CutLog => {
                // Behind the proxy, which loses answers, a sweeper begins anew again and again.
                self.writers[1].kill();
                cut_log(system, &self.world.name, &once).await;
                self.writers[1] = self.start(system, Role::Writer, 1).await;
                // The readers have what was removed in memory.
                self.restart_all(system).await;
            }
            Fault::SwitchOff => self.switch_off(system).await,
            Fault::WriteUnlogged => self.write_unlogged(system).await,
        }
        match fault {
            Fault::KillWriter(place) | Fault::DrainWriter(place) => {
                self.writers[place] = self.start(system, Role::Writer, place).await;
            }
            Fault::KillReader(place) | Fault::DrainReader(place) => {
                self.readers[place] = self.start(system, Role::Reader, place).await;
            }
            Fault::KillDatabase | Fault::CutLog | Fault::SwitchOff | Fault::WriteUnlogged => {}
        }
        // By lanes that no cursor knows, if the process is a new one.
        self.write_once(self.writers[0].public).await;
        self.tell(system);
        self.count += 1;
    }

    /// Lets a process write that logs nothing, beside those that do. Then all log again.
    async fn switch_off(&mut self, system: &mut System) {
        drain(&mut self.writers[0]).await;
        system.set(&[&SETTINGS[..], &[("CHANGES_RETENTION_S", "0")]].concat());
        self.writers[0] = system.another_writer().await;
        let mut socket = Socket::open(self.writers[0].public).await;
        for number in 0..SINGLES {
            let key = single(&self.world.name, number);
            let value = self.world.value.fetch_add(1, Ordering::Relaxed).to_string();
            socket.set(&key, &value).await;
        }
        drain(&mut self.writers[0]).await;
        system.set(&SETTINGS);
        self.writers[0] = system.another_writer().await;
        self.let_a_minute_pass(system).await;
    }

    /// Writes as a program without a log does: its lane moves, and the log has no row.
    async fn write_unlogged(&mut self, system: &mut System) {
        // Every watcher knows this key: it was written before an earlier fault, or long ago.
        let key = locked(&self.world.once).keys().next().expect("one was just written").clone();
        let now = system.database.number("select max(rev) from writers").await;
        let cast = if system.database.engine == EngineKind::Sqlite { "cast('{}' as blob)" } else { "'{}'" };
        locked(&self.world.once).insert(key.clone(), UNLOGGED);
        let [key, value] = [&key, UNLOGGED].map(|text| cast.replace("{}", text));
        system
            .database
            .execute(&format!("update entries set v = {value}, rev = rev + 1 where k = {key}"))
            .await;
        let id = self.choices.random::<u32>();
        let lane = format!("insert into writers (id, seq, rev) values ({id}, 1, {now})");
        system.database.execute(&lane).await;
        self.let_a_minute_pass(system).await;
    }

    /// Readers refuse watches for a minute after a write that was not logged. New ones, which have not seen it, are told that it was a minute
    /// ago.
    async fn let_a_minute_pass(&mut self, system: &mut System) {
        system.database.execute("update writers set rev = rev - 61000000 where logged = 0").await;
        self.restart_all(system).await;
    }

    /// Starts all readers again, and what belongs to the system.
    async fn restart_all(&mut self, system: &mut System) {
        for place in 0..2 {
            self.readers[place].kill();
        }
        system.restart().await;
        for place in 0..2 {
            self.readers[place] = self.start(system, Role::Reader, place).await;
        }
    }

    /// Writes a key that nobody writes again. Returns the key.
    async fn write_once(&self, addr: SocketAddr) -> String {
        let number = self.world.value.fetch_add(1, Ordering::Relaxed);
        let key = format!("{}/once/{number}", self.world.name);
        let write = serde_json::json!({ "key": key, "value": "v" }).to_string();
        eventually("a key is written once", PATIENCE * 2, async || {
            let reply = Socket::open(addr).await.ask(write.clone()).await;
            if reply.contains(r#""status":200"#) { Ok(()) } else { Err(reply) }
        })
        .await;
        locked(&self.world.once).insert(key.clone(), "v");
        key
    }

    /// Starts a process. The second one of each kind loses answers.
    async fn start(&self, system: &System, role: Role, place: usize) -> ServiceProcess {
        let Some(proxy) = self.proxy.as_ref().filter(|_| place == 1) else {
            return match role {
                Role::Writer => system.another_writer().await,
                Role::Reader => system.another_reader().await,
                Role::Migration => unreachable!("nobody migrates"),
            };
        };
        let mut env = system.database.env_at(role, &proxy.addr.to_string());
        env.extend(SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let name = if role == Role::Writer { "ws-ingest" } else { "rest-read" };
        // It may not be ready for long.
        ServiceProcess::start(name, &env)
    }

    /// Tells the clients where the processes listen now.
    fn tell(&self, system: &System) {
        let addresses = |processes: &[ServiceProcess], own: SocketAddr| {
            processes.iter().map(|process| process.public).chain([own]).collect()
        };
        *locked(&self.world.writers) = addresses(&self.writers, system.ws());
        *locked(&self.world.readers) = addresses(&self.readers, system.http());
    }
}

/// Logs more bytes of other keys than the log may have, and waits until the change of `key`, which is older, is removed.
async fn cut_log(system: &System, name: &str, key: &str) {
    let mut socket = Socket::open(system.ws()).await;
    fill_log(&mut socket, &format!("fill/{name}/")).await;
    let logged = format!("select count(*) from changes where instr(ks, '{key}') > 0");
    eventually("the log is cut", PATIENCE * 2, async || match system.database.number(&logged).await {
        0 => Ok(()),
        rows => Err(format!("{key} is logged {rows} times")),
    })
    .await;
}

/// Stops a process in order. Behind the proxy it may end with an error.
async fn drain(process: &mut ServiceProcess) {
    process.terminate();
    process.ended(PATIENCE * 2).await;
}
