//! The configuration of `keywire`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chassis::config::path::{database_url, file_path};
use chassis::config::{PublicArgs, socket_address};
use db::Store;
use rest_read::config::ReadArgs;
use ws_ingest::config::WriteArgs;

use crate::cli::Command;

/// Keywire in one process: writes over WebSocket, reads over HTTP, data in an `SQLite` file. All commands except `check`, `migrate`
/// and `token` are clients of a running server.
#[derive(Debug, clap::Parser)]
#[command(name = "keywire", version)]
pub(crate) struct Config {
    /// Command to run instead of serving
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Address of the WebSocket and the HTTP interface
    #[arg(long, env, value_parser = socket_address, default_value = "127.0.0.1:8000")]
    pub(crate) listen_addr: SocketAddr,

    /// Address of /livez, /readyz and /metrics
    #[arg(long, env, value_parser = socket_address, default_value = "127.0.0.1:9000")]
    pub(crate) admin_addr: SocketAddr,

    /// Database, as `sqlite://path` or `mysql://user@host:3306/schema`; its schema is migrated at the start
    #[arg(long, env, value_parser = database_url, default_value = "sqlite://data/keywire.db")]
    pub(crate) database_url: String,

    /// File that holds the database password
    #[arg(long, env, value_parser = file_path())]
    pub(crate) database_password_file: Option<PathBuf>,

    /// Use a database that may lose acknowledged writes
    #[arg(long, env, value_parser = clap::builder::BoolishValueParser::new(), num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) allow_unsafe_durability: bool,

    #[command(flatten)]
    pub(crate) write: WriteArgs,

    #[command(flatten)]
    pub(crate) read: ReadArgs,

    #[command(flatten)]
    pub(crate) public: PublicArgs,
}

/// What a command names instead of the database of the configuration.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DatabaseOverride<'a> {
    pub(crate) url: Option<&'a str>,
    pub(crate) password_file: Option<&'a Path>,
}

impl Config {
    /// The database, or the one that is `named`. The error is one line without the password.
    pub(crate) fn store(&self, named: DatabaseOverride<'_>) -> Result<Store, String> {
        let file = named.password_file.or(self.database_password_file.as_deref());
        let password = chassis::config::database_password(file)?;
        let url = named.url.unwrap_or(&self.database_url);
        Store::new(url, password.as_ref(), self.allow_unsafe_durability).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_command_is_not_the_value_of_the_flag_before_it() {
        for (args, allowed) in [
            (&["keywire", "--allow-unsafe-durability", "put", "k", "v"][..], true),
            (&["keywire", "--allow-unsafe-durability=false", "put", "k", "v"], false),
            (&["keywire", "put", "k", "v"], false),
        ] {
            let config = Config::try_parse_from(args).expect("a valid command line");
            assert!(matches!(config.command, Some(Command::Put(_))), "{args:?}");
            assert_eq!(config.allow_unsafe_durability, allowed, "{args:?}");
        }
    }

    #[test]
    fn an_import_of_lines_takes_no_option_of_an_import_from_a_table() {
        for option in [
            &["--dry-run"][..],
            &["--verify"],
            &["--if-absent"],
            &["--table", "t"],
            &["--key-column", "k"],
            &["--value-column", "v"],
            &["--from-password-file", "f"],
        ] {
            let parse =
                |args: &[&str]| Config::try_parse_from([&["keywire", "import"], option, args].concat());
            assert!(parse(&["--from", "dump.json"]).is_ok(), "{option:?}");
            for args in [&["lines.ndjson"][..], &["-"], &[], &["--from", "dump.json", "lines.ndjson"]] {
                assert!(parse(args).is_err(), "{option:?} {args:?}");
            }
        }
    }
}
