//! The options of `keywire bench`.

use std::num::{NonZeroU64, NonZeroUsize};

use crate::cli::client::TargetArgs;

/// Options of `bench`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) targets: TargetArgs,

    /// Clients; each has a socket to write and a connection to read
    #[arg(short, long, default_value = "32")]
    pub(crate) clients: NonZeroUsize,

    /// Operations each client has under way, 1 to 1024
    #[arg(short, long, default_value = "1", value_parser = pipeline)]
    pub(crate) pipeline: NonZeroUsize,

    /// Share of reads, in percent
    #[arg(short, long, default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) reads: u8,

    /// Distinct keys
    #[arg(short, long, default_value = "10000")]
    pub(crate) keys: NonZeroU64,

    /// How often each key is chosen
    #[arg(short, long, value_enum, default_value_t = Distribution::Uniform)]
    pub(crate) distribution: Distribution,

    /// What the keys begin with
    #[arg(long, default_value = "bench:")]
    pub(crate) key_prefix: String,

    /// Bytes of a value
    #[arg(short, long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    pub(crate) value_bytes: u32,

    /// Give each write an id, so that its answer tells the revision
    #[arg(long)]
    pub(crate) ids: bool,

    /// How long to measure
    #[arg(short, long, default_value_t = 10.0, value_parser = seconds)]
    pub(crate) seconds: f64,

    /// How many operations to measure, however long they take
    #[arg(short = 'n', long, conflicts_with = "seconds")]
    pub(crate) count: Option<NonZeroU64>,

    /// Operations that fall due per second, of all clients together; as fast as answers come if not given
    #[arg(long)]
    pub(crate) rate: Option<NonZeroU64>,

    /// Read without having written every key before
    #[arg(long)]
    pub(crate) no_fill: bool,

    /// Threads of the load generator
    #[arg(long, default_value = "1")]
    pub(crate) threads: NonZeroUsize,

    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How often each key is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Distribution {
    /// All alike
    Uniform,
    /// Few very often, by Zipf's law with exponent 0.99
    Zipf,
}

/// The server accepts at most 1024 operations in flight on one socket.
fn pipeline(text: &str) -> Result<NonZeroUsize, String> {
    let depth: NonZeroUsize = text.parse().map_err(|e| format!("{e}"))?;
    if depth.get() > 1024 { Err("1024 at most".into()) } else { Ok(depth) }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|e| format!("{e}"))?;
    if (0.1..=86_400.0).contains(&seconds) { Ok(seconds) } else { Err("0.1 to 86400".into()) }
}
