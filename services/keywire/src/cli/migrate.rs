//! `keywire migrate`: brings the schema up to date, without serving.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use chassis::config::path::{database_url, file_path};
use chassis::config::usage_error;
use chassis::process::block_on;
use db::DatabaseUsers;

use crate::config::{Config, DatabaseOverride};

/// What to migrate.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct MigrateArgs {
    /// For the end of a restore from a backup, while no service runs: gives the store a new id, so that every watch from before the
    /// restore begins with a new snapshot
    #[arg(long)]
    restored: bool,

    /// Database; default: `DATABASE_URL`, or `sqlite://data/keywire.db`
    #[arg(long, value_name = "DATABASE_URL", value_parser = database_url)]
    database_url: Option<String>,

    /// File that holds the database password; default: `DATABASE_PASSWORD_FILE`
    #[arg(long, value_name = "DATABASE_PASSWORD_FILE", value_parser = file_path())]
    database_password_file: Option<std::path::PathBuf>,
}

/// Migrates the database of `args`, or of `config`.
pub(super) fn migrate(args: &MigrateArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let named = DatabaseOverride {
        url: args.database_url.as_deref(),
        password_file: args.database_password_file.as_deref(),
    };
    let store = match config.store(named) {
        Ok(store) => store,
        Err(message) => return Ok(usage_error(message)),
    };
    let migrated = block_on(ws_ingest::migrate(&store, &DatabaseUsers::default(), args.restored));
    let done = migrated.context("cannot start the runtime")?.context("cannot migrate")?;
    writeln!(std::io::stdout(), "{done}").context("cannot write to stdout")?;
    Ok(ExitCode::SUCCESS)
}
