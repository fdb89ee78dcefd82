//! Whether the schema of a database fits this program. Both engines have the same rule.

use sqlx::migrate::{Migration, Migrator};

use crate::error::Error;

/// A newer schema fits an older program if the names of all migrations that the program lacks begin with this word.
const COMPATIBLE: &str = "compatible";

/// A migration in the list of the database.
#[derive(Debug)]
pub(crate) struct AppliedMigration {
    pub(crate) version: i64,
    pub(crate) description: String,
    /// False while the migration runs, and after it failed.
    pub(crate) done: bool,
}

/// The migrations `own`, for a database that may have newer ones: that is no error here, because the services decide whether a
/// newer schema fits.
pub(crate) fn migrator(own: impl Iterator<Item = Migration>) -> Migrator {
    let mut migrator = Migrator::with_migrations(own.collect());
    migrator.set_ignore_missing(true);
    migrator
}

/// Checks whether a program with the migrations `needed` can work on a schema with the migrations `applied`.
pub(crate) fn fits(needed: &Migrator, applied: &[AppliedMigration]) -> Result<(), Error> {
    for migration in needed.iter() {
        if !applied.iter().any(|a| a.version == migration.version && a.done) {
            let reason = format!("the schema lacks migration {}: run `ws-ingest migrate`", migration.version);
            return Err(Error::NotReady(reason.into()));
        }
    }
    let newer =
        applied.iter().find(|a| !needed.version_exists(a.version) && !a.description.starts_with(COMPATIBLE));
    match newer {
        Some(AppliedMigration { version, .. }) => {
            let reason = format!(
                "the schema has migration {version}, which this program does not know: upgrade the program"
            );
            Err(Error::NotReady(reason.into()))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static MIGRATIONS: Migrator = sqlx::migrate!("migrations/mysql");

    fn applied(more: &[(i64, &str, bool)]) -> Vec<AppliedMigration> {
        let own = MIGRATIONS.iter().map(|m| (m.version, &*m.description, true));
        let all = own.chain(more.iter().copied());
        all.map(|(version, d, done)| AppliedMigration { version, description: d.into(), done }).collect()
    }

    #[test]
    fn a_schema_fits_if_it_is_complete_and_what_is_newer_is_marked_compatible() {
        assert!(fits(&MIGRATIONS, &applied(&[])).is_ok());
        assert!(fits(&MIGRATIONS, &applied(&[(9999, "compatible index", true)])).is_ok());
        assert!(fits(&MIGRATIONS, &applied(&[(9999, "another layout", true)])).is_err());
        assert!(fits(&MIGRATIONS, &[]).is_err());
        assert!(
            fits(&MIGRATIONS, &[AppliedMigration { version: 1, description: "entries".into(), done: false }])
                .is_err()
        );
    }
}
