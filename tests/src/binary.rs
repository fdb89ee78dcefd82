//! The built binaries, and runs of them that end by themselves.

use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::thread::JoinHandle;
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

/// A binary that ends by itself. Dropping it kills it.
#[derive(Debug)]
pub struct Run {
    what: String,
    child: Child,
    input: Option<ChildStdin>,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Run {
    /// Starts `name` with an open stdin.
    #[must_use]
    pub fn start(name: &str, args: &[&str], env: &[(String, String)]) -> Self {
        Self::start_unheard(name, args, env, Stdio::piped())
    }

    /// Starts `name` with an open stdin and `stderr` for what it says.
    #[must_use]
    pub fn start_unheard(name: &str, args: &[&str], env: &[(String, String)], stderr: Stdio) -> Self {
        let mut command = command(name, args, env);
        command.stderr(stderr);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("the binary can be started");
        let input = child.stdin.take();
        let (stdout, stderr) = (child.stdout.take().map(collect), child.stderr.take().map(collect));
        Self { what: format!("{name} {args:?}"), child, input, stdout, stderr }
    }

    /// Its id, for `signal`.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Gives it `input` to read.
    pub fn feed(&mut self, input: &[u8]) {
        let stdin = self.input.as_mut().expect("it is open until the end");
        stdin.write_all(input).expect("it reads its stdin");
    }

    /// Ends it as a crash would: at once, unprepared.
    pub fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// Closes its stdin and waits until it ends, which it must do.
    #[must_use]
    pub fn end(mut self) -> Output {
        drop(self.input.take());
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            assert!(Instant::now() < deadline, "{} did not end within {PATIENCE:?}", self.what);
            std::thread::sleep(PAUSE);
        };
        let all = |stream: Option<JoinHandle<Vec<u8>>>| {
            stream.map_or_else(Vec::new, |stream| stream.join().expect("a pipe can be read"))
        };
        Output { status, stdout: all(self.stdout.take()), stderr: all(self.stderr.take()) }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to do.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Reads `stream` to its end in a thread, so that nobody waits for a full pipe.
fn collect(mut stream: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("a pipe can be read");
        all
    })
}

/// Runs `name` until it ends, which it must do by itself.
#[must_use]
pub fn run_to_end(name: &str, args: &[&str], env: &[(String, String)]) -> Output {
    Run::start(name, args, env).end()
}
