//! The configuration of `rest-read`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chassis::config::PublicArgs;
use db::{BadUrl, KEY_BYTES_MAX, Store};

/// The most bytes of values in one answer.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Found values that may wait to be written before no more are fetched.
const BACKLOG_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Answers GET /storage/{key} with what was last committed.
#[derive(Debug, clap::Parser)]
#[command(name = "rest-read", version)]
pub struct Config {
    /// What to do; serves if not given
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Address of the HTTP interface
    #[arg(long, env, default_value = "127.0.0.1:8002")]
    pub listen_addr: SocketAddr,

    /// Address of /livez, /readyz and /metrics
    #[arg(long, env, default_value = "127.0.0.1:9002", global = true)]
    pub admin_addr: SocketAddr,

    /// Database, as `mysql://user@host:3306/schema` or `sqlite://path`
    #[arg(long, env, default_value = "mysql://keywire_reader@127.0.0.1:3306/keywire")]
    pub database_url: String,

    /// File that holds the database password
    #[arg(long, env)]
    pub database_password_file: Option<PathBuf>,

    /// Use a database that may lose acknowledged writes
    #[arg(long, env, value_parser = clap::builder::BoolishValueParser::new(), num_args = 0..=1,
        default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub allow_unsafe_durability: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become the help of every flag in it")]
    pub read: ReadArgs,

    /// Time after which a get is answered 503
    #[arg(long, env, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..))]
    pub op_timeout_ms: u64,

    /// The most bytes of a key
    #[arg(long, env, default_value_t = KEY_BYTES_MAX as u64, value_parser = clap::value_parser!(u64).range(1..=KEY_BYTES_MAX as u64))]
    pub key_bytes_max: u64,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become the help of every flag in it")]
    pub public: PublicArgs,
}

/// What only the read side has to know.
#[derive(Debug, Clone, clap::Args)]
pub struct ReadArgs {
    /// Database connections for reads
    #[arg(long, env, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub readers: u16,

    /// The most keys of one SELECT
    #[arg(long, env, default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=128))]
    pub lookup_keys_max: u16,

    /// The most keys that wait for a SELECT; more are answered 503
    #[arg(long, env, default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub lookup_queue_max: u32,

    /// Database connections for lists, opened when there are any
    #[arg(long, env, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub listers: u16,

    /// The most lists that wait for a connection; more are answered 503
    #[arg(long, env, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub list_queue_max: u32,

    /// The most exports at a time, each with a database connection of its own; more are answered 503
    #[arg(long, env, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub exports_max: u16,
}

/// The limits of the read side.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections, each with one SELECT under way at most.
    pub readers: usize,
    /// Keys of one SELECT; at most 128.
    pub select_keys_max: usize,
    /// Keys that wait for a SELECT; a get over it is refused.
    pub queue_keys_max: usize,
    /// Time from asking to answering.
    pub op_timeout: Duration,
    /// Bytes of answers that wait to be written to clients: of small ones, of large ones, and the same for pages of lists.
    pub backlog_bytes_max: usize,
    /// Bytes of a key.
    pub key_bytes_max: usize,
    /// Connections for lists, each with one page under way at most.
    pub listers: usize,
    /// Lists that wait for a connection; one over it is refused.
    pub queue_lists_max: usize,
    /// Exports at a time; one over it is refused.
    pub exports_max: usize,
}

/// What to do instead of serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
pub enum Command {
    /// Asks a running rest-read on this machine whether it is ready
    Check,
    /// Prints the `OpenAPI` specification
    Openapi,
}

impl Config {
    /// The store this configuration names.
    ///
    /// # Errors
    /// One line that says what is wrong, without the password.
    pub fn store(&self) -> Result<Store, String> {
        let password = chassis::config::database_password(self.database_password_file.as_deref())?;
        Store::new(&self.database_url, password.as_ref(), self.allow_unsafe_durability)
            .map_err(|e: BadUrl| e.to_string())
    }

    /// The limits of the read side.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.read.limits(self.op_timeout_ms, self.key_bytes_max)
    }
}

impl ReadArgs {
    /// The limits of the read side, given those it shares with the write side.
    ///
    /// # Panics
    /// If a limit is not one that the command line lets through.
    #[must_use]
    pub fn limits(&self, op_timeout_ms: u64, key_bytes_max: u64) -> Limits {
        let size = |limit: u64| usize::try_from(limit).expect("a limit was checked when it was read");
        Limits {
            readers: usize::from(self.readers),
            select_keys_max: usize::from(self.lookup_keys_max),
            queue_keys_max: size(self.lookup_queue_max.into()),
            op_timeout: Duration::from_millis(op_timeout_ms),
            backlog_bytes_max: BACKLOG_BYTES_MAX,
            key_bytes_max: size(key_bytes_max),
            listers: usize::from(self.listers),
            queue_lists_max: size(self.list_queue_max.into()),
            exports_max: usize::from(self.exports_max),
        }
    }
}
