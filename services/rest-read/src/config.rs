//! The configuration of `rest-read`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chassis::config::path::{database_url, file_path};
use chassis::config::{PublicArgs, TIMEOUT_MS_MAX, socket_address};
use db::{BadUrl, KEY_BYTES_MAX, Store};

/// Bytes of replies that may be unwritten at the same time. See [`ReadLimits::backlog_bytes_max`].
const BACKLOG_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Streams end within this time after the beginning of the drain, or within a third of the drain if that is shorter.
const STREAMS_END_WITHIN: Duration = Duration::from_secs(5);

/// Read service of Keywire: answers gets, lists and exports over HTTP with the last committed values
#[derive(Debug, clap::Parser)]
#[command(name = "rest-read", version)]
pub struct Config {
    /// Command to run instead of serving
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Address of the HTTP interface
    #[arg(long, env, value_parser = socket_address, default_value = "127.0.0.1:8002")]
    pub listen_addr: SocketAddr,

    /// Address of /livez, /readyz and /metrics
    #[arg(long, env, value_parser = socket_address, default_value = "127.0.0.1:9002", global = true)]
    pub admin_addr: SocketAddr,

    /// Database, as `mysql://user@host:3306/schema` or `sqlite://path`
    #[arg(long, env, value_parser = database_url, default_value = "mysql://keywire_reader@127.0.0.1:3306/keywire")]
    pub database_url: String,

    /// File that holds the database password
    #[arg(long, env, value_parser = file_path())]
    pub database_password_file: Option<PathBuf>,

    /// Use a database that may lose acknowledged writes
    #[arg(long, env, value_parser = clap::builder::BoolishValueParser::new(), num_args = 0..=1,
        require_equals = true, default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub allow_unsafe_durability: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become the help of every flag in it")]
    pub read: ReadArgs,

    /// Time limit of a get, a list and the beginning of an export; when it is over, the reply is 503
    #[arg(long, env, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=TIMEOUT_MS_MAX))]
    pub op_timeout_ms: u64,

    /// The most bytes of a key
    #[arg(long, env, default_value_t = KEY_BYTES_MAX as u64, value_parser = clap::value_parser!(u64).range(1..=KEY_BYTES_MAX as u64))]
    pub key_bytes_max: u64,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become the help of every flag in it")]
    pub public: PublicArgs,
}

/// The options of the read side alone.
#[derive(Debug, Clone, clap::Args)]
pub struct ReadArgs {
    /// Number of database connections for gets
    #[arg(long, env, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub readers: u16,

    /// The most keys of one SELECT
    #[arg(long, env, default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=128))]
    pub lookup_keys_max: u16,

    /// The most keys waiting for a SELECT; further gets are answered 503. Gets of one key and gets of several keys are counted
    /// separately
    #[arg(long, env, default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub lookup_queue_max: u32,

    /// Number of database connections for lists; each is opened when it is needed
    #[arg(long, env, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub listers: u16,

    /// The most lists waiting for a connection. Tokens (without tokens: addresses) take turns. If too many wait, a token with at least
    /// two lists fewer than another one may still wait: the newest list of the one with the most is answered 503. Otherwise the new
    /// list is answered 503
    #[arg(long, env, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub list_queue_max: u32,

    /// The most exports at the same time, each with its own database connection. If all are in use, a token (without tokens: an
    /// address) with at least two exports fewer than another one may still begin: the newest export of the one with the most exports is
    /// ended. If none has two more, one without an export may still begin: the oldest export whose client read less than 64 KiB/s for
    /// 10 s is ended. Otherwise the answer is 503
    #[arg(long, env, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub exports_max: u16,

    /// The most watches at the same time: streams of /watch and gets that wait for a change. Further ones are answered 503. Default: half of
    /// `CONNECTIONS_MAX`
    #[arg(long, env, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub watches_max: Option<u32>,

    /// The most streams of /watch that read a snapshot of the database at the same time, because they begin or are far behind, each with
    /// its own database connection; further ones wait. As many again may read that watch single keys
    #[arg(long, env, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub watch_snapshots: u16,

    /// Take the address of a client from the last entry of X-Forwarded-For. Set it only behind a gateway that appends this entry;
    /// otherwise a client can choose its address
    #[arg(long, env, value_parser = clap::builder::BoolishValueParser::new(), num_args = 0..=1,
        require_equals = true, default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub trust_forwarded_for: bool,
}

/// The limits of the read side.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// Connections for gets, each with at most one SELECT under way.
    pub readers: usize,
    /// Keys of one SELECT; at most 128.
    pub lookup_keys_max: usize,
    /// Keys waiting for a SELECT, for gets of one key and for gets of several keys alike; further gets are refused.
    pub lookup_queue_max: usize,
    /// Time to answer a get or a list, or to begin an export.
    pub op_timeout: Duration,
    /// Bytes of small replies that are not written to clients yet. Large replies have a second limit of the same size. Gets of one
    /// key, gets of several keys and pages of lists have both limits separately.
    pub backlog_bytes_max: usize,
    /// Bytes of a key.
    pub key_bytes_max: usize,
    /// Connections for lists, each with at most one page under way.
    pub listers: usize,
    /// Lists waiting for a connection, shared fairly; further lists are refused.
    pub list_queue_max: usize,
    /// Exports at the same time, shared fairly; further exports are refused.
    pub exports_max: usize,
    /// Whether the address of a client is the last entry of `X-Forwarded-For`.
    pub trust_forwarded_for: bool,
    /// Streams and long polls at the same time; further ones are refused.
    pub watches_max: usize,
    /// Streams that read a snapshot of their own at the same time, because they begin or are far behind; further ones wait.
    pub watch_snapshots: usize,
    /// Streams end within this time after the beginning of the drain.
    pub watch_end_within: Duration,
}

/// A command to run instead of serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
pub enum Command {
    /// Check whether a running rest-read on this machine is ready
    Check,
    /// Print the `OpenAPI` specification
    Openapi,
}

impl Config {
    /// The store that this configuration names.
    ///
    /// # Errors
    /// One line that says what is wrong, without the password.
    pub fn store(&self) -> Result<Store, String> {
        let password = chassis::config::database_password(self.database_password_file.as_deref())?;
        Store::new(&self.database_url, password.as_ref(), self.allow_unsafe_durability)
            .map_err(|e: BadUrl| e.to_string())
    }

    /// The limits of the read side of a process that may have `connections_max` connections.
    #[must_use]
    pub fn limits(&self, connections_max: usize) -> ReadLimits {
        self.read.limits(
            self.op_timeout_ms,
            self.key_bytes_max,
            connections_max,
            self.public.drain_timeout_ms,
        )
    }
}

impl ReadArgs {
    /// The most connections to the database: one for each reader, lister and export, one that follows the changes, and one for each
    /// stream that reads a snapshot of its own, twice: those that watch single keys are limited by themselves.
    #[must_use]
    pub fn database_connections(&self) -> usize {
        let Self { readers, listers, exports_max, watch_snapshots, .. } = *self;
        let single = [readers, listers, exports_max, watch_snapshots, watch_snapshots];
        single.into_iter().map(usize::from).sum::<usize>() + 1
    }

    /// The limits of the read side, given those that it shares with the write side, and those of the port.
    ///
    /// # Panics
    /// If a limit exceeds `usize`, which the command line does not let through.
    #[must_use]
    pub fn limits(
        &self,
        op_timeout_ms: u64,
        key_bytes_max: u64,
        connections_max: usize,
        drain_timeout_ms: u64,
    ) -> ReadLimits {
        let size =
            |limit: u64| usize::try_from(limit).expect("the command line checks the range of every limit");
        ReadLimits {
            readers: usize::from(self.readers),
            lookup_keys_max: usize::from(self.lookup_keys_max),
            lookup_queue_max: size(self.lookup_queue_max.into()),
            op_timeout: Duration::from_millis(op_timeout_ms),
            backlog_bytes_max: BACKLOG_BYTES_MAX,
            key_bytes_max: size(key_bytes_max),
            listers: usize::from(self.listers),
            list_queue_max: size(self.list_queue_max.into()),
            exports_max: usize::from(self.exports_max),
            trust_forwarded_for: self.trust_forwarded_for,
            watches_max: self.watches_max.map_or((connections_max / 2).max(1), |max| size(max.into())),
            watch_snapshots: usize::from(self.watch_snapshots),
            // The connections have three quarters of the drain to finish.
            watch_end_within: Duration::from_millis(drain_timeout_ms / 3).min(STREAMS_END_WITHIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_command_is_not_the_value_of_the_flag_before_it() {
        let parsed = |args: &[&str]| {
            let config = Config::try_parse_from([&["rest-read"], args].concat()).expect("valid arguments");
            (config.allow_unsafe_durability, config.command)
        };
        assert_eq!(parsed(&["--allow-unsafe-durability", "check"]), (true, Some(Command::Check)));
        assert_eq!(parsed(&["--allow-unsafe-durability=false", "check"]), (false, Some(Command::Check)));
        assert_eq!(parsed(&[]), (false, None));
    }
}
