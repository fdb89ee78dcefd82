//! Starts a server of each database engine that this machine can run, runs a command, and stops the servers.
//!
//! The command finds the servers in `TEST_DATABASE_URL`. Servers that this variable names already are not started.
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "it is a command-line tool")]

use std::process::{Child, Command, ExitCode};
use std::time::Duration;

use e2e::{DatabaseServer, EngineKind, skip};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let Some(program) = args.next() else {
        eprintln!("usage: with-databases COMMAND [ARGUMENT...]");
        return ExitCode::from(64);
    };
    let mut servers = Vec::new();
    for engine in [EngineKind::MariaDb, EngineKind::MySql] {
        match engine.available().await.or_else(|_| DatabaseServer::possible(engine)) {
            Ok(()) if engine.available().await.is_ok() => (),
            Ok(()) => servers.push(DatabaseServer::new(engine, &[])),
            Err(reason) => skip(&format!("everything on {engine:?}: {reason}")),
        }
    }
    for server in &mut servers {
        server.start().await;
        println!("{:?} runs at {}", server.engine, server.url());
    }
    let named = std::env::var("TEST_DATABASE_URL").into_iter();
    let urls: Vec<_> = named.chain(servers.iter().map(|server| server.url().into())).collect();
    let child = Command::new(program).args(args).env("TEST_DATABASE_URL", urls.join(",")).spawn();
    match child {
        Ok(child) => run(child).await,
        Err(error) => {
            eprintln!("the command cannot be started: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for the command. A signal ends the command, so that the servers are stopped all the same.
async fn run(mut child: Child) -> ExitCode {
    let on = |kind| signal(kind).expect("signals can be listened for");
    let (mut terminate, mut interrupt) = (on(SignalKind::terminate()), on(SignalKind::interrupt()));
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = tokio::time::sleep(Duration::from_millis(100)) => (),
        }
        if let Some(status) = child.try_wait().expect("it is our child") {
            return if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    }
    drop(child.kill());
    drop(child.wait());
    ExitCode::FAILURE
}
