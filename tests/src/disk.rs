//! A small file system under one part of a server's files, to be filled and emptied.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What lies on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Tables and their logs; the binlog lies elsewhere.
    Data,
    /// The binlog and nothing else.
    Binlog,
}

/// A `tmpfs`, mounted here or by the container that has it.
#[derive(Debug)]
pub(crate) struct Disk {
    part: Part,
    at: PathBuf,
    mounted: bool,
}

impl Part {
    /// As `mount` takes it: what a fresh server needs, and room for some thousand writes.
    fn size(self) -> &'static str {
        match self {
            Self::Data => "size=160m",
            Self::Binlog => "size=8m",
        }
    }
}

impl Disk {
    /// One that is mounted at `at`, where nothing is yet, until it is dropped. Only root may.
    pub(crate) fn mount(part: Part, at: PathBuf) -> Result<Self, String> {
        std::fs::create_dir(&at).expect("a folder can be made");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", part.size(), "tmpfs"]).arg(&at))?;
        Ok(Self { part, at, mounted: true })
    }

    /// One that a container mounts for itself.
    pub(crate) fn contained(part: Part) -> Self {
        Self { part, at: "/disk".into(), mounted: false }
    }

    /// What `docker run` is told.
    pub(crate) fn tmpfs(&self) -> String {
        format!("--tmpfs={}:{}", self.at.display(), self.part.size())
    }

    /// Where the tables are, if they are on it.
    pub(crate) fn data(&self) -> Option<PathBuf> {
        (self.part == Part::Data).then(|| self.at.join("data"))
    }

    /// What a server is told that has `rest` for everything else. The logs of `MySQL` and of `MariaDB` are kept small.
    pub(crate) fn args(&self, rest: &Path) -> Vec<String> {
        let binlog = if self.part == Part::Binlog { &self.at } else { rest };
        let mut args = vec![format!("--log-bin={}", binlog.join("binlog").display())];
        let logs = ["--loose-innodb-redo-log-capacity=8M", "--loose-innodb-log-file-size=8M"];
        args.extend(logs.map(str::to_owned));
        // By the usual 64 MB it would not grow at all, and leave room that a table then takes.
        args.push("--innodb-autoextend-increment=1".into());
        args
    }

    /// The shell's commands that fill it to the last byte, and that make room again.
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
