//! The schema of `MySQL` and `MariaDB`: brings it up to date, gives database users their rights, and checks whether it fits.

use sqlx::migrate::{Migrate as _, Migration, Migrator};
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySqlConnection, Row as _, SqlSafeStr as _};

use super::error::classify;
use super::text::schema;
use crate::engine::DatabaseUsers;
use crate::engine::schema::{AppliedMigration, fits, migrator};
use crate::error::{Cause, Error};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/mysql");

/// Brings the schema up to date, then users. If it is stopped anywhere, it can be run again.
pub(super) async fn migrate(connection: &mut MySqlConnection, users: &DatabaseUsers) -> Result<(), Error> {
    sqlx::raw_sql(schema::MIGRATION_SETTINGS).execute(&mut *connection).await.map_err(classify)?;
    lock(connection).await?;
    let failed = |e| Error::Unavailable(Cause::Migration(e));
    connection.ensure_migrations_table(schema::MIGRATIONS_TABLE).await.map_err(failed)?;
    sqlx::query(schema::FORGET_UNFINISHED).execute(&mut *connection).await.map_err(classify)?;
    let mut migrator = migrator(MIGRATIONS.iter().map(repeatable));
    migrator.set_locking(false);
    migrator.run(&mut *connection).await.map_err(failed)?;
    grant(connection, &schema::WRITER_RIGHTS, users.writer.as_deref()).await?;
    grant(connection, &schema::READER_RIGHTS, users.reader.as_deref()).await
}

/// Waits until no other process migrates this schema. The lock of the client library does nothing on `MariaDB`, which refuses to wait
/// without a limit.
async fn lock(connection: &mut MySqlConnection) -> Result<(), Error> {
    let locked = sqlx::query_scalar::<_, i64>(schema::LOCK_MIGRATIONS).fetch_one(connection);
    if locked.await.map_err(classify)? == 1 {
        return Ok(());
    }
    Err(Error::Unavailable("another process has been migrating the schema for a minute".into()))
}

/// The same migration, which can also run again after it was stopped half-way: the server commits each statement by itself. A table
/// that is there is kept. A row is added by `insert ignore`, and a column by a prepared statement that looks whether it is there. The
/// checksum stays that of the file.
fn repeatable(migration: &Migration) -> Migration {
    let sql = migration.sql.as_str().replace("create table ", "create table if not exists ");
    Migration { sql: AssertSqlSafe(sql).into_sql_str(), ..migration.clone() }
}

/// Checks whether this program can work on the schema.
pub(super) async fn check(connection: &mut MySqlConnection) -> Result<(), Error> {
    let rows = sqlx::query(schema::MIGRATIONS).fetch_all(connection).await.map_err(|e| match e {
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
            let grant = AssertSqlSafe(schema::grant(right, &account));
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

    /// Whether `statement` leaves a schema as it is that has its effect already.
    fn is_repeatable(statement: &str) -> bool {
        let looks_first = statement.starts_with("set @add_") && statement.contains("'do 0'");
        let is_prepared = ["prepare add_", "execute add_", "deallocate prepare add_"]
            .iter()
            .any(|begin| statement.starts_with(begin));
        let begins = ["create table if not exists ", "insert ignore into "];
        looks_first || is_prepared || begins.iter().any(|begin| statement.starts_with(begin))
    }

    #[test]
    fn every_statement_of_a_migration_can_be_run_again() {
        for migration in MIGRATIONS.iter() {
            let again = repeatable(migration);
            assert_eq!(again.checksum, migration.checksum);
            let lines = again.sql.as_str().lines().filter(|line| !line.starts_with("--"));
            let sql = lines.collect::<Vec<_>>().join("\n");
            for statement in sql.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
                assert!(is_repeatable(statement), "teach `repeatable` this statement: {statement}");
            }
        }
    }

    #[test]
    fn user_names_cannot_carry_sql() {
        assert_eq!(account("keywire_writer").ok().as_deref(), Some("'keywire_writer'@'%'"));
        assert!(account("x'@'%' with grant option; --").is_err());
        assert!(account("").is_err());
    }
}
