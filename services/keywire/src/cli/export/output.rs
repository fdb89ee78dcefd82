//! The output of an export. A regular file appears under its name only when it is complete.

use std::fs::{File, OpenOptions, metadata};
use std::io::{self, IsTerminal as _, Stdout, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::cli::client::{Failure, printed};
use crate::cli::replacement::{beside, destination};

/// Who may read a new export: its owner, as the database itself. An export that is replaced keeps its mode.
const MODE: u32 = 0o600;

/// An open output.
#[derive(Debug)]
pub(super) enum Output {
    Stdout(Stdout),
    /// A pipe or a device, which cannot be replaced.
    Stream(File, PathBuf),
    /// A new file beside the file of this name. Dropping it removes it.
    File(NamedTempFile, PathBuf),
}

/// Whether an export to `path` replaces the file there. To a pipe or a device it is written directly.
pub(super) fn is_replaced(path: &Path) -> bool {
    metadata(path).map_or(true, |found| found.is_file())
}

impl Output {
    pub(super) fn stdout() -> Self {
        Self::Stdout(io::stdout())
    }

    /// Opens `path`. A path that cannot be written is a failure before anything is exported.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        Self::try_open(path).map_err(|error| failed(path, error))
    }

    fn try_open(path: &Path) -> io::Result<Self> {
        if !is_replaced(path) {
            return Ok(Self::Stream(OpenOptions::new().write(true).open(path)?, path.into()));
        }
        let path = destination(path)?;
        Ok(Self::File(beside(&path, MODE)?, path))
    }

    /// Whether the output goes to a disk, and not to a reader that may be slow.
    pub(super) fn is_file(&self) -> bool {
        match self {
            Self::Stdout(out) => {
                let found = out.as_fd().try_clone_to_owned().map(File::from).and_then(|out| out.metadata());
                found.is_ok_and(|found| found.is_file())
            }
            Self::Stream(..) => false,
            Self::File(..) => true,
        }
    }

    pub(super) fn is_terminal(&self) -> bool {
        match self {
            Self::Stdout(out) => out.is_terminal(),
            Self::Stream(file, _) => file.is_terminal(),
            Self::File(..) => false,
        }
    }

    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Stdout(out) => printed(out.write_all(piece)),
            Self::Stream(file, path) => file.write_all(piece).map_err(|error| failed(path, error)),
            Self::File(file, path) => file.write_all(piece).map_err(|error| failed(path, error)),
        }
    }

    /// Ends a complete export: the file is synced to disk and gets its name.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Stdout(mut out) => printed(out.flush()),
            Self::Stream(..) => Ok(()),
            Self::File(file, path) => file
                .as_file()
                .sync_all()
                .and_then(|()| file.persist(&path).map_err(|error| error.error))
                .map(drop)
                .map_err(|error| failed(&path, error)),
        }
    }
}

fn failed(path: &Path, error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::StdoutClosed;
    }
    Failure::File(format!("cannot write {}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn an_export_appears_only_when_it_is_complete() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("all.ndjson");
        fs::write(&path, "old").expect("writable");

        let mut broken = Output::open(&path).expect("writable");
        broken.write(b"half").expect("writable");
        assert_eq!(fs::read_to_string(&path).expect("readable"), "old");
        drop(broken);
        assert_eq!(names(folder.path()), ["all.ndjson"], "nothing is left behind");

        let mut whole = Output::open(&path).expect("writable");
        whole.write(b"new").expect("writable");
        whole.finish().expect("writable");
        assert_eq!(fs::read_to_string(&path).expect("readable"), "new");
        assert_eq!(names(folder.path()), ["all.ndjson"]);
    }

    #[test]
    fn a_new_export_is_private_and_a_replaced_one_keeps_its_mode() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("all.ndjson");
        for mode in [0o600, 0o640] {
            Output::open(&path).expect("writable").finish().expect("writable");
            assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, mode);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("it is ours");
        }
    }

    #[test]
    fn links_and_devices_are_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").expect("writable");
        std::os::unix::fs::symlink(&file, &link).expect("links are possible");
        let mut output = Output::open(&link).expect("writable");
        output.write(b"new").expect("writable");
        output.finish().expect("writable");
        assert!(fs::symlink_metadata(&link).expect("it is there").is_symlink());
        assert_eq!(fs::read_to_string(&file).expect("readable"), "new");
        assert!(matches!(Output::open(Path::new("/dev/null")), Ok(Output::Stream(..))));
        assert!(Output::open(&folder.path().join("no/such/folder")).is_err());
        let dangling = folder.path().join("dangling");
        std::os::unix::fs::symlink("nowhere", &dangling).expect("links are possible");
        assert!(Output::open(&dangling).is_err());
        assert!(dangling.is_symlink() && !folder.path().join("nowhere").exists());
    }
}
