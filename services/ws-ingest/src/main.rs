//! `ws-ingest`: reads its configuration, then serves, migrates the schema, or checks a running process.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use chassis::config::{parse, usage_error};
use chassis::process::{Process, block_on};
use db::{DatabaseUsers, Store};
use ws_ingest::Ingest;
use ws_ingest::config::{Command, Config};

fn main() -> ExitCode {
    run().unwrap_or_else(|error| chassis::process::stop::failure(format_args!("{error:#}")))
}

fn run() -> anyhow::Result<ExitCode> {
    let config = match parse::<Config>() {
        Ok(config) => config,
        Err(exit) => return Ok(exit),
    };
    if let Some(Command::Check) = config.command {
        return Ok(chassis::process::check::check(config.admin_addr));
    }
    let store = match config.database.store() {
        Ok(store) => store,
        Err(message) => return Ok(usage_error(message)),
    };
    match &config.command {
        Some(Command::Migrate { writer_user, reader_user, restored }) => {
            let named = |user: &Option<String>| user.clone().filter(|user| !user.is_empty());
            let users = DatabaseUsers { writer: named(writer_user), reader: named(reader_user) };
            let migrated = block_on(ws_ingest::migrate(&store, &users, *restored));
            let done = migrated.context("cannot start the runtime")?.context("cannot migrate")?;
            writeln!(std::io::stdout(), "{done}").context("cannot write to stdout")?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Check) | None => block_on(serve(&config, store)).context("cannot start the runtime")?,
    }
}

async fn serve(config: &Config, store: Store) -> anyhow::Result<ExitCode> {
    let public = match config.public.validate(config.listen_addr) {
        Ok(public) => public,
        Err(error) => return Ok(usage_error(error)),
    };
    let process = Process::start("ws-ingest", public, config.write.database_connections())?;
    process.warn_of_short_drain(Duration::from_millis(config.write.op_timeout_ms));
    let process = process.bind(config.listen_addr, config.admin_addr).await?;
    let ingest = Ingest::start(&store, &config.write, process.telemetry(), process.stop());
    Ok(process.serve(ingest).await?)
}
