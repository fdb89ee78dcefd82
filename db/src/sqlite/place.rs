//! The place of a database file: its folder, the lock of migrations, and what else may be at these paths.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError, canonicalize, symlink_metadata};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::files::beside;
use crate::error::Error;

/// How long a process waits for another one that migrates the same file.
const LOCK_WAIT_MAX: Duration = Duration::from_mins(1);

/// How often the lock is tried.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The lock of migrations on one file, until it is dropped.
#[derive(Debug)]
pub(super) struct MigrationLock(#[expect(dead_code, reason = "closing the file unlocks it")] File);

/// What the first bytes of the files that `SQLite` keeps beside a database may be. It overwrites or removes these files.
const COMPANIONS: [(&str, &[&[u8]]); 3] = [
    ("-wal", &[&[0x37, 0x7f, 0x06, 0x82], &[0x37, 0x7f, 0x06, 0x83]]),
    ("-shm", &[&3_007_000_u32.to_ne_bytes()]),
    ("-journal", &[&[0xd9, 0xd5, 0x05, 0xf9]]),
];

/// Makes the folder and an empty file at `database` unless they exist, and locks the file for migrations. Nobody but the owner may
/// read what this makes. Refuses, and changes nothing, where a path is taken by something else.
///
/// The migration lock of the client library does nothing on `SQLite`: two processes that start together would both create
/// the tables. The lock is on a file of its own, because closing any file of the database would undo the locks of `SQLite`.
pub(super) async fn lock(database: &Path) -> Result<MigrationLock, Error> {
    let real = real_path(database).map_err(|error| refused(database, &error))?;
    let path = beside(&real, "-lock");
    let file = open_lock(&path).map_err(|error| refused(&path, &error))?;
    let give_up = Instant::now() + LOCK_WAIT_MAX;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < give_up => sleep(LOCK_PAUSE).await,
            Err(TryLockError::WouldBlock) => {
                return Err(refused(
                    &path,
                    &io::Error::other("another process has kept it locked for a minute"),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(refused(&path, &error)),
        }
    }
    for (suffix, beginnings) in COMPANIONS {
        let path = beside(&real, suffix);
        check_companion(&path, beginnings).map_err(|error| refused(&path, &error))?;
    }
    make(&real).map_err(|error| refused(&real, &error))?;
    Ok(MigrationLock(file))
}

/// The path of the database without links. Makes its folder.
fn real_path(database: &Path) -> io::Result<PathBuf> {
    match canonicalize(database) {
        Ok(real) if symlink_metadata(&real)?.is_file() => return Ok(real),
        Ok(_) => return Err(io::Error::other("it is not a regular file")),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if symlink_metadata(database).is_ok_and(|found| found.is_symlink()) {
        return Err(io::Error::other("it is a link that leads nowhere"));
    }
    let (Some(folder), Some(name)) = (database.parent(), database.file_name()) else {
        return Err(io::Error::other("it is not the path of a file"));
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    Ok(canonicalize(folder)?.join(name))
}

/// Opens the file of the lock. Its content, if it has any, stays as it is.
fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    // Not through a link, and no pipe may make this wait.
    let opened = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => io::Error::other("it is a link"),
        _ => error,
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

/// Makes an empty file at `path` unless there is one.
fn make(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
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

fn refused(path: &Path, why: &io::Error) -> Error {
    Error::NotReady(format!("{}: {why}", path.display()).into())
}
