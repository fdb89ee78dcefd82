//! Instructions of an operation, counted by callgrind. Other load on the machine does not change the count.
//!
//! A service runs under callgrind twice, for few and for many operations. The difference of the two counts, over the
//! difference of the operations, is the cost of one operation, without the start and the end of the process. The database is
//! `SQLite`: its statements run inside the service and are counted too.
//!
//! The cost depends on how many operations share a transaction, a SELECT, a read of a socket and a wake-up of a thread. Therefore
//! the load is a closed loop that keeps the service busy, so that chance decides as little as possible. On a busy machine, two counts of
//! the same build still differ by up to one percent. The median of three counts differs less: a build beside itself gave x 1.001.

use e2e::{Build, Database, EngineKind, Role, ServiceProcess, program_path};

use super::ComparePlan;
use super::table::{Compared, Unit};
use crate::ours::BenchLoad;

/// How often each operation is counted on both builds.
const REPEATS: usize = 3;

/// The number of distinct keys: few, because they are set in a database of each build.
const KEYS: u64 = 10_000;

/// The settings of a service. Threads take turns under valgrind anyway, and several readers would share the gets in another way
/// each time.
const SETTINGS: [(&str, &str); 2] = [("TOKIO_WORKER_THREADS", "1"), ("READERS", "1")];

/// Two sockets with as many writes in flight as a socket may have: batches are always full, and messages arrive in large parts.
const SETS: BenchLoad = BenchLoad { keys: KEYS, ..BenchLoad::sets(2, 1024) };
const GETS: BenchLoad = BenchLoad { keys: KEYS, ..BenchLoad::gets(64) };

/// An operation, and the service that carries it out.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    service: &'static str,
    role: Role,
    load: BenchLoad,
    /// The numbers of operations in the short and in the long run.
    counts: [u64; 2],
}

/// The operations that are counted.
pub(crate) const OPERATIONS: [Operation; 2] = [
    Operation {
        name: "SQLite: instructions of a pipelined set, ws-ingest",
        service: "ws-ingest",
        role: Role::Writer,
        load: SETS,
        counts: [10_000, 40_000],
    },
    Operation {
        name: "SQLite: instructions of a get, rest-read",
        service: "rest-read",
        role: Role::Reader,
        load: GETS,
        counts: [5_000, 20_000],
    },
];

/// Whether this machine can count instructions. The error says what is missing.
pub(crate) fn possible() -> Result<(), String> {
    program_path("valgrind").map(drop).ok_or_else(|| "valgrind is not installed".into())
}

/// Counts the instructions of the requested operations.
pub(crate) async fn measure(builds: [&Build; 2], plan: &ComparePlan) -> Vec<Compared> {
    let mut all = Vec::new();
    for operation in OPERATIONS.iter().filter(|operation| plan.wants(operation.name)) {
        all.push(operation.compare(builds).await);
    }
    all
}

impl Operation {
    async fn compare(&self, [old, new]: [&Build; 2]) -> Compared {
        let databases = [filled(old).await, filled(new).await];
        let mut compared = Compared::new(self.name.into(), Unit::Instructions);
        for _ in 0..REPEATS {
            let values = [self.instructions(&databases[0]).await, self.instructions(&databases[1]).await];
            compared.add(values);
        }
        compared
    }

    /// The cost of one operation, in instructions.
    async fn instructions(&self, database: &Database) -> f64 {
        let [few, many] = self.counts;
        let (short, long) = (self.count(database, few).await, self.count(database, many).await);
        let one = long.checked_sub(short).expect("more operations take more instructions") / (many - few);
        f64::from(u32::try_from(one).expect("an operation takes less than a second"))
    }

    /// Instructions of a whole run of `operations`, on a copy of the database `filled`.
    async fn count(&self, filled: &Database, operations: u64) -> u64 {
        let database = filled.copied();
        let file = database.folder().join("callgrind.out");
        let valgrind = program_path("valgrind").expect("it was there before");
        // Threads take turns under valgrind. Fair turns make runs more similar.
        let runner = vec![
            valgrind.display().to_string(),
            "--tool=callgrind".into(),
            "--fair-sched=yes".into(),
            format!("--callgrind-out-file={}", file.display()),
        ];
        let mut env = database.env(self.role);
        env.extend(SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let mut service = ServiceProcess::of(&database.build.run_by(runner), self.service, &env);
        service.ready().await;
        self.load.run_count(service.public, operations);
        service.stop().await;
        let text = std::fs::read_to_string(&file).expect("callgrind has written its counts");
        let total = text.lines().find_map(|line| line.strip_prefix("totals:"));
        // A signal ends the run here: the load itself cannot be interrupted.
        tokio::task::yield_now().await;
        total.and_then(|total| total.trim().parse().ok()).expect("callgrind tells a total")
    }
}

/// A database of `build` in which nearly every key is set. No service uses it.
async fn filled(build: &Build) -> Database {
    let database = Database::planned(EngineKind::Sqlite, None).used_by(build);
    database.migrate();
    let mut writer = ServiceProcess::of(build, "ws-ingest", &database.env(Role::Writer));
    writer.ready().await;
    SETS.run_count(writer.public, 4 * KEYS);
    writer.stop().await;
    database
}
