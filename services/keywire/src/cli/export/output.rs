//! Where an export goes. A file of its name is there only when it is whole.

use std::fs::{File, OpenOptions, Permissions, canonicalize, metadata};
use std::io::{self, IsTerminal as _, Stdout, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::cli::client::{Failure, printed};

/// What is written to.
#[derive(Debug)]
pub(super) enum Target {
    Stdout(Stdout),
    /// A pipe or a device, which nothing may take the place of.
    Stream(File, PathBuf),
    /// A new file beside the one of this name. Dropping it removes it.
    File(NamedTempFile, PathBuf),
}

/// Whether an export to `path` takes the place of what is there; to a pipe or a device it is written as it comes.
pub(super) fn is_replaced(path: &Path) -> bool {
    metadata(path).map_or(true, |found| found.is_file())
}

/// A new file in `folder` that is to take the place of another.
pub(crate) fn beside(folder: &Path) -> io::Result<NamedTempFile> {
    let new = tempfile::Builder::new()
        .prefix(".keywire-")
        // Less what the user's mask takes away, as for any file.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder);
    new.map_err(|error| {
        // Its text names the new file, which nobody asked for. What it was made of tells why.
        let inner = error.get_ref().and_then(|inner| inner.source());
        let why = inner.and_then(|why| why.downcast_ref::<io::Error>()).and_then(io::Error::raw_os_error);
        why.map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
    })
}

impl Target {
    pub(super) fn stdout() -> Self {
        Self::Stdout(io::stdout())
    }

    /// Finds out whether `path` can be written before anything is.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        Self::try_open(path).map_err(|error| failed(path, error))
    }

    fn try_open(path: &Path) -> io::Result<Self> {
        if !is_replaced(path) {
            return Ok(Self::Stream(OpenOptions::new().write(true).open(path)?, path.into()));
        }
        // A link stays one: what it points to is replaced.
        let path = match canonicalize(path) {
            Ok(path) => path,
            Err(_) if path.is_symlink() => return Err(io::Error::other("it is a link that leads nowhere")),
            Err(_) => path.into(),
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let new = beside(folder)?;
        if let Ok(old) = metadata(&path) {
            // What only some may read is not for others now.
            new.as_file().set_permissions(old.permissions())?;
        }
        Ok(Self::File(new, path))
    }

    /// Whether nobody but a disk decides how fast it is written to.
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

    /// Whether somebody looks on.
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

    /// Everything is written: the file is on disk and gets its name.
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
        return Failure::Unread;
    }
    Failure::File(format!("cannot write {}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_there_when_it_is_whole_and_not_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("all.ndjson");
        fs::write(&path, "old").expect("writable");

        let mut broken = Target::open(&path).expect("writable");
        broken.write(b"half").expect("writable");
        assert_eq!(fs::read_to_string(&path).expect("readable"), "old");
        drop(broken);
        assert_eq!(names(folder.path()), ["all.ndjson"], "nothing is left behind");

        let mut whole = Target::open(&path).expect("writable");
        whole.write(b"new").expect("writable");
        whole.finish().expect("writable");
        assert_eq!(fs::read_to_string(&path).expect("readable"), "new");
        assert_eq!(names(folder.path()), ["all.ndjson"]);
    }

    #[test]
    fn a_link_stays_one_and_a_device_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").expect("writable");
        std::os::unix::fs::symlink(&file, &link).expect("links are possible");
        let mut target = Target::open(&link).expect("writable");
        target.write(b"new").expect("writable");
        target.finish().expect("writable");
        assert!(fs::symlink_metadata(&link).expect("it is there").is_symlink());
        assert_eq!(fs::read_to_string(&file).expect("readable"), "new");
        assert!(matches!(Target::open(Path::new("/dev/null")), Ok(Target::Stream(..))));
        assert!(Target::open(&folder.path().join("no/such/folder")).is_err());
    }
}
