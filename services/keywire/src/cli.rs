//! The commands of `keywire`. They are clients of a running server, except `check`, `migrate` and `token`.

mod bench;
mod client;
mod count;
mod del;
mod delivery;
mod export;
mod get;
mod import;
mod listing;
mod ls;
mod migrate;
mod progress;
mod put;
mod replacement;
mod shown;
mod token;
mod watch;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context as _;
use chassis::config::socket_address;

use crate::config::Config;

use bench::BenchArgs;
use client::Failure;
use count::CountArgs;
use del::DelArgs;
use export::ExportArgs;
use get::GetArgs;
use import::ImportArgs;
use ls::LsArgs;
use migrate::MigrateArgs;
use put::PutArgs;
use token::TokenArgs;
use watch::WatchArgs;

/// The exit codes of the client commands, as their help lists them.
macro_rules! exit_codes {
    () => {
        "Exit codes: 0 done, 1 not found, refused or stdout closed, 64 wrong usage,\n69 service unavailable, 74 file error"
    };
}

/// The end of the help of `put`. It also shows how to change a value without losing a concurrent change.
const EXAMPLES: &str = concat!(
    r#"Examples:
  keywire put motd "Back at noon" --ttl 3600
  keywire put page - < page.html

  { read -r rev; value=$(cat); } < <(keywire get --rev count)
  keywire put count "$((value + 1))" --if-rev "$rev"

"#,
    exit_codes!()
);

/// The end of the help of `del`.
const DEL_EXAMPLES: &str = concat!(
    r#"Examples:
  keywire del hello
  keywire del --prefix session/ --dry-run    # how many keys that would be
  keywire del --prefix session/
  keywire del --all

"#,
    exit_codes!()
);

/// The end of the help of `watch`.
const WATCH_EXAMPLES: &str = concat!(
    r#"Examples:
  keywire watch --prefix user/
  keywire watch --no-snapshot config/a config/b
  keywire watch --once --json                # what is there, and a cursor

"#,
    exit_codes!()
);

/// A command to run instead of serving.
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum Command {
    /// Check whether a running keywire on this machine is ready
    Check {
        /// Admin address of the running keywire; default: `ADMIN_ADDR`, or 127.0.0.1:9000
        #[arg(long, value_name = "ADMIN_ADDR", value_parser = socket_address)]
        admin_addr: Option<SocketAddr>,
    },
    /// Bring the schema of the database up to date, without serving
    ///
    /// `keywire` does this at each start. The command is for the end of a restore: --restored.
    Migrate(MigrateArgs),
    /// Write a value
    ///
    /// Exit code 0 means that the write is committed and on disk.
    #[command(after_help = EXAMPLES, visible_alias = "set")]
    Put(PutArgs),
    /// Print the exact bytes of a value; on a terminal, followed by a line end
    #[command(after_help = exit_codes!())]
    Get(GetArgs),
    /// Delete a key, or all keys with a prefix
    ///
    /// With a KEY, the exit code is 1 if the key does not exist.
    ///
    /// With --prefix, keys are listed and deleted page by page. A key that somebody writes after it was listed is kept and
    /// counted. During an outage of the service the command waits, and then continues. After a minute without progress the
    /// command gives up. Ctrl-C ends the command; run it again to delete the rest.
    #[command(after_help = DEL_EXAMPLES, visible_aliases = ["delete", "rm"])]
    Del(DelArgs),
    /// List keys in byte order, one per line
    ///
    /// A key that contains control characters, or begins with a quote, is shown as a JSON string.
    #[command(after_help = exit_codes!(), visible_alias = "list")]
    Ls(LsArgs),
    /// Print what changes, one line for each event
    ///
    /// First comes a `put` for each key that is there, then `ready`, and from then on a `put` or a `delete` for each change. If a key
    /// changes often, states in between may be left out. `reset` means: forget what came before, all that is there follows.
    ///
    /// When the connection is lost, the command connects again until it succeeds, and misses nothing. With --json, `ready` and
    /// `progress` have an `id`; --after continues from it. Ctrl-C ends the command with exit code 0.
    #[command(after_help = WATCH_EXAMPLES)]
    Watch(WatchArgs),
    /// Print the number of keys
    ///
    /// Keys are counted page by page. A key that is written or deleted during the count may be counted or not.
    #[command(after_help = exit_codes!())]
    Count(CountArgs),
    /// Write all entries of one instant to a file
    ///
    /// Each line is a write message for one entry, with its expiry if it has one. If the export breaks off, the exit code is
    /// 69 and no new file is left. The service ends an export when the client reads nothing for 10 s.
    #[command(after_help = exit_codes!())]
    Export(ExportArgs),
    /// Write the entries of an export, or of another program's table
    ///
    /// Lines are written in order. After an interruption, import the file again: the result is the same. A refused line is
    /// reported with its number, the import continues, and the exit code is 1. Entries that have expired are skipped.
    ///
    /// With --from, the rows of a table come instead of lines, such as that of key-value-django. A refused row is reported with its
    /// key.
    ///
    /// During an outage of the service the import waits, and then continues. After a minute without progress it gives up.
    #[command(after_help = exit_codes!())]
    Import(ImportArgs),
    /// Make an access token for a client and print it
    ///
    /// The file stores the grants and a hash. The token is shown only once. The services read the file (`TOKENS_FILE`) when
    /// they start.
    #[command(after_help = exit_codes!())]
    Token(TokenArgs),
    /// Put load on a running server and measure its throughput and latency
    ///
    /// By default every client waits for a reply before its next operation (a closed loop). With --rate, operations fall due
    /// at a steady rate whether or not replies come, and latency counts from the moment when an operation fell due.
    ///
    /// The run writes keys that begin with `bench:` (--key-prefix), and deletes them when it ends, unless --keep is given. Ctrl-C
    /// ends the run early and prints what was measured until then.
    Bench(Box<BenchArgs>),
}

/// Runs a command. `config` has the admin address and the database, unless the command names others.
pub(crate) fn execute(command: &Command, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check { admin_addr } => {
            Ok(chassis::process::check::check(admin_addr.unwrap_or(config.admin_addr)))
        }
        Command::Migrate(args) => migrate::migrate(args, config),
        Command::Put(args) => run(put::put(args)),
        Command::Get(args) => run(get::get(args)),
        Command::Del(args) => run(del::del(args)),
        Command::Ls(args) => run(ls::ls(args)),
        Command::Watch(args) => run(watch::watch(args)),
        Command::Count(args) => run(count::count(args)),
        Command::Export(args) => run(export::export(args)),
        Command::Import(args) => run(import::import(args)),
        Command::Token(args) => Ok(client::finish(token::token(args))),
        Command::Bench(args) => Ok(bench::bench(args)),
    }
}

/// Runs a client command in a runtime of one thread, and returns its exit code.
fn run(command: impl Future<Output = Result<(), Failure>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let done = runtime.block_on(command);
    // Nobody may read stdout any more, and a thread that prints must not hold up the end.
    runtime.shutdown_background();
    Ok(client::finish(done))
}
