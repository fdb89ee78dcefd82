//! The built binaries, and runs of commands that end by themselves.

use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::patience::{PATIENCE, PAUSE};

/// The binaries of one build, all in one folder.
#[derive(Debug, Clone)]
pub struct Build {
    folder: PathBuf,
    /// A program and its arguments that run each binary, as `valgrind` does. Empty: binaries run by themselves.
    runner: Vec<String>,
}

impl Build {
    /// The build that this process is part of: cargo puts binaries into the folder above the one of a test.
    #[must_use]
    pub fn own() -> Self {
        let test = std::env::current_exe().expect("a test knows its own file");
        let mut folder = test.parent().expect("a file has a folder");
        if folder.ends_with("deps") {
            folder = folder.parent().expect("deps is in the target folder");
        }
        Self::at(folder.to_owned())
    }

    /// The build whose binaries are in `folder`, which is an absolute path.
    #[must_use]
    pub fn at(folder: PathBuf) -> Self {
        Self { folder, runner: Vec::new() }
    }

    /// The same binaries, each run by the command `runner`.
    #[must_use]
    pub fn run_by(&self, runner: Vec<String>) -> Self {
        Self { folder: self.folder.clone(), runner }
    }

    /// Where the binaries are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the binary `name` is.
    #[must_use]
    pub fn binary(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        assert!(path.exists(), "{} is not built: use tests/run", path.display());
        path
    }

    /// A command whose environment is `env` and nothing of the environment of this process.
    pub(crate) fn command(&self, name: &str, args: &[&str], env: &[(String, String)]) -> Command {
        let binary = self.binary(name);
        let mut command = match self.runner.split_first() {
            None => Command::new(binary),
            Some((runner, args)) => {
                let mut command = Command::new(runner);
                command.args(args).arg(binary);
                command
            }
        };
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

    /// Runs `name` until it ends. It must end by itself.
    #[must_use]
    pub fn run_to_end(&self, name: &str, args: &[&str], env: &[(String, String)]) -> Output {
        BinaryRun::of(self.command(name, args, env), format!("{name} {args:?}")).end()
    }
}

/// Where the binary `name` of this process's own build is.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    Build::own().binary(name)
}

/// A running binary that ends by itself. Dropping it kills it.
#[derive(Debug)]
pub struct BinaryRun {
    what: String,
    child: Child,
    input: Option<ChildStdin>,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl BinaryRun {
    /// Starts `name` with an open stdin.
    #[must_use]
    pub fn start(name: &str, args: &[&str], env: &[(String, String)]) -> Self {
        Self::start_unheard(name, args, env, Stdio::piped())
    }

    /// Starts `name` with an open stdin; its messages go to `stderr`.
    #[must_use]
    pub fn start_unheard(name: &str, args: &[&str], env: &[(String, String)], stderr: Stdio) -> Self {
        let mut command = Build::own().command(name, args, env);
        command.stderr(stderr);
        Self::of(command, format!("{name} {args:?}"))
    }

    /// Starts `command` with an open stdin; `what` names it in the message of a failure.
    fn of(mut command: Command, what: String) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().expect("the binary can be started");
        let input = child.stdin.take();
        let (stdout, stderr) = (child.stdout.take().map(collect), child.stderr.take().map(collect));
        Self { what, child, input, stdout, stderr }
    }

    /// Its id, for `signal`.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes `input` to its stdin.
    pub fn feed(&mut self, input: &[u8]) {
        let stdin = self.input.as_mut().expect("it is open until the end");
        stdin.write_all(input).expect("it reads its stdin");
    }

    /// Kills it, as a crash would.
    pub fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// Closes its stdin and waits until it ends. It must end.
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

impl Drop for BinaryRun {
    fn drop(&mut self) {
        // Both fail if it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Reads `stream` to its end in a thread, so that a full pipe never blocks the binary.
fn collect(mut stream: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("a pipe can be read");
        all
    })
}

/// Runs `name` of this process's own build until it ends. It must end by itself.
#[must_use]
pub fn run_to_end(name: &str, args: &[&str], env: &[(String, String)]) -> Output {
    Build::own().run_to_end(name, args, env)
}
