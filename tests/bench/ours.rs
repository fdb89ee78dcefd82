//! Loads on Keywire, made by `keywire bench`.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use e2e::{System, binary};
use serde_json::Value;

/// The number of distinct keys of every figure.
pub(crate) const KEYS: u64 = 100_000;

/// The load that `keywire bench` makes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BenchLoad {
    pub(crate) clients: usize,
    pub(crate) pipeline: usize,
    pub(crate) reads: bool,
    pub(crate) keys: u64,
    pub(crate) value_bytes: usize,
    pub(crate) rate: Option<u64>,
    /// Seconds until a written entry expires.
    pub(crate) ttl: Option<u64>,
    /// Every key is written before the keys are read.
    pub(crate) fill: bool,
}

/// The addresses for writes and for reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoadTarget {
    pub(crate) write: SocketAddr,
    pub(crate) read: SocketAddr,
}

impl From<&System> for LoadTarget {
    fn from(system: &System) -> Self {
        Self { write: system.ws(), read: system.http() }
    }
}

impl From<SocketAddr> for LoadTarget {
    fn from(both: SocketAddr) -> Self {
        Self { write: both, read: both }
    }
}

/// The results of a load.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    /// Latencies in milliseconds.
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

impl BenchLoad {
    pub(crate) const fn sets(clients: usize, pipeline: usize) -> Self {
        Self {
            clients,
            pipeline,
            reads: false,
            keys: KEYS,
            value_bytes: 100,
            rate: None,
            ttl: None,
            fill: false,
        }
    }

    pub(crate) const fn gets(clients: usize) -> Self {
        Self {
            clients,
            pipeline: 1,
            reads: true,
            keys: KEYS,
            value_bytes: 100,
            rate: None,
            ttl: None,
            fill: false,
        }
    }

    /// Puts the load on `at` for `seconds`.
    pub(crate) fn run(self, at: impl Into<LoadTarget>, seconds: f64) -> Measured {
        self.bench(at.into(), &["--seconds", &seconds.to_string()])
    }

    /// Does `count` operations, however long they take.
    pub(crate) fn run_count(self, at: impl Into<LoadTarget>, count: u64) -> Measured {
        self.bench(at.into(), &["--count", &count.to_string()])
    }

    fn bench(self, LoadTarget { write, read }: LoadTarget, more: &[&str]) -> Measured {
        let mut command = Command::new(binary("keywire"));
        // The keys stay for the loads without a fill.
        command.args(["bench", "--json", "--keep", "--url", &format!("http://{read}")]).args(more);
        command.args(["--write-url", &format!("http://{write}")]);
        if !self.fill {
            command.arg("--no-fill");
        }
        command.args(["--clients", &self.clients.to_string(), "--pipeline", &self.pipeline.to_string()]);
        command.args(["--reads", if self.reads { "100" } else { "0" }, "--keys", &self.keys.to_string()]);
        command.args(["--value-bytes", &self.value_bytes.to_string()]);
        if let Some(ttl) = self.ttl {
            command.args(["--ttl", &ttl.to_string()]);
        }
        if let Some(rate) = self.rate {
            command.args(["--rate", &rate.to_string()]);
        }
        let output = command.stdin(Stdio::null()).output().expect("keywire can be started");
        assert!(output.status.success(), "{self:?}: {}", String::from_utf8_lossy(&output.stderr));
        let result: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert!(
            result["refused"].as_object().is_some_and(serde_json::Map::is_empty),
            "{self:?}: some operations were refused: {}",
            result["refused"]
        );
        let kind = &result[if self.reads { "reads" } else { "writes" }];
        let number = |name: &str| kind[name].as_f64().expect("a number");
        Measured {
            per_second: number("per_second"),
            p50: number("p50_us") / 1000.0,
            p90: number("p90_us") / 1000.0,
            p99: number("p99_us") / 1000.0,
            p999: number("p99_9_us") / 1000.0,
        }
    }
}
