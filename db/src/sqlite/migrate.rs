//! The schema of `SQLite`: making the file, bringing it up to date, and whether it fits this program.

use std::fs::File;

use sqlx::migrate::Migrator;
use sqlx::{ConnectOptions, Connection, Row as _, SqliteConnection};

use super::{Sqlite, error};
use crate::engine::schema::{Applied, fits};
use crate::error::Error;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

impl Sqlite {
    pub(crate) async fn migrate(&self) -> Result<(), Error> {
        let lock = self.path.with_extension("lock");
        let folder = self.path.parent().map(ToOwned::to_owned);
        // The migration lock of the client library does nothing on SQLite: two processes that start
        // together would both create the tables.
        let locked = tokio::task::spawn_blocking(move || {
            if let Some(folder) = folder {
                std::fs::create_dir_all(folder)?;
            }
            let file = File::create(lock)?;
            file.lock()?;
            Ok::<File, std::io::Error>(file)
        });
        let locked = locked.await.map_err(|e| Error::Internal(e.to_string()))?;
        let locked = locked.map_err(|e| Error::Unavailable(format!("{}: {e}", self.path.display())))?;
        let mut connection = self.options.connect().await.map_err(error)?;
        let mut migrations = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
        // An older program next to a newer schema must not fail here: the services judge it.
        migrations.set_ignore_missing(true);
        migrations
            .run(&mut connection)
            .await
            .map_err(|e| Error::Unavailable(format!("migration failed: {e}")))?;
        connection.close().await.map_err(error)?;
        drop(locked);
        Ok(())
    }
}

/// Whether the schema is one this program can work on.
pub(super) async fn check(connection: &mut SqliteConnection) -> Result<(), Error> {
    let sql = "select version, description, success from _sqlx_migrations order by version";
    let rows = sqlx::query(sql).fetch_all(connection).await.map_err(|e| match error(e) {
        // No such table: a file that was not migrated yet.
        Error::Internal(reason) => Error::NotReady(reason),
        other => other,
    })?;
    let applied = |row: sqlx::sqlite::SqliteRow| {
        Ok(Applied {
            version: row.try_get("version").map_err(error)?,
            description: row.try_get("description").map_err(error)?,
            done: row.try_get("success").map_err(error)?,
        })
    };
    fits(&MIGRATIONS, &rows.into_iter().map(applied).collect::<Result<Vec<_>, Error>>()?)
}
