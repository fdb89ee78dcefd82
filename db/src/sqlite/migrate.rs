//! The schema of `SQLite`: brings it up to date, and checks whether it fits this program.

use std::fs::File;
use std::path::{Path, PathBuf};

use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::error::classify;
use super::text;
use crate::engine::schema::{AppliedMigration, fits, migrator};
use crate::error::{Cause, Error};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Makes the folder of the database `file`, and locks the file for migrations until the lock is dropped.
///
/// The migration lock of the client library does nothing on `SQLite`: two processes that start together would both create
/// the tables.
pub(super) async fn lock(file: &Path) -> Result<File, Error> {
    let lock = file.with_extension("lock");
    let folder = file.parent().map(PathBuf::from);
    let locked = tokio::task::spawn_blocking(move || {
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder)?;
        }
        let lock = File::create(lock)?;
        lock.lock()?;
        Ok::<File, std::io::Error>(lock)
    });
    let locked = locked.await.map_err(|e| Error::Internal(e.to_string().into()))?;
    locked.map_err(|e| Error::Unavailable(format!("{}: {e}", file.display()).into()))
}

/// Brings the schema up to date.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<(), Error> {
    migrator(MIGRATIONS.iter().cloned())
        .run(connection)
        .await
        .map_err(|e| Error::Unavailable(Cause::Migration(e)))
}

/// Checks whether this program can work on the schema.
pub(super) async fn check(connection: &mut SqliteConnection) -> Result<(), Error> {
    let rows = sqlx::query(text::MIGRATIONS).fetch_all(connection).await.map_err(|e| match e {
        // No such table: this statement has no other cause of the code.
        sqlx::Error::Database(e) if e.code().is_some_and(|code| code == "1") => {
            Error::NotReady("the schema is missing: run `ws-ingest migrate`".into())
        }
        e => classify(e),
    })?;
    let applied = |row: SqliteRow| {
        Ok(AppliedMigration {
            version: row.try_get("version").map_err(classify)?,
            description: row.try_get("description").map_err(classify)?,
            done: row.try_get("success").map_err(classify)?,
        })
    };
    fits(&MIGRATIONS, &rows.into_iter().map(applied).collect::<Result<Vec<_>, Error>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::connect::Sqlite;

    #[tokio::test]
    async fn a_file_without_a_schema_is_refused_with_the_command_that_makes_one() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let url = format!("sqlite://{}", folder.path().join("empty.db").display());
        let engine = Sqlite::new(&url).expect("the URL is valid");
        drop(engine.open_unchecked().await.expect("the file can be made"));
        let error = engine.open().await.expect_err("there is no schema");
        assert!(matches!(error, Error::NotReady(_)), "{error:?}");
        assert!(error.to_string().ends_with("the schema is missing: run `ws-ingest migrate`"), "{error}");
    }
}
