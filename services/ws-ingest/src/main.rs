//! `ws-ingest`: reads its configuration, then serves, migrates the schema, or checks a running process.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use chassis::config::{parse, usage_error};
use chassis::process::Process;
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
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    match &config.command {
        Some(Command::Migrate { writer_user, reader_user }) => {
            let named = |user: &Option<String>| user.clone().filter(|user| !user.is_empty());
            let users = DatabaseUsers { writer: named(writer_user), reader: named(reader_user) };
            runtime.block_on(store.migrate(&users)).context("cannot migrate")?;
            writeln!(std::io::stdout(), "the schema is up to date").context("cannot write to stdout")?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Check) | None => {
            let ended = runtime.block_on(serve(&config, store));
            // A call that blocks, such as the last export of spans, must not hold up the end of the process.
            runtime.shutdown_background();
            ended
        }
    }
}

async fn serve(config: &Config, store: Store) -> anyhow::Result<ExitCode> {
    let public = match config.public.validate(config.listen_addr) {
        Ok(public) => public,
        Err(error) => return Ok(usage_error(error)),
    };
    let process = Process::start("ws-ingest", public, config.write.database_connections())?;
    let process = process.bind(config.listen_addr, config.admin_addr).await?;
    let ingest = Ingest::start(&store, &config.write, process.telemetry(), process.stop());
    Ok(process.serve(ingest).await?)
}
