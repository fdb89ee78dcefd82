//! The options of `keywire bench`.

use std::num::{NonZeroU64, NonZeroUsize};

use crate::cli::client::TargetArgs;

/// Options of `bench`.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) targets: TargetArgs,

    /// Number of clients; each has a WebSocket for writes and an HTTP connection for reads
    #[arg(short, long, default_value = "32", value_parser = at_most::<65_536>)]
    pub(crate) clients: NonZeroUsize,

    /// Operations in flight per client, 1 to 1024: the server takes no more from one socket
    #[arg(short, long, default_value = "1", value_parser = at_most::<1024>)]
    pub(crate) pipeline: NonZeroUsize,

    /// Share of reads, in percent
    #[arg(short, long, default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) reads: u8,

    /// Number of distinct keys
    #[arg(short, long, default_value = "10000")]
    pub(crate) keys: NonZeroU64,

    /// Distribution of the keys
    #[arg(short, long, value_enum, default_value_t = Distribution::Uniform)]
    pub(crate) distribution: Distribution,

    /// Prefix of the keys; each key is this prefix and a number
    #[arg(long, default_value = "bench:")]
    pub(crate) key_prefix: String,

    /// Size of a value in bytes
    #[arg(short, long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    pub(crate) value_bytes: u32,

    /// Send an id with each write, so that the reply shows the rev
    #[arg(long)]
    pub(crate) ids: bool,

    /// Seconds until each written entry expires; default: never
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=3_153_600_000))]
    pub(crate) ttl: Option<u64>,

    /// Seconds to measure
    #[arg(short, long, default_value_t = 10.0, value_parser = seconds)]
    pub(crate) seconds: f64,

    /// Number of operations to measure, instead of a time
    #[arg(short = 'n', long, conflicts_with = "seconds")]
    pub(crate) count: Option<NonZeroU64>,

    /// Operations that fall due per second, of all clients together; default: as fast as replies come
    #[arg(long)]
    pub(crate) rate: Option<NonZeroU64>,

    /// Use the keys of an earlier run with --keep: neither write all keys before the measurement nor delete them after it
    #[arg(long)]
    pub(crate) no_fill: bool,

    /// Leave the keys on the server
    #[arg(long)]
    pub(crate) keep: bool,

    /// Threads of the load generator
    #[arg(long, default_value = "1", value_parser = at_most::<1024>)]
    pub(crate) threads: NonZeroUsize,

    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl BenchArgs {
    /// Whether the keys are left on the server.
    pub(super) fn leaves_keys(&self) -> bool {
        self.keep || self.no_fill
    }
}

/// How often each key is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Distribution {
    /// Every key equally often
    Uniform,
    /// Few keys very often: Zipf's law with exponent 0.99
    Zipf,
}

fn at_most<const MAX: usize>(text: &str) -> Result<NonZeroUsize, String> {
    let number: NonZeroUsize = text.parse().map_err(|e| format!("{e}"))?;
    if number.get() > MAX { Err(format!("must be at most {MAX}")) } else { Ok(number) }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|e| format!("{e}"))?;
    if (0.1..=86_400.0).contains(&seconds) { Ok(seconds) } else { Err("must be from 0.1 to 86400".into()) }
}
