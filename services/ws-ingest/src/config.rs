//! The configuration of `ws-ingest`.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use chassis::config::path::{database_url, file_path, plain_text};
use chassis::config::{PublicArgs, TIMEOUT_MS_MAX, socket_address};
use db::{BadUrl, KEY_BYTES_MAX, Store, SweepConfig, VALUE_BYTES_MAX, WriterConfig};

use crate::protocol::MessageLimits;

/// The most bytes of keys and values in one transaction.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A week, in seconds.
const CHANGES_RETENTION_S_MAX: u64 = 7 * 24 * 60 * 60;

/// The smallest limit of the log of changes, in bytes: several batches of the longest keys.
const CHANGES_BYTES_MIN: u64 = 1 << 20;

/// Write service of Keywire: receives writes over the WebSocket at /ws/storage/ and replies when they are durable
#[derive(Debug, clap::Parser)]
#[command(name = "ws-ingest", version)]
pub struct Config {
    /// Command to run instead of serving
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Address of the WebSocket
    #[arg(long, env, value_parser = socket_address, default_value = "127.0.0.1:8001")]
    pub listen_addr: SocketAddr,

    /// Address of /livez, /readyz and /metrics
    #[arg(long, env, value_parser = socket_address, default_value = "127.0.0.1:9001", global = true)]
    pub admin_addr: SocketAddr,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become the help of every flag in it")]
    pub database: DatabaseArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become the help of every flag in it")]
    pub write: WriteArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become the help of every flag in it")]
    pub public: PublicArgs,
}

/// The database and how to log in. The same for serving and migrating.
#[derive(Debug, Clone, clap::Args)]
pub struct DatabaseArgs {
    /// Database, as `mysql://user@host:3306/schema` or `sqlite://path`
    #[arg(long, env, value_parser = database_url, default_value = "mysql://keywire_writer@127.0.0.1:3306/keywire", global = true)]
    pub database_url: String,

    /// File that holds the database password
    #[arg(long, env, value_parser = file_path(), global = true)]
    pub database_password_file: Option<PathBuf>,

    /// Use a database that may lose acknowledged writes
    #[arg(long, env, value_parser = clap::builder::BoolishValueParser::new(), num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set, global = true)]
    pub allow_unsafe_durability: bool,
}

/// Limits of the write side.
#[derive(Debug, Clone, clap::Args)]
pub struct WriteArgs {
    /// Number of lanes: a lane is a queue of writes with a database connection of its own
    #[arg(long, env, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub lanes: u16,

    /// The most ops of one transaction; an atomic write with more is a transaction by itself
    #[arg(long, env, default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch_ops_max: u16,

    /// The most writes in the queue of one lane, for each of the two priorities; while it is full, the sockets that write to it
    /// are not read
    #[arg(long, env, default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub queue_ops_max: u32,

    /// The most bytes of keys and values that wait in this process. Each lane, and the lane of atomic writes, has an equal share. Only
    /// a single write that is larger than the share may exceed it
    #[arg(long, env, default_value_t = 256 * 1024 * 1024, value_parser = clap::value_parser!(u32).range(8_388_608..=2_147_483_647))]
    pub queue_bytes_max: u32,

    /// Time limit of a write (in `keywire` also of a get, a list and the beginning of an export); when it is over, the reply is
    /// 503, or 504 if a write may be applied
    #[arg(long, env, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=TIMEOUT_MS_MAX))]
    pub op_timeout_ms: u64,

    /// Time between two sweeps, which remove old rows of the log of changes and, where changes are not logged, entries that expired
    /// or were deleted more than 10 minutes ago
    #[arg(long, env, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=TIMEOUT_MS_MAX))]
    pub sweep_interval_ms: u64,

    /// Time for which the log of changes keeps the keys of each write, in seconds: a watch can be resumed for this long. 0: nothing is
    /// logged, and nobody can watch. The same for all writers of a database
    #[arg(long, env, default_value_t = 3600, value_parser = clap::value_parser!(u64).range(0..=CHANGES_RETENTION_S_MAX))]
    pub changes_retention_s: u64,

    /// The most bytes of the log of changes. The oldest part of a larger log is removed early, and watches that need it begin with a new
    /// snapshot
    #[arg(long, env, default_value_t = 4 << 30, value_parser = clap::value_parser!(u64).range(CHANGES_BYTES_MIN..))]
    pub changes_bytes_max: u64,

    /// The most bytes of a key
    #[arg(long, env, default_value_t = KEY_BYTES_MAX as u64, value_parser = clap::value_parser!(u64).range(1..=KEY_BYTES_MAX as u64))]
    pub key_bytes_max: u64,

    /// The most bytes of a value
    #[arg(long, env, default_value_t = VALUE_BYTES_MAX as u64, value_parser = clap::value_parser!(u64).range(0..=VALUE_BYTES_MAX as u64))]
    pub value_bytes_max: u64,
}

/// A command other than serving.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// Bring the schema up to date and grant the database users of the services their rights
    Migrate {
        /// Database user of ws-ingest; without it nothing is granted to this user
        #[arg(long, env, value_parser = plain_text)]
        writer_user: Option<String>,
        /// Database user of rest-read; without it nothing is granted to this user
        #[arg(long, env, value_parser = plain_text)]
        reader_user: Option<String>,
        /// For the end of a restore from a backup, while no service runs: gives the store a new id, so that every watch from before the
        /// restore begins with a new snapshot
        #[arg(long)]
        restored: bool,
    },
    /// Check whether a running ws-ingest on this machine is ready
    Check,
}

impl DatabaseArgs {
    /// The store at this URL, with the password from the file.
    ///
    /// # Errors
    /// One line that says what is wrong. It does not contain the password.
    pub fn store(&self) -> Result<Store, String> {
        let password = chassis::config::database_password(self.database_password_file.as_deref())?;
        Store::new(&self.database_url, password.as_ref(), self.allow_unsafe_durability)
            .map_err(|e: BadUrl| e.to_string())
    }
}

impl WriteArgs {
    /// The most connections to the database: one for each lane, for atomic writes and for the sweeper.
    #[must_use]
    pub fn database_connections(&self) -> usize {
        usize::from(self.lanes) + 2
    }

    /// The limits of one message.
    ///
    /// # Panics
    /// If a limit is larger than the command line allows.
    #[must_use]
    pub fn message(&self) -> MessageLimits {
        let bytes = |limit: u64| usize::try_from(limit).expect("a limit was checked when it was read");
        MessageLimits {
            key_bytes_max: bytes(self.key_bytes_max),
            value_bytes_max: bytes(self.value_bytes_max),
        }
    }

    /// What the sweeper does.
    #[must_use]
    pub fn sweeper(&self) -> SweepConfig {
        SweepConfig {
            every: Duration::from_millis(self.sweep_interval_ms),
            retention: Duration::from_secs(self.changes_retention_s),
            changes_bytes_max: self.changes_bytes_max,
        }
    }

    /// The limits of the lanes.
    ///
    /// # Panics
    /// If a number is 0. The command line does not allow it.
    #[must_use]
    pub fn writer(&self) -> WriterConfig {
        WriterConfig {
            lanes: one_or_more(self.lanes.into()),
            batch_ops_max: one_or_more(self.batch_ops_max.into()),
            batch_bytes_max: BATCH_BYTES_MAX,
            queue_ops_max: one_or_more(self.queue_ops_max),
            queue_bytes_max: self.queue_bytes_max,
            logs_changes: self.changes_retention_s > 0,
            op_timeout: Duration::from_millis(self.op_timeout_ms),
        }
    }
}

fn one_or_more(number: u32) -> NonZeroUsize {
    let number = usize::try_from(number).expect("a usize has 32 bits at least");
    NonZeroUsize::new(number).expect("a number was checked when it was read")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_command_is_not_the_value_of_the_flag_before_it() {
        for (flag, is_allowed) in [
            ("--allow-unsafe-durability", true),
            ("--allow-unsafe-durability=yes", true),
            ("--allow-unsafe-durability=false", false),
        ] {
            let config = Config::try_parse_from(["ws-ingest", flag, "migrate"]).expect("it is valid");
            assert!(matches!(config.command, Some(Command::Migrate { .. })), "{flag}");
            assert_eq!(config.database.allow_unsafe_durability, is_allowed, "{flag}");
        }
    }

    #[test]
    #[should_panic(expected = "a number was checked when it was read")]
    fn no_number_of_the_write_side_is_zero() {
        one_or_more(0);
    }
}
