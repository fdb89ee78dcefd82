//! The configuration of `keywire`.

use std::net::SocketAddr;
use std::path::PathBuf;

use chassis::config::PublicArgs;
use rest_read::config::ReadArgs;
use ws_ingest::config::WriteArgs;

use crate::bench::BenchArgs;
use crate::export::ExportArgs;
use crate::get::GetArgs;
use crate::import::ImportArgs;
use crate::ls::LsArgs;
use crate::put::{DelArgs, PutArgs};
use crate::token::TokenArgs;

/// What the help of every command of the client ends with.
const EXIT_CODES: &str = "Exit codes: 0 done, 1 not found, refused or not read, 64 usage, 69 service unavailable, 74 a file failed";

/// How a value is changed without losing somebody else's change.
const EXAMPLE: &str = r#"Examples:
  keywire put motd "Back at noon" --ttl 3600
  keywire put page - < page.html

  { read -r rev; value=$(cat); } < <(keywire get --rev count)
  keywire put count "$((value + 1))" --if-rev "$rev"

Exit codes: 0 done, 1 not found, refused or not read, 64 usage, 69 service unavailable, 74 a file failed"#;

/// Keywire in one process: writes over the WebSocket, reads over HTTP, an `SQLite` file in between. The commands but
/// `check` are clients of any running pair.
#[derive(Debug, clap::Parser)]
#[command(name = "keywire", version)]
pub(crate) struct Config {
    /// What to do; serves if not given
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Address of the WebSocket and the HTTP interface
    #[arg(long, env, default_value = "127.0.0.1:8000")]
    pub(crate) listen_addr: SocketAddr,

    /// Address of /livez, /readyz and /metrics
    #[arg(long, env, default_value = "127.0.0.1:9000")]
    pub(crate) admin_addr: SocketAddr,

    /// Database, as `sqlite://path` or `mysql://user@host:3306/schema`; its schema is brought up to date
    #[arg(long, env, default_value = "sqlite://data/keywire.db")]
    pub(crate) database_url: String,

    /// File that holds the database password
    #[arg(long, env)]
    pub(crate) database_password_file: Option<PathBuf>,

    /// Use a database that may lose acknowledged writes
    #[arg(long, env, value_parser = clap::builder::BoolishValueParser::new(), num_args = 0..=1,
        default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) allow_unsafe_durability: bool,

    #[command(flatten)]
    pub(crate) write: WriteArgs,

    #[command(flatten)]
    pub(crate) read: ReadArgs,

    #[command(flatten)]
    pub(crate) public: PublicArgs,
}

/// What to do instead of serving.
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum Command {
    /// Asks a running keywire on this machine whether it is ready
    Check {
        /// Its admin address; `ADMIN_ADDR`, or 127.0.0.1:9000, if not given
        #[arg(long, value_name = "ADMIN_ADDR")]
        admin_addr: Option<SocketAddr>,
    },
    /// Writes a value
    ///
    /// Done means that it is committed and on disk.
    #[command(after_help = EXAMPLE)]
    Put(PutArgs),
    /// Prints a value, to the byte; on a terminal with a line end after it
    #[command(after_help = EXIT_CODES)]
    Get(GetArgs),
    /// Deletes a key; one that is not there is exit code 1
    #[command(after_help = EXIT_CODES)]
    Del(DelArgs),
    /// Lists keys, one a line, in the order of their bytes
    ///
    /// A key with control characters in it, or with a quote in front, is shown as a JSON string.
    #[command(after_help = EXIT_CODES)]
    Ls(LsArgs),
    /// Writes everything to a file, as it stood at one instant
    ///
    /// Each line is a message that writes one entry, with its expiry if it has one. An export that breaks off is exit
    /// code 69 and leaves no file. The service ends an export of which nothing is taken for 10 s.
    #[command(after_help = EXIT_CODES)]
    Export(ExportArgs),
    /// Writes what an export holds
    ///
    /// Lines are written in order; import again after an interruption and the end is the same. A line that is refused is
    /// reported with its number and the rest goes on; the exit code is 1 then. What has expired is skipped.
    ///
    /// While the service is away it waits and goes on where it was; after a minute without progress it gives up.
    #[command(after_help = EXIT_CODES)]
    Import(ImportArgs),
    /// Makes a token that lets a client in, and prints it
    ///
    /// What it grants stands in the file, for `TOKENS_FILE` of the services, which read it when they start; the token itself
    /// is nowhere but in what is printed.
    #[command(after_help = EXIT_CODES)]
    Token(TokenArgs),
    /// Puts load on a running pair and tells how fast it answers
    ///
    /// By default every client waits for an answer before it goes on (a closed loop). With --rate, operations fall due at
    /// a steady rate whether or not answers come, and latency counts from the moment each fell due.
    Bench(Box<BenchArgs>),
}
