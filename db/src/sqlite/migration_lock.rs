//! The lock of migrations on the file of a store.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::files::beside;
use super::paths::{check_companions, make, not_ready_at, real_path};
use crate::error::Error;

/// How long a process waits for another one that migrates the same file.
const LOCK_WAIT_MAX: Duration = Duration::from_mins(1);

/// How often the lock is tried.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The lock of migrations on one file, until it is dropped.
#[derive(Debug)]
pub(super) struct MigrationLock(#[expect(dead_code, reason = "closing the file unlocks it")] File);

/// Makes the folder and an empty file at `database` unless they exist, and locks the file for migrations. Nobody but the owner may
/// read what this makes. Refuses, and changes nothing, where a path is taken by something else.
///
/// The migration lock of the client library does nothing on `SQLite`: two processes that start together would both create
/// the tables. The lock is on a file of its own, because closing any file of the database would undo the locks of `SQLite`.
pub(super) async fn lock(database: &Path) -> Result<MigrationLock, Error> {
    let real = real_path(database).map_err(|error| not_ready_at(database, &error))?;
    let path = beside(&real, "-lock");
    let file = open_lock(&path).map_err(|error| not_ready_at(&path, &error))?;
    let give_up = Instant::now() + LOCK_WAIT_MAX;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < give_up => sleep(LOCK_PAUSE).await,
            Err(TryLockError::WouldBlock) => {
                return Err(not_ready_at(
                    &path,
                    &io::Error::other("another process has kept it locked for a minute"),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(not_ready_at(&path, &error)),
        }
    }
    check_companions(&real)?;
    make(&real).map_err(|error| not_ready_at(&real, &error))?;
    Ok(MigrationLock(file))
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
