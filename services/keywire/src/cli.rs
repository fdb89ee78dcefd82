//! The commands of `keywire`. They are clients of a running server, except `check` and `token`.

mod bench;
mod client;
mod export;
mod get;
mod import;
mod ls;
mod progress;
mod put;
mod replacement;
mod token;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context as _;

use bench::BenchArgs;
use client::Failure;
use export::ExportArgs;
use get::GetArgs;
use import::ImportArgs;
use ls::LsArgs;
use put::{DelArgs, PutArgs};
use token::TokenArgs;

/// The end of the help of every client command.
const EXIT_CODES: &str = "Exit codes: 0 done, 1 not found, refused or not read, 64 usage, 69 service unavailable, 74 a file failed";

/// The end of the help of `put`: also how to change a value without losing a concurrent change.
const EXAMPLE: &str = r#"Examples:
  keywire put motd "Back at noon" --ttl 3600
  keywire put page - < page.html

  { read -r rev; value=$(cat); } < <(keywire get --rev count)
  keywire put count "$((value + 1))" --if-rev "$rev"

Exit codes: 0 done, 1 not found, refused or not read, 64 usage, 69 service unavailable, 74 a file failed"#;

/// A command to run instead of serving.
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

/// Runs a command. `default_admin_addr` is the admin address of the configuration.
pub(crate) fn execute(command: &Command, default_admin_addr: SocketAddr) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check { admin_addr } => {
            Ok(chassis::process::check::check(admin_addr.unwrap_or(default_admin_addr)))
        }
        Command::Put(args) => run(put::put(args)),
        Command::Get(args) => run(get::get(args)),
        Command::Del(args) => run(put::del(args)),
        Command::Ls(args) => run(ls::ls(args)),
        Command::Export(args) => run(export::export(args)),
        Command::Import(args) => run(import::import(args)),
        Command::Token(args) => Ok(client::finish(token::token(args))),
        Command::Bench(args) => Ok(bench::bench(args)),
    }
}

/// Runs a client command in a runtime of one thread, and returns its exit code.
fn run(command: impl Future<Output = Result<(), Failure>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(client::finish(runtime.context("cannot start the runtime")?.block_on(command)))
}
