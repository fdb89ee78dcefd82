//! Where the rows come from: a database, or a file of Django.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use chassis::config::read_secret;
use db::{Error, ForeignNames, ForeignTable, PrivateCopy};
use indicatif::HumanCount;

use crate::cli::client::Failure;
use crate::cli::progress::Progress;

use super::dumpdata;

/// The rows of another program.
#[derive(Debug)]
pub(in crate::cli::import) enum Source {
    /// A table of a database.
    Table(Box<ForeignTable>),
    /// A file of `dumpdata`, or stdin.
    Dumpdata(Option<PathBuf>, ForeignNames),
}

impl Source {
    /// The source that `from` names.
    pub(super) fn new(
        from: &str,
        password_file: Option<&Path>,
        names: ForeignNames,
    ) -> Result<Self, Failure> {
        if !from.contains("://") {
            return Ok(Self::Dumpdata(Some(from).filter(|from| *from != "-").map(Into::into), names));
        }
        let password = password_file.map(read_secret).transpose();
        let password = password.map_err(|error| Failure::Usage(format!("--from-password-file: {error}")))?;
        // The URL is not repeated: it may contain a password.
        let table = ForeignTable::new(from, password.as_ref(), names);
        table
            .map(|table| Self::Table(Box::new(table)))
            .map_err(|bad| Failure::Usage(format!("--from {}", bad.reason())))
    }

    /// Reads all rows.
    pub(super) async fn copy(self, progress: &Progress) -> Result<PrivateCopy, Failure> {
        progress.at(0, || "reading the source");
        match self {
            Self::Table(table) => {
                if let Some(file) = table.file() {
                    File::open(file).map_err(|error| unreadable(Some(file), error))?;
                }
                table.copy().await.map_err(failure)
            }
            Self::Dumpdata(None, names) => copy_dumpdata(std::io::stdin(), None, names, progress).await,
            Self::Dumpdata(Some(path), names) => {
                let file = File::open(&path).map_err(|error| unreadable(Some(&path), error))?;
                copy_dumpdata(file, Some(&path), names, progress).await
            }
        }
    }
}

async fn copy_dumpdata(
    input: impl Read + Send + 'static,
    path: Option<&Path>,
    names: ForeignNames,
    progress: &Progress,
) -> Result<PrivateCopy, Failure> {
    let mut copy = PrivateCopy::empty().await.map_err(failure)?;
    let (mut batches, mut others) = (dumpdata::read(input, names), 0);
    while let Some(batch) = batches.recv().await {
        let batch = batch.map_err(|error| match error.classify() {
            serde_json::error::Category::Io => unreadable(path, error.into()),
            _ if path.is_some_and(is_sqlite) => {
                let path = named(path);
                Failure::Refused(format!("{path} is an SQLite database: write --from sqlite://{path}"))
            }
            _ => Failure::Refused(format!("{} is no JSON of dumpdata: {error}", named(path))),
        })?;
        others += batch.others;
        copy.add(batch.rows).await.map_err(failure)?;
    }
    if others > 0 {
        progress.say(&format!("keywire: {} of other models left out", HumanCount(others)));
    }
    copy.sort().await.map_err(failure)
}

/// Whether the file at `path` is a database of `SQLite`. Only a regular file can be read twice.
fn is_sqlite(path: &Path) -> bool {
    let mut start = Vec::new();
    path.is_file()
        && File::open(path).is_ok_and(|file| file.take(16).read_to_end(&mut start).is_ok())
        && start == b"SQLite format 3\0"
}

fn named(path: Option<&Path>) -> String {
    path.map_or("stdin".into(), |path| path.display().to_string())
}

fn unreadable(path: Option<&Path>, error: io::Error) -> Failure {
    Failure::File(format!("cannot read {}", named(path)), error)
}

/// What an error of the source, or of the private copy, means for the caller.
pub(super) fn failure(error: Error) -> Failure {
    let text = |cause| format!("cannot read the source: {cause}");
    match error {
        Error::Unavailable(cause) | Error::Conflict(cause) => Failure::Unavailable(text(cause)),
        Error::NotReady(cause) | Error::Internal(cause) => Failure::Refused(text(cause)),
        Error::Refused(cause) => Failure::File(
            "no room for a temporary copy of the source (its folder is SQLITE_TMPDIR)".into(),
            io::Error::other(cause),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_database_without_its_scheme_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("db.sqlite3").display().to_string();
        std::fs::write(&path, b"SQLite format 3\0 and pages").expect("writable");
        let names = ForeignNames { table: "t".into(), key: "k".into(), value: "v".into() };
        let source = Source::new(&path, None, names).expect("a file");
        match source.copy(&Progress::hidden()).await {
            Err(Failure::Refused(why)) => assert!(why.contains(&format!("--from sqlite://{path}")), "{why}"),
            other => panic!("{:?}", other.err()),
        }
    }
}
