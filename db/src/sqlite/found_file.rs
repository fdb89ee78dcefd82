//! What a path leads to: which file, and how long it is.

use std::fs::File;
use std::io;
use std::path::Path;

/// A file that was found. No other file has the same device and inode while this one is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FoundFile {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) bytes: u64,
}

#[cfg(target_os = "linux")]
mod system {
    use std::os::fd::AsFd;

    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

    use super::{File, FoundFile, Path, io};

    impl FoundFile {
        pub(in super::super) fn at(path: &Path) -> io::Result<Self> {
            find(CWD, path, AtFlags::empty())
        }

        pub(in super::super) fn of(file: &File) -> io::Result<Self> {
            find(file, Path::new(""), AtFlags::EMPTY_PATH)
        }
    }

    /// Asks for no times. After a process has asked for the times of a file, Linux (6.13 and later) gives the file a new exact time at its
    /// next write. The next `fsync` must then write that time too, and takes 1.4 times as long (DECISIONS.md).
    fn find(folder: impl AsFd, path: &Path, flags: AtFlags) -> io::Result<FoundFile> {
        let found = statx(folder, path, flags, StatxFlags::INO | StatxFlags::SIZE)?;
        let device = u64::from(found.stx_dev_major) << 32 | u64::from(found.stx_dev_minor);
        Ok(FoundFile { device, inode: found.stx_ino, bytes: found.stx_size })
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::fs::Metadata;
    use std::os::unix::fs::MetadataExt as _;

    use super::{File, FoundFile, Path, io};

    impl FoundFile {
        pub(in super::super) fn at(path: &Path) -> io::Result<Self> {
            std::fs::metadata(path).map(Self::from)
        }

        pub(in super::super) fn of(file: &File) -> io::Result<Self> {
            file.metadata().map(Self::from)
        }
    }

    impl From<Metadata> for FoundFile {
        fn from(found: Metadata) -> Self {
            Self { device: found.dev(), inode: found.ino(), bytes: found.len() }
        }
    }
}
