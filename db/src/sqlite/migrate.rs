//! The schema of `SQLite`: brings it up to date, and checks whether it fits this program.

use std::path::Path;

use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::error::classify;
use super::text;
use crate::engine::schema::{AppliedMigration, fits, migrator};
use crate::error::{Cause, Error};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Refuses a database of another program before it is changed.
pub(super) async fn check_owner(file: &Path, connection: &mut SqliteConnection) -> Result<(), Error> {
    let tables: Vec<String> =
        sqlx::query_scalar(text::TABLES).fetch_all(connection).await.map_err(classify)?;
    let has = |name| tables.iter().any(|table| table == name);
    // The list of migrations is the first table that a migration makes.
    let is_begun = tables.is_empty() || tables == ["_sqlx_migrations"];
    if is_begun || has("_sqlx_migrations") && has("entries") && has("writers") {
        return Ok(());
    }
    Err(Error::NotReady(format!("{} is an SQLite database of another program", file.display()).into()))
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
        std::fs::write(engine.path(), "").expect("the file can be made");
        let error = engine.open().await.expect_err("there is no schema");
        assert!(matches!(error, Error::NotReady(_)), "{error:?}");
        assert!(error.to_string().ends_with("the schema is missing: run `ws-ingest migrate`"), "{error}");
    }
}
