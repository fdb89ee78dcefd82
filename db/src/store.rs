//! The store by its URL: one of two engines, opened for reads or for writes.

use std::time::Duration;

use secrecy::SecretString;
use tokio::time::timeout;

use crate::entry::{Entry, Key};
use crate::mysql::{MySql, MySqlReader};
use crate::sqlite::{Sqlite, SqliteReader};

/// The most keys of one SELECT, and so of one [`Reader::get`].
pub(crate) const KEYS_PER_SELECT_MAX: usize = 128;

/// How long opening a connection may take, its checks included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long one statement may take before its connection is given up.
pub(crate) const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the database did not do what it was asked. The text is for the log, never for a client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another writer was in the way; nothing was applied and the same connection may try again.
    #[error("another writer holds the same rows: {0}")]
    Conflict(String),
    /// The database cannot be reached, refuses, or took too long. A new connection may try again.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// The database can be reached, but must not be used as it is set up.
    #[error("database not fit for use: {0}")]
    NotReady(String),
    /// The database holds or answers what it never should.
    #[error("unexpected database content: {0}")]
    Internal(String),
}

/// The database URL cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("DATABASE_URL {0}")]
pub struct BadUrl(pub(crate) String);

/// The database users that [`Store::migrate`] gives exactly the rights their service needs.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// The user of `ws-ingest`; none = no grant.
    pub writer: Option<String>,
    /// The user of `rest-read`; none = no grant.
    pub reader: Option<String>,
}

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

/// `work`, or [`Error::Unavailable`] once `limit` has passed.
pub(crate) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(Error::Unavailable(format!("no answer within {} ms", limit.as_millis()))),
    }
}

/// An entry from the bytes of its columns.
pub(crate) fn entry(key: &[u8], value: &[u8], rev: u64) -> Result<Entry, Error> {
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec())
            .map_err(|_| Error::Internal("a key or value that is not UTF-8".into()))
    };
    let key = Key::new(text(key)?, usize::MAX)
        .map_err(|_| Error::Internal("a key of a length that cannot be".into()))?;
    Ok(Entry { key, value: text(value)?, rev: crate::Rev(rev) })
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
