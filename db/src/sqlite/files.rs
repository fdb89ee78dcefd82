//! The files of an open store, and whether they are still at their paths.
//!
//! A file that was removed or replaced stays open: `SQLite` goes on writing into it, and all of it is gone when it is closed.

use std::fs::{canonicalize, remove_file};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::found_file::FoundFile;
use super::wal::{OpenWal, WalState};
use crate::error::Error;

/// The database, its write-ahead log and the index of the log, as they were when a connection was opened.
#[derive(Debug)]
pub(super) struct StoreFiles {
    database: OpenFile,
    pub(super) wal: OpenWal,
    index: OpenFile,
}

/// A file by its path and by its inode, which no other file has while this one is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenFile {
    pub(super) path: PathBuf,
    device: u64,
    inode: u64,
}

/// The path of a file that `SQLite` or this program keeps beside `database`, which is not a link.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

impl StoreFiles {
    /// The files of the store at `database`, which is open.
    pub(super) fn look(database: &Path) -> Result<Self, Error> {
        // `SQLite` puts the other files beside the file that a link leads to.
        let real = canonicalize(database).map_err(|error| unavailable_at(database, &error.to_string()))?;
        Ok(Self {
            database: OpenFile::look(database.into())?,
            wal: OpenWal::look(beside(&real, "-wal"))?,
            index: OpenFile::look(beside(&real, "-shm"))?,
        })
    }

    /// Whether both are the same files.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.database, &self.wal.file, &self.index) == (&other.database, &other.wal.file, &other.index)
    }

    /// An error unless every file is at its path, and the log is whole: what is committed otherwise is lost with the last connection.
    pub(super) fn check(&self) -> Result<WalState, Error> {
        self.check_database()?;
        self.index.check()?;
        self.wal.check()
    }

    /// The same after a commit, which the log must hold.
    pub(super) fn check_committed(&self) -> Result<(), Error> {
        self.check_database()?;
        self.index.check()?;
        self.wal.check_committed()
    }

    /// An error unless the database is at its path. A read that begins afterwards sees what was acknowledged before.
    pub(super) fn check_database(&self) -> Result<(), Error> {
        let found = self.database.check()?;
        // In use it has at least one page.
        if found.bytes == 0 {
            Err(unavailable_at(&self.database.path, "the file was emptied"))
        } else {
            Ok(())
        }
    }

    /// The bytes of the log; 0 if it is not at its path.
    pub(super) fn wal_bytes(&self) -> u64 {
        self.wal.file.check().map_or(0, |found| found.bytes)
    }

    /// Once no connection is open: makes room for another database at the path. The log of the one before would be taken for
    /// its own.
    pub(super) fn clear_for_another(&self) -> Result<(), Error> {
        match FoundFile::at(&self.database.path) {
            Ok(found) if self.database.is(&found) => return Ok(()),
            Ok(_) => {}
            Err(_) => return self.check_database(),
        }
        if self.wal_bytes() > 0 {
            let why = "it belongs to the database that was replaced; stop every process that has it open, and move it away";
            return Err(unavailable_at(&self.wal.file.path, why));
        }
        for file in [&self.wal.file, &self.index] {
            if file.check().is_ok() {
                remove_file(&file.path).map_err(|error| unavailable_at(&file.path, &error.to_string()))?;
            }
        }
        Ok(())
    }
}

impl OpenFile {
    fn look(path: PathBuf) -> Result<Self, Error> {
        match FoundFile::at(&path) {
            Ok(found) => Ok(Self::new(path, &found)),
            Err(error) => Err(unavailable_at(&path, &error.to_string())),
        }
    }

    pub(super) fn new(path: PathBuf, found: &FoundFile) -> Self {
        Self { device: found.device, inode: found.inode, path }
    }

    fn is(&self, found: &FoundFile) -> bool {
        (found.device, found.inode) == (self.device, self.inode)
    }

    /// What is at the path, if it is this file.
    pub(super) fn check(&self) -> Result<FoundFile, Error> {
        match FoundFile::at(&self.path) {
            Ok(found) if self.is(&found) => Ok(found),
            Ok(_) => Err(unavailable_at(&self.path, "another file is in its place")),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(unavailable_at(&self.path, "the file was removed or renamed"))
            }
            Err(error) => Err(unavailable_at(&self.path, &error.to_string())),
        }
    }
}

/// A file of the store cannot be used at `path`.
pub(super) fn unavailable_at(path: &Path, why: &str) -> Error {
    Error::Unavailable(format!("{}: {why}", path.display()).into())
}
