//! What fails: services are killed and drained, the database is killed, and a proxy loses answers.

use std::net::SocketAddr;
use std::sync::Arc;

use e2e::{DatabaseServer, EngineKind, PATIENCE, Proxy, Role, ServiceProcess, System};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;

use super::{SETTINGS, World, locked};

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
    pub(super) async fn next(&mut self, system: &System) {
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
                .chain(self.server.is_some().then_some(Fault::KillDatabase))
                .collect();
            self.left.shuffle(&mut self.choices);
            self.rounds += 1;
        }
        let fault = self.left.pop().expect("there are several");
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
        }
        match fault {
            Fault::KillWriter(place) | Fault::DrainWriter(place) => {
                self.writers[place] = self.start(system, Role::Writer, place).await;
            }
            Fault::KillReader(place) | Fault::DrainReader(place) => {
                self.readers[place] = self.start(system, Role::Reader, place).await;
            }
            Fault::KillDatabase => {}
        }
        self.tell(system);
        self.count += 1;
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

/// Stops a process in order. Behind the proxy it may end with an error.
async fn drain(process: &mut ServiceProcess) {
    process.terminate();
    process.ended(PATIENCE * 2).await;
}
