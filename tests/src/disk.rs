//! A small file system for a part of a server's files, which a test can fill and empty.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The files that are on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskPart {
    /// Tables and their logs, without the binlog.
    Data,
    /// Only the binlog.
    Binlog,
}

/// A `tmpfs`, mounted here or by the container that has it.
#[derive(Debug)]
pub(crate) struct Disk {
    part: DiskPart,
    at: PathBuf,
    mounted: bool,
}

impl DiskPart {
    /// The size option for `mount`: what a fresh server needs, and room for some thousand writes.
    fn size(self) -> &'static str {
        match self {
            Self::Data => "size=160m",
            Self::Binlog => "size=8m",
        }
    }
}

impl Disk {
    /// Mounts one at `at`, which must not exist. It is mounted until it is dropped. Only root may mount.
    pub(crate) fn mount(part: DiskPart, at: PathBuf) -> Result<Self, String> {
        std::fs::create_dir(&at).expect("a folder can be made");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", part.size(), "tmpfs"]).arg(&at))?;
        Ok(Self { part, at, mounted: true })
    }

    /// A file system that a container mounts for itself.
    pub(crate) fn contained(part: DiskPart) -> Self {
        Self { part, at: "/disk".into(), mounted: false }
    }

    /// The argument of `docker run` that mounts it.
    pub(crate) fn tmpfs(&self) -> String {
        format!("--tmpfs={}:{}", self.at.display(), self.part.size())
    }

    /// The folder of the tables, if they are on it.
    pub(crate) fn data(&self) -> Option<PathBuf> {
        (self.part == DiskPart::Data).then(|| self.at.join("data"))
    }

    /// The arguments of a server whose other files are in `rest`. They keep the logs of `MySQL` and of `MariaDB` small.
    pub(crate) fn args(&self, rest: &Path) -> Vec<String> {
        let binlog = if self.part == DiskPart::Binlog { &self.at } else { rest };
        let mut args = vec![format!("--log-bin={}", binlog.join("binlog").display())];
        let logs = ["--loose-innodb-redo-log-capacity=8M", "--loose-innodb-log-file-size=8M"];
        args.extend(logs.map(str::to_owned));
        // With the default of 64 MB the tablespace could not grow, and a table would take the space that is left.
        args.push("--innodb-autoextend-increment=1".into());
        args
    }

    /// Two shell commands: the first fills it to the last byte, the second makes room again.
    pub(crate) fn filling(&self) -> [String; 2] {
        let ballast = self.at.join("ballast").display().to_string();
        [format!("! cat /dev/zero > {ballast}"), format!("rm {ballast}")]
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            drop(run(Command::new("umount").arg(&self.at)));
        }
    }
}

/// Runs `command` to its end.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
