//! Instructions of an operation, counted by callgrind, which no other load on the machine disturbs.
//!
//! A service runs under callgrind twice, for few and for many operations. The difference of the two counts, over the
//! difference of the operations, is what one operation takes: the start and the end of the process drop out. The database is
//! `SQLite`: its statements run inside the service and are counted too.
//!
//! What an operation takes depends on how many share a transaction, a SELECT, a read of a socket, a wake-up of a thread. So the
//! load is a closed loop that keeps the service busy, with as little left to chance as possible. Even so, on a busy machine the
//! counts of one build lie up to one percent apart. The median of three is nearer: a build beside itself gave x 1.001.

use e2e::{Build, Database, Engine, Process, Role, program_path};

use super::Plan;
use super::table::{Compared, Goal};
use crate::ours::Load;

/// How often each operation is counted on both builds.
const REPEATS: usize = 3;

/// Distinct keys: few, because each build gets them set in a database of its own.
const KEYS: u64 = 10_000;

/// What a service is told, beside where the database is. Threads take turns under valgrind anyway, and several readers divide
/// gets among themselves in another way each time.
const SETTINGS: [(&str, &str); 2] = [("TOKIO_WORKER_THREADS", "1"), ("READERS", "1")];

/// Two sockets with as much under way as a socket may have: batches are always full, and messages come in large parts.
const SETS: Load = Load { keys: KEYS, ..Load::sets(2, 1024) };
const GETS: Load = Load { keys: KEYS, ..Load::gets(64) };

/// An operation and the service that does it.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    service: &'static str,
    role: Role,
    load: Load,
    /// How many in the short and in the long run.
    counts: [u64; 2],
}

/// What is counted.
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

/// Whether instructions can be counted here; `Err` says what is missing.
pub(crate) fn possible() -> Result<(), String> {
    program_path("valgrind").map(drop).ok_or_else(|| "valgrind is not installed".into())
}

/// Counts the instructions that are asked for.
pub(crate) async fn measure(builds: [&Build; 2], plan: &Plan) -> Vec<Compared> {
    let mut all = Vec::new();
    for operation in OPERATIONS.iter().filter(|operation| plan.wants(operation.name)) {
        all.push(operation.compare(builds).await);
    }
    all
}

impl Operation {
    async fn compare(&self, [old, new]: [&Build; 2]) -> Compared {
        let databases = [filled(old).await, filled(new).await];
        let mut compared = Compared::new(self.name.into(), Goal::Instructions);
        for _ in 0..REPEATS {
            let values = [self.instructions(&databases[0]).await, self.instructions(&databases[1]).await];
            compared.add(values);
        }
        compared
    }

    /// What one operation takes.
    async fn instructions(&self, database: &Database) -> f64 {
        let [few, many] = self.counts;
        let (short, long) = (self.count(database, few).await, self.count(database, many).await);
        let one = long.checked_sub(short).expect("more operations take more instructions") / (many - few);
        f64::from(u32::try_from(one).expect("an operation takes less than a second"))
    }

    /// Instructions of a whole run with `operations`, which begins with the data of `filled`.
    async fn count(&self, filled: &Database, operations: u64) -> u64 {
        let database = filled.copied();
        let file = database.folder().join("callgrind.out");
        let valgrind = program_path("valgrind").expect("it was there before");
        // Threads take turns under valgrind; fair turns make runs more alike.
        let runner = vec![
            valgrind.display().to_string(),
            "--tool=callgrind".into(),
            "--fair-sched=yes".into(),
            format!("--callgrind-out-file={}", file.display()),
        ];
        let mut env = database.env(self.role);
        env.extend(SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let mut service = Process::of(&database.build.run_by(runner), self.service, &env);
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
    let database = Database::planned(Engine::Sqlite, None).used_by(build);
    database.migrate();
    let mut writer = Process::of(build, "ws-ingest", &database.env(Role::Writer));
    writer.ready().await;
    SETS.run_count(writer.public, 4 * KEYS);
    writer.stop().await;
    database
}
