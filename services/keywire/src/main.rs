//! `keywire`: serves both services in one process, or runs a command of the client.

mod cli;
mod config;
mod serve;

use std::process::ExitCode;

use anyhow::Context as _;
use chassis::config::{parse, usage_error};
use chassis::process::block_on;

use crate::config::{Config, DatabaseOverride};

fn main() -> ExitCode {
    run().unwrap_or_else(|error| chassis::process::stop::failure(format_args!("{error:#}")))
}

fn run() -> anyhow::Result<ExitCode> {
    let config = match parse::<Config>() {
        Ok(config) => config,
        Err(exit) => return Ok(exit),
    };
    if let Some(command) = &config.command {
        return cli::execute(command, &config);
    }
    let store = match config.store(DatabaseOverride::default()) {
        Ok(store) => store,
        Err(message) => return Ok(usage_error(message)),
    };
    let public = match config.public.validate(config.listen_addr) {
        Ok(public) => public,
        Err(error) => return Ok(usage_error(error)),
    };
    block_on(serve::serve(&config, public, store)).context("cannot start the runtime")?
}
