//! The binaries of a revision: checked out by `git worktree`, built once, and kept.
//!
//! Every revision is checked out at the same path, so that two builds differ only in their sources. A build is kept under the
//! hash of its sources: the same sources are never built twice.

use std::fs::{File, TryLockError, create_dir_all};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use e2e::Build;

/// The binaries that are built of a revision: the pair, and `keywire` for `SQLite`.
const BINARIES: [&str; 3] = ["ws-ingest", "rest-read", "keywire"];

/// A hash of this many digits names the folder of a build.
const HASH_CHARS: usize = 12;

/// The pause between two checks whether a command has ended.
const PAUSE: Duration = Duration::from_millis(100);

/// The folder `pairs` below cargo's target folder. Only one run at a time can use it.
#[derive(Debug)]
pub(crate) struct Builds {
    folder: PathBuf,
    _lock: File,
}

/// A revision of this repository.
#[derive(Debug, Clone)]
pub(crate) struct Revision {
    /// Its name on the command line, and the hash of its commit; for the working tree, the hash of its files.
    pub(crate) name: String,
    /// The hash of its files.
    pub(crate) tree: String,
}

impl Builds {
    /// # Errors
    /// Another run uses the folder.
    pub(crate) fn open() -> Result<Self, String> {
        let own = Build::own();
        let target = own.folder().parent().expect("cargo puts binaries two folders deep");
        let folder = target.join("pairs");
        create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let path = folder.join("lock");
        let lock = File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err("another run of tests/bench/pairs uses this checkout".into())
            }
            Err(TryLockError::Error(error)) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// The revision that `given` names: a commit, a branch, a tag, or `.` for the working tree as it is.
    ///
    /// # Errors
    /// There is no such revision.
    pub(crate) fn find(&self, given: &str) -> Result<Revision, String> {
        if given == "." { self.working_tree() } else { commit(given) }
    }

    /// The binaries of `revision`, which are built if there is no build of the same files.
    ///
    /// # Errors
    /// It cannot be checked out or built.
    pub(crate) async fn get(&self, Revision { name, tree }: &Revision) -> Result<Build, String> {
        let kept = self.folder.join(short(tree));
        if !kept.exists() {
            println!("pairs: building {name}");
            self.build(tree, &kept).await.map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(Build::at(kept))
    }

    /// The hash of the working tree, with files that are not committed, except for those that git ignores.
    fn working_tree(&self) -> Result<Revision, String> {
        // A separate index: staged files stay as they are.
        let index = self.folder.join("index");
        let git = |args: &[&str]| said(command("git", args).env("GIT_INDEX_FILE", &index));
        git(&["read-tree", "HEAD"])?;
        git(&["add", "--all", "."])?;
        let tree = git(&["write-tree"])?;
        Ok(Revision { name: format!("the working tree ({})", short(&tree)), tree })
    }

    /// Checks `tree` out, builds it and puts its binaries into `kept`.
    async fn build(&self, tree: &str, kept: &Path) -> Result<(), String> {
        let checkout = Checkout::new(self.folder.join("checkout"), tree)?;
        let target = self.folder.join("build");
        let mut cargo = command("cargo", &["build", "--locked", "--release", "--workspace"]);
        for binary in BINARIES {
            cargo.args(["--bin", binary]);
        }
        cargo.current_dir(&checkout.folder).env("CARGO_TARGET_DIR", &target);
        let status = ended(&mut cargo).await?;
        if !status.success() {
            return Err(format!("cannot be built: cargo: {status}"));
        }
        let part = self.folder.join("part");
        let copied = copy(&target.join("release"), &part).and_then(|()| std::fs::rename(&part, kept));
        copied.map_err(|error| format!("its binaries cannot be kept in {}: {error}", kept.display()))
    }
}

/// Copies the binaries in `from` to `to`, which is created anew.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    create_dir_all(to)?;
    BINARIES.iter().try_for_each(|binary| std::fs::copy(from.join(binary), to.join(binary)).map(drop))
}

/// The commit that `given` names.
fn commit(given: &str) -> Result<Revision, String> {
    let parse = |what: String| {
        said(&mut command("git", &["rev-parse", "--verify", "--quiet", "--end-of-options", &what]))
    };
    let none = |_| format!("there is no revision {given} in this repository");
    let commit = parse(format!("{given}^{{commit}}")).map_err(none)?;
    let tree = parse(format!("{given}^{{tree}}"))?;
    let hash = short(&commit);
    let name = if commit.starts_with(given) { hash.to_owned() } else { format!("{given} ({hash})") };
    Ok(Revision { name, tree })
}

fn short(hash: &str) -> &str {
    hash.get(..HASH_CHARS).unwrap_or(hash)
}

/// A worktree of this repository, removed when it is dropped.
#[derive(Debug)]
struct Checkout {
    folder: PathBuf,
}

impl Checkout {
    fn new(folder: PathBuf, tree: &str) -> Result<Self, String> {
        // A killed run leaves its worktree behind.
        let checkout = Self { folder };
        checkout.remove();
        let path = checkout.folder.display().to_string();
        said(&mut command(
            "git",
            &["worktree", "add", "--quiet", "--detach", "--no-checkout", &path, "HEAD"],
        ))?;
        said(&mut command("git", &["-C", &path, "read-tree", "--reset", "-u", tree]))?;
        Ok(checkout)
    }

    fn remove(&self) {
        let path = self.folder.display().to_string();
        // It fails if there is none.
        drop(said(&mut command("git", &["worktree", "remove", "--force", &path])));
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        self.remove();
    }
}

fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs `command` to its end. Returns its output.
fn said(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().display().to_string();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// A command and the processes that it starts. Dropping it kills them all.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            // A compiler that still runs would disturb the next build.
            let group = self.0.id().to_string();
            drop(said(&mut command("sh", &["-c", r#"kill -KILL "-$0""#, &group])));
            drop(self.0.wait());
        }
    }
}

/// Runs `command` to its end, with its output on the terminal.
async fn ended(command: &mut Command) -> Result<ExitStatus, String> {
    let program = command.get_program().display().to_string();
    let failed = |error: std::io::Error| format!("{program}: {error}");
    let mut running = Running(command.process_group(0).spawn().map_err(failed)?);
    loop {
        if let Some(status) = running.0.try_wait().map_err(failed)? {
            return Ok(status);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
