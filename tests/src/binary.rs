//! The built binaries, and runs of them that end by themselves.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use crate::patience::{PATIENCE, PAUSE};

/// Where cargo put `name`: the folder above the one of this test.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own file");
    let mut folder = test.parent().expect("a file has a folder");
    if folder.ends_with("deps") {
        folder = folder.parent().expect("deps is in the target folder");
    }
    let path = folder.join(name);
    assert!(path.exists(), "{} is not built: use tests/run", path.display());
    path
}

/// A command that sees nothing of this process's environment but what `env` says.
pub(crate) fn command(name: &str, args: &[&str], env: &[(String, String)]) -> Command {
    let mut command = Command::new(binary(name));
    command
        .args(args)
        .env_clear()
        .env("RUST_BACKTRACE", "1")
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs `name` until it ends, which it must do by itself; its output is small.
#[must_use]
pub fn run_to_end(name: &str, args: &[&str], env: &[(String, String)]) -> Output {
    let mut child = command(name, args, env).spawn().expect("the binary can be started");
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().expect("it is our child").is_none() {
        if Instant::now() >= deadline {
            child.kill().expect("it is our child");
            let output = child.wait_with_output().expect("its output can be read");
            panic!("{name} {args:?} did not end within {PATIENCE:?}: {output:?}");
        }
        std::thread::sleep(PAUSE);
    }
    child.wait_with_output().expect("its output can be read")
}
