//! The schema of `MySQL` and `MariaDB`: bringing it up to date, granting, and whether it fits this program.

use sqlx::migrate::Migrator;
use sqlx::{MySqlConnection, Row as _};

use super::connect::{MySql, close, error, run};
use crate::engine::Grants;
use crate::engine::schema::{Applied, fits};
use crate::error::Error;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/mysql");

impl MySql {
    pub(crate) async fn migrate(&self, grants: &Grants) -> Result<(), Error> {
        let mut connection = self.open_unchecked().await?;
        let mut migrations = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
        // An older program next to a newer schema must not fail here: the services judge it.
        migrations.set_ignore_missing(true);
        migrations
            .run(&mut connection)
            .await
            .map_err(|e| Error::Unavailable(format!("migration failed: {e}")))?;
        let writer = [
            "select, insert, update, delete on entries",
            "select, insert, update, delete on writers",
            "select, insert, update, delete on expiries",
            "select on _sqlx_migrations",
        ];
        let reader = ["select on entries", "select on _sqlx_migrations"];
        grant(&mut connection, &writer, grants.writer.as_deref()).await?;
        grant(&mut connection, &reader, grants.reader.as_deref()).await?;
        close(connection).await;
        Ok(())
    }
}

/// Whether the schema is one this program can work on.
pub(crate) async fn check(connection: &mut MySqlConnection) -> Result<(), Error> {
    let sql = "select version, description, success from _sqlx_migrations order by version";
    let rows = sqlx::query(sql).fetch_all(connection).await.map_err(|e| match e {
        // No such table.
        sqlx::Error::Database(e) if e.code().is_some_and(|code| code == "42S02") => {
            Error::NotReady("the schema is missing: run `ws-ingest migrate`".into())
        }
        e => error(e),
    })?;
    let applied = |row: sqlx::mysql::MySqlRow| {
        Ok(Applied {
            version: row.try_get("version").map_err(error)?,
            description: row.try_get("description").map_err(error)?,
            done: row.try_get("success").map_err(error)?,
        })
    };
    fits(&MIGRATIONS, &rows.into_iter().map(applied).collect::<Result<Vec<_>, Error>>()?)
}

/// Gives `rights`, table by table, to `user` if there is one.
async fn grant(connection: &mut MySqlConnection, rights: &[&str], user: Option<&str>) -> Result<(), Error> {
    if let Some(account) = user.map(account).transpose()? {
        for right in rights {
            run(connection, format!("grant {right} to {account}")).await?;
        }
    }
    Ok(())
}

/// `name` as an account on any host, quoted; names are checked, not escaped.
fn account(name: &str) -> Result<String, Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || !name.chars().all(plain) {
        return Err(Error::NotReady(format!("{name:?} cannot be a database user's name")));
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
