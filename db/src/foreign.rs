//! A table of another program, as the source of an import: text keys with text values, in any `MySQL`, `MariaDB` or `SQLite` database.
//!
//! The table is read once, by one SELECT, into a private copy: a temporary table of `SQLite`, in a file without a name. Only
//! then the rows are used, in byte order. So the other program is held up only while its rows are read, which matters on `SQLite`:
//! while somebody reads, nobody can commit there. And the memory is bounded, whatever the order of the source is.

pub(crate) mod copy;
mod mysql;
mod row;
mod sqlite;
mod text;

use std::path::Path;

use secrecy::SecretString;

use crate::engine::any::{Any, AnyEngine};
use crate::error::{BadUrl, Error};
use copy::PrivateCopy;

pub use row::{ForeignCell, ForeignEntry, ForeignRow, UnfitRow};

/// The names of a table and of its two columns, as they are in the database. They may contain any character.
#[derive(Debug, Clone)]
pub struct ForeignNames {
    /// The table, or a view.
    pub table: String,
    /// The column with the keys.
    pub key: String,
    /// The column with the values.
    pub value: String,
}

/// A table of another program. It is only read.
#[derive(Debug, Clone)]
pub struct ForeignTable {
    engine: AnyEngine,
    names: ForeignNames,
}

impl ForeignTable {
    /// A table at `mysql://user[:password]@host[:port]/schema` or `sqlite://path`. `password` replaces the one in the URL.
    ///
    /// # Errors
    /// [`BadUrl`] says why the URL cannot be used, without the password.
    pub fn new(url: &str, password: Option<&SecretString>, names: ForeignNames) -> Result<Self, BadUrl> {
        // Nothing is written to the database, so its durability does not matter.
        Ok(Self { engine: AnyEngine::new(url, password, true)?, names })
    }

    /// The file of an `SQLite` database.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.engine {
            Any::MySql(_) => None,
            Any::Sqlite(file) => Some(file.path()),
        }
    }

    /// Reads all rows as they are at one instant.
    ///
    /// Takes as long as the rows need. It fails if the database sends nothing for a minute.
    ///
    /// # Errors
    /// [`Error::NotReady`] if there is no such table or column, or if it cannot hold text. Otherwise the database cannot be
    /// reached, or there is no room for the copy.
    pub async fn copy(&self) -> Result<PrivateCopy, Error> {
        match &self.engine {
            Any::MySql(server) => mysql::copy(server, &self.names).await,
            Any::Sqlite(file) => sqlite::copy(file.path(), &self.names).await,
        }
    }
}
