//! The schema of `MySQL` and `MariaDB`: brings it up to date, gives database users their rights, and checks whether it fits.

use sqlx::migrate::Migrator;
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySqlConnection, Row as _};

use super::error::classify;
use super::text;
use crate::engine::DatabaseUsers;
use crate::engine::schema::{AppliedMigration, fits, migrator};
use crate::error::{Cause, Error};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/mysql");

/// Brings the schema up to date, then users.
pub(super) async fn migrate(connection: &mut MySqlConnection, users: &DatabaseUsers) -> Result<(), Error> {
    migrator(&MIGRATIONS).run(&mut *connection).await.map_err(|e| Error::Unavailable(Cause::Migration(e)))?;
    grant(connection, &text::WRITER_RIGHTS, users.writer.as_deref()).await?;
    grant(connection, &text::READER_RIGHTS, users.reader.as_deref()).await
}

/// Checks whether this program can work on the schema.
pub(super) async fn check(connection: &mut MySqlConnection) -> Result<(), Error> {
    let rows = sqlx::query(text::MIGRATIONS).fetch_all(connection).await.map_err(|e| match e {
        // No such table.
        sqlx::Error::Database(e) if e.code().is_some_and(|code| code == "42S02") => {
            Error::NotReady("the schema is missing: run `ws-ingest migrate`".into())
        }
        e => classify(e),
    })?;
    let applied = |row: MySqlRow| {
        Ok(AppliedMigration {
            version: row.try_get("version").map_err(classify)?,
            description: row.try_get("description").map_err(classify)?,
            done: row.try_get("success").map_err(classify)?,
        })
    };
    fits(&MIGRATIONS, &rows.into_iter().map(applied).collect::<Result<Vec<_>, Error>>()?)
}

/// Gives `rights` to `user`, if there is one.
async fn grant(connection: &mut MySqlConnection, rights: &[&str], user: Option<&str>) -> Result<(), Error> {
    if let Some(account) = user.map(account).transpose()? {
        for right in rights {
            // Made of a checked name; this statement cannot be prepared.
            let grant = AssertSqlSafe(text::grant(right, &account));
            sqlx::raw_sql(grant).execute(&mut *connection).await.map_err(classify)?;
        }
    }
    Ok(())
}

/// The account `name` on any host, in quotes. A name with other characters than letters, digits, `_`, `-` and `.` is refused.
fn account(name: &str) -> Result<String, Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || !name.chars().all(plain) {
        return Err(Error::NotReady(format!("{name:?} cannot be a database user's name").into()));
    }
    Ok(format!("'{name}'@'%'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_cannot_carry_sql() {
        assert_eq!(account("keywire_writer").ok().as_deref(), Some("'keywire_writer'@'%'"));
        assert!(account("x'@'%' with grant option; --").is_err());
        assert!(account("").is_err());
    }
}
