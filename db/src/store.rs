//! The store by its URL: one of two engines, opened for reads or for writes.

use secrecy::SecretString;

use crate::engine::Grants;
use crate::engine::shapes::KEYS_PER_SELECT_MAX;
use crate::entry::{Entry, Key};
use crate::error::{BadUrl, Error};
use crate::mysql::{MySql, MySqlReader};
use crate::sqlite::{Sqlite, SqliteReader};
use crate::timeouts::{CONNECT_TIMEOUT, QUERY_TIMEOUT, within};

/// A database by its URL. Nothing is opened until it is asked to read, write or migrate.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) engine: AnyEngine,
}

#[derive(Debug, Clone)]
pub(crate) enum AnyEngine {
    MySql(MySql),
    Sqlite(Sqlite),
}

/// One connection for reads: autocommit, on the primary. Throw it away after an error.
#[derive(Debug)]
pub struct Reader(AnyReader);

#[derive(Debug)]
enum AnyReader {
    MySql(MySqlReader),
    Sqlite(SqliteReader),
}

impl Store {
    /// A store at `mysql://user[:password]@host[:port]/schema` or `sqlite://path`.
    ///
    /// `password` replaces the one in the URL. `unsafe_durability` accepts a database that may lose
    /// acknowledged writes when its machine fails; every such connection is logged as a warning.
    ///
    /// # Errors
    /// [`BadUrl`] names what is wrong, without the password.
    pub fn new(url: &str, password: Option<&SecretString>, unsafe_durability: bool) -> Result<Self, BadUrl> {
        let engine = match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("mysql" | "mariadb") => AnyEngine::MySql(MySql::new(url, password, unsafe_durability)?),
            Some("sqlite") => AnyEngine::Sqlite(Sqlite::new(url)?),
            _ => return Err(BadUrl("must begin with mysql:// or sqlite://".into())),
        };
        Ok(Self { engine })
    }

    /// The name of the engine as `OpenTelemetry` spells it: `mysql` or `sqlite`.
    #[must_use]
    pub fn system(&self) -> &'static str {
        match self.engine {
            AnyEngine::MySql(_) => "mysql",
            AnyEngine::Sqlite(_) => "sqlite",
        }
    }

    /// Brings the schema up to date, then grants. Safe to run by several processes at once.
    ///
    /// # Errors
    /// [`Error`] if the database cannot be reached or refuses.
    pub async fn migrate(&self, grants: &Grants) -> Result<(), Error> {
        match &self.engine {
            AnyEngine::MySql(mysql) => mysql.migrate(grants).await,
            AnyEngine::Sqlite(sqlite) => sqlite.migrate().await,
        }
    }

    /// Opens one connection for reads, checking durability and schema, within 3 seconds.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::NotReady`].
    pub async fn reader(&self) -> Result<Reader, Error> {
        let open = async {
            Ok(Reader(match &self.engine {
                AnyEngine::MySql(mysql) => AnyReader::MySql(mysql.reader().await?),
                AnyEngine::Sqlite(sqlite) => AnyReader::Sqlite(sqlite.reader().await?),
            }))
        };
        within(CONNECT_TIMEOUT, open).await
    }
}

impl Reader {
    /// Reads up to 128 distinct keys by one SELECT and calls `on_entry` for each live one as it arrives.
    ///
    /// Ends within 5 seconds. Not cancel-safe: dropping the future half-way spoils the connection.
    ///
    /// # Errors
    /// After any error the connection must be thrown away; entries given so far are valid.
    ///
    /// # Panics
    /// If there are more keys.
    pub async fn get(&mut self, keys: &[Key], on_entry: impl FnMut(Entry) + Send) -> Result<(), Error> {
        assert!(keys.len() <= KEYS_PER_SELECT_MAX, "more keys than one SELECT takes");
        match &mut self.0 {
            AnyReader::MySql(reader) => within(QUERY_TIMEOUT, reader.get(keys, on_entry)).await,
            AnyReader::Sqlite(reader) => within(QUERY_TIMEOUT, reader.get(keys, on_entry)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[should_panic(expected = "more keys than one SELECT takes")]
    async fn a_reader_takes_as_many_keys_as_one_select() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let url = format!("sqlite://{}", folder.path().join("keys.db").display());
        let store = Store::new(&url, None, false).expect("the URL is valid");
        store.migrate(&Grants::default()).await.expect("the schema can be made");
        let mut reader = store.reader().await.expect("it opens");
        let keys: Vec<Key> = (0..=KEYS_PER_SELECT_MAX)
            .map(|number| Key::new(number.to_string(), 512).expect("short"))
            .collect();
        reader.get(&keys[1..], drop).await.expect("so many it takes");
        let _ = reader.get(&keys, drop).await;
    }
}
