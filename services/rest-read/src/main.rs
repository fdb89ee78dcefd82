//! The binary `rest-read`: reads its configuration, then serves, checks a running service or prints the specification.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use chassis::config::{parse, usage_error};
use chassis::process::{Process, block_on};
use db::Store;
use rest_read::Reads;
use rest_read::config::{Command, Config};

fn main() -> ExitCode {
    run().unwrap_or_else(|error| chassis::process::stop::failure(format_args!("{error:#}")))
}

fn run() -> anyhow::Result<ExitCode> {
    let config = match parse::<Config>() {
        Ok(config) => config,
        Err(exit) => return Ok(exit),
    };
    match config.command {
        Some(Command::Check) => return Ok(chassis::process::check::check(config.admin_addr)),
        Some(Command::Openapi) => {
            let specification = rest_read::specification();
            std::io::stdout()
                .write_all(specification.as_bytes())
                .context("cannot print the specification")?;
            return Ok(ExitCode::SUCCESS);
        }
        None => {}
    }
    let store = match config.store() {
        Ok(store) => store,
        Err(message) => return Ok(usage_error(message)),
    };
    block_on(serve(&config, store)).context("cannot start the runtime")?
}

async fn serve(config: &Config, store: Store) -> anyhow::Result<ExitCode> {
    let public = match config.public.validate(config.listen_addr) {
        Ok(public) => public,
        Err(error) => return Ok(usage_error(error)),
    };
    let process = Process::start("rest-read", public, config.read.database_connections())?;
    process.warn_of_short_drain(Duration::from_millis(config.op_timeout_ms));
    let process = process.bind(config.listen_addr, config.admin_addr).await?;
    let limits = config.limits(process.connections_max());
    let reads = Reads::start(&store, &limits, process.telemetry(), process.stop());
    Ok(process.serve(reads).await?)
}
