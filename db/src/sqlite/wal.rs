//! The write-ahead log of an open store, and whether somebody else emptied or shortened it: commits after that are lost in a crash.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::{Row as _, SqliteConnection};
use tokio::time::sleep;

use super::files::{OpenFile, unavailable_at};
use super::found_file::FoundFile;
use super::text;
use crate::error::Error;

/// Every log with content begins with these bytes. The fourth byte tells the order of the bytes in checksums.
const MAGIC: [u8; 3] = [0x37, 0x7f, 0x06];
/// The bytes before the first page.
const HEAD_BYTES: usize = 32;
/// Where the two random numbers are that change whenever the log begins anew.
const SALTS: std::ops::Range<usize> = 16..24;
/// How often the log is to be cut, and the wait in between: others read and write only for moments, unless they hold an old snapshot. Whoever
/// holds one tries this when it ends.
const TRUNCATE_TRIES_MAX: usize = 10;
const TRUNCATE_PAUSE: Duration = Duration::from_millis(200);
const LOST: &str = "somebody else emptied or shortened it, and acknowledged writes that were only in it are lost; restore a backup if you need them";

/// The write-ahead log of an open store.
#[derive(Debug)]
pub(super) struct OpenWal {
    pub(super) file: OpenFile,
    descriptor: File,
    seen: Mutex<SeenWal>,
}

/// The log after the last commit of this process.
#[derive(Debug, Default)]
struct SeenWal {
    salts: [u8; 8],
    bytes: u64,
    /// Stays true until every connection to the log is closed.
    is_lost: bool,
}

/// What the size of the write-ahead log tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WalState {
    Whole,
    /// It is empty: a checkpoint or somebody else truncated it.
    Truncated,
}

impl OpenWal {
    pub(super) fn look(path: PathBuf) -> Result<Self, Error> {
        let open = |error: std::io::Error| unavailable_at(&path, &error.to_string());
        // `SQLite` holds no POSIX lock on the log: closing this descriptor releases none.
        let descriptor = File::options().read(true).write(true).open(&path).map_err(open)?;
        let found = FoundFile::of(&descriptor).map_err(open)?;
        Ok(Self { file: OpenFile::new(path, &found), descriptor, seen: Mutex::default() })
    }

    /// An error unless the log is at its path, and as long as this process knows it. One file system call, unless it is shorter.
    pub(super) fn check(&self) -> Result<WalState, Error> {
        self.judge(|seen, bytes| {
            if bytes >= seen.bytes {
                Ok(WalState::Whole)
            } else if bytes == 0 {
                Ok(WalState::Truncated)
            } else {
                self.compare(seen, bytes)
            }
        })
    }

    /// The same after a commit: from now on the log must hold it.
    pub(super) fn check_committed(&self) -> Result<(), Error> {
        self.judge(|seen, bytes| match bytes {
            // Another process has just written all of the log into the database.
            0 => Ok(()),
            bytes => self.compare(seen, bytes).map(drop),
        })
    }

    /// Takes note of what the index of the log says: the log, which was cut, should have `frames` pages.
    pub(super) fn check_truncated(&self, frames: Result<i64, Error>) -> Result<(), Error> {
        self.judge(|seen, bytes| match (bytes, frames) {
            (0, Ok(1..) | Err(_)) => Err(self.lose(seen)),
            (_, frames) => {
                frames?;
                seen.bytes = 0;
                Ok(())
            }
        })
    }

    /// Looks at the size of the log while no other connection of this process does.
    fn judge<T>(&self, verdict: impl FnOnce(&mut SeenWal, u64) -> Result<T, Error>) -> Result<T, Error> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_lost {
            return Err(unavailable_at(&self.file.path, LOST));
        }
        let bytes = self.file.check()?.bytes;
        verdict(&mut seen, bytes)
    }

    /// Compares the log, which had `bytes` bytes before its head is read here, with the last look. A log that a checkpoint has cut
    /// begins anew, with a head and with other salts.
    fn compare(&self, seen: &mut SeenWal, bytes: u64) -> Result<WalState, Error> {
        let mut head = [0; HEAD_BYTES];
        match self.descriptor.read_exact_at(&mut head, 0) {
            Ok(()) => {}
            // Cut to nothing after its size was looked at.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && bytes >= HEAD_BYTES as u64 => {
                return Ok(WalState::Truncated);
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(self.lose(seen)),
            Err(error) => return Err(unavailable_at(&self.file.path, &error.to_string())),
        }
        let mut salts = [0; 8];
        salts.copy_from_slice(&head[SALTS]);
        if !head.starts_with(&MAGIC) || salts == seen.salts && bytes < seen.bytes {
            return Err(self.lose(seen));
        }
        *seen = SeenWal { salts, bytes, is_lost: false };
        Ok(WalState::Whole)
    }

    fn lose(&self, seen: &mut SeenWal) -> Error {
        seen.is_lost = true;
        let path = self.file.path.display();
        tracing::error!(%path, "{LOST}");
        // The connection that is closed last copies the pages of the log into the database, and would copy zeros where pages are
        // missing. From an empty log it can copy nothing, and the database stays as the last checkpoint left it.
        if let Err(error) = self.descriptor.set_len(0) {
            tracing::error!(%path, %error, "the rest of the log cannot be removed");
        }
        unavailable_at(&self.file.path, LOST)
    }
}

/// Writes the log into the database and cuts it to nothing, unless a reader still needs it. Ends within a few seconds.
pub(super) async fn empty_wal(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    if let Err(error) = sqlx::query(text::ROLLBACK).execute(&mut *connection).await {
        tracing::trace!(%error, "there was no transaction");
    }
    // This does nearly all of the work, and lets others write meanwhile. To cut the log lets them wait.
    for sql in [text::SHORT_WAIT, text::WRITE_BACK_WAL] {
        sqlx::query(sql).fetch_all(&mut *connection).await?;
    }
    for _ in 0..TRUNCATE_TRIES_MAX {
        let is_in_use: bool =
            sqlx::query(text::TRUNCATE_WAL).fetch_one(&mut *connection).await?.try_get(0)?;
        if !is_in_use {
            return Ok(());
        }
        sleep(TRUNCATE_PAUSE).await;
    }
    tracing::debug!("the log could not be emptied, because it is in use");
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::Executor as _;

    use super::super::connection::WAL_BYTES_MAX;
    use super::super::fixture::TestStore;
    use crate::engine::{Engine as _, FollowSession as _};

    #[tokio::test]
    async fn a_large_log_is_emptied_though_somebody_uses_it_for_a_moment() {
        let mut store = TestStore::new().await;
        let mut reader = store.engine.open_follower().await.expect("it opens");
        reader.begin().await.expect("it is the only one");
        let fill = sqlx::query("insert into entries (k, v, rev, born) values ('k', zeroblob(?), 1, 1)");
        let filled = fill.bind(i64::try_from(WAL_BYTES_MAX).expect("it is small")).execute(&mut store.other);
        filled.await.expect("there is room");
        let log = store.engine.path().with_extension("db-wal");
        let bytes = || std::fs::metadata(&log).expect("it is there").len();
        assert!(bytes() > WAL_BYTES_MAX, "the reader holds an older snapshot");
        store.other.execute("begin immediate").await.expect("nobody writes");
        let closed = tokio::spawn(reader.close());
        // Long enough for the first try. If it is not, the test proves nothing, but does not fail.
        tokio::time::sleep(super::TRUNCATE_PAUSE).await;
        store.other.execute("rollback").await.expect("it was begun");
        closed.await.expect("it closes");
        assert_eq!(bytes(), 0);
    }
}
