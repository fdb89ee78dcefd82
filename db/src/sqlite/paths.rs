//! What may stand at the paths of a store: the database, and the files that `SQLite` and this program keep beside it.

use std::fs::{DirBuilder, File, OpenOptions, canonicalize, symlink_metadata};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::files::beside;
use crate::error::Error;

/// What the first bytes of the files that `SQLite` keeps beside a database may be. It overwrites or removes these files.
const COMPANIONS: [(&str, &[&[u8]]); 3] = [
    ("-wal", &[&[0x37, 0x7f, 0x06, 0x82], &[0x37, 0x7f, 0x06, 0x83]]),
    ("-shm", &[&3_007_000_u32.to_ne_bytes()]),
    ("-journal", &[&[0xd9, 0xd5, 0x05, 0xf9]]),
];

/// The path of the database without links. Makes its folder.
pub(super) fn real_path(database: &Path) -> io::Result<PathBuf> {
    match canonicalize(database) {
        Ok(real) if symlink_metadata(&real)?.is_file() => return Ok(real),
        Ok(_) => return Err(io::Error::other("it is not a regular file")),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if symlink_metadata(database).is_ok_and(|found| found.is_symlink()) {
        return Err(io::Error::other("it is a dangling symbolic link"));
    }
    let (Some(folder), Some(name)) = (database.parent(), database.file_name()) else {
        return Err(io::Error::other("it is not the path of a file"));
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    Ok(canonicalize(folder)?.join(name))
}

/// Makes an empty file at `path` unless there is one.
pub(super) fn make(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

/// Fails if a file that `SQLite` would overwrite or remove beside `database` belongs to another program.
pub(super) fn check_companions(database: &Path) -> Result<(), Error> {
    for (suffix, beginnings) in COMPANIONS {
        let path = beside(database, suffix);
        check_companion(&path, beginnings).map_err(|error| not_ready_at(&path, &error))?;
    }
    Ok(())
}

/// Whether the file at `path`, if there is one, may be what `SQLite` left there.
fn check_companion(path: &Path, beginnings: &[&[u8]]) -> io::Result<()> {
    match symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(io::Error::other("it is not a regular file, and SQLite needs this path")),
    }
    let mut first = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut first)?;
    // After a failure of the machine a file may be shorter than it was, or hold zeros.
    if first.len() < 4 || first == [0; 4] || beginnings.contains(&&*first) {
        return Ok(());
    }
    Err(io::Error::other("it is a file of another program, and SQLite needs this path"))
}

pub(super) fn not_ready_at(path: &Path, why: &io::Error) -> Error {
    Error::NotReady(format!("{}: {why}", path.display()).into())
}
