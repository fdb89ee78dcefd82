//! The store by its URL, and connections for gets.

use std::ops::ControlFlow;
use std::time::Duration;

use secrecy::SecretString;

use crate::engine::any::{AnyEngine, AnyReader, dispatch};
use crate::engine::shapes::KEYS_PER_SELECT_MAX;
use crate::engine::{DatabaseUsers, Engine, ReadSession as _, WriteEngine};
use crate::entry::{Entry, Key};
use crate::error::{BadUrl, Error};
use crate::fence::fresh_id;
use crate::outage::OutageLog;
use crate::row::RowError;
use crate::timeouts::{CONNECT_TIMEOUT, QUERY_TIMEOUT, within};

/// A database by its URL. To make one opens no connection.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) engine: AnyEngine,
    /// The log of outages that lanes and the sweeper meet.
    pub(crate) write_outages: OutageLog,
    /// The log of outages that readers and scanners meet.
    read_outages: OutageLog,
}

/// One connection for gets: autocommit, on the primary. Drop it after an error.
#[derive(Debug)]
pub struct Reader(AnyReader);

impl Store {
    /// A store at `mysql://user[:password]@host[:port]/schema` or `sqlite://path`.
    ///
    /// `password` replaces the one in the URL. `unsafe_durability` accepts a database that may lose
    /// acknowledged writes when its machine fails; every such connection is logged as a warning.
    ///
    /// # Errors
    /// [`BadUrl`] says why the URL cannot be used, without the password.
    pub fn new(url: &str, password: Option<&SecretString>, unsafe_durability: bool) -> Result<Self, BadUrl> {
        Ok(Self {
            engine: AnyEngine::new(url, password, unsafe_durability)?,
            write_outages: OutageLog::new("write"),
            read_outages: OutageLog::new("read"),
        })
    }

    /// The name of the engine as `OpenTelemetry` spells it: `mysql` or `sqlite`.
    #[must_use]
    pub fn system(&self) -> &'static str {
        self.engine.system()
    }

    /// The log of outages that reads meet. Each task that reads reports its failures and its successes to it.
    #[must_use]
    pub fn read_outages(&self) -> &OutageLog {
        &self.read_outages
    }

    /// Brings the schema up to date, then gives `users` their rights. Several processes may do so at once.
    ///
    /// # Errors
    /// [`Error`] if the database cannot be reached or refuses.
    pub async fn migrate(&self, users: &DatabaseUsers) -> Result<(), Error> {
        dispatch!(&self.engine, engine => engine.migrate(users).await)
    }

    /// Gives the store another random id. To be called after a restore from a backup and before any service starts: cursors of watches from before
    /// the restore are void then, so whoever resumes a watch gets a new snapshot. Without it, a watch could go on from a state that is gone.
    ///
    /// # Errors
    /// [`Error`] if the database cannot be reached or refuses.
    pub async fn mark_restored(&self) -> Result<(), Error> {
        let id = fresh_id(&mut rand::rng());
        dispatch!(&self.engine, engine => engine.set_store_id(id).await)
    }

    /// How long a connection may be idle before a read checks it.
    #[must_use]
    pub fn idle_max(&self) -> Duration {
        fn of<E: WriteEngine>(_engine: &E) -> Duration {
            E::IDLE_MAX
        }
        dispatch!(&self.engine, engine => of(engine))
    }

    /// Waits until the database has closed every connection of this process. Connections that were dropped are closed by tasks of
    /// their own, and the last one on an `SQLite` file has work to do: it writes the log into the file.
    pub async fn wait_closed(&self) {
        // Boxed, because it may open a connection, and the future of a process that serves would hold that for ever.
        dispatch!(&self.engine, engine => Box::pin(Engine::wait_closed(engine)).await);
    }

    /// Opens one connection for gets within 3 seconds. Checks durability and schema.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::NotReady`].
    pub async fn reader(&self) -> Result<Reader, Error> {
        within(CONNECT_TIMEOUT, self.engine.open_reader()).await.map(Reader)
    }
}

impl Reader {
    /// Reads up to 128 distinct keys by one SELECT, and calls `on_row` for each live entry as it arrives, until `on_row`
    /// returns `Break`. A server still sends the remaining rows, and they are ignored. Values of more than `value_bytes_max` bytes are
    /// left out.
    ///
    /// Ends within 5 seconds. Not cancel-safe: after the future is dropped, the reader must be dropped too.
    ///
    /// # Errors
    /// After any error the reader must be dropped. Entries that were given before the error are valid.
    ///
    /// # Panics
    /// If there are more than 128 keys.
    pub async fn get(
        &mut self,
        keys: &[Key],
        value_bytes_max: Option<usize>,
        on_row: impl FnMut(Result<Entry, RowError>) -> ControlFlow<()> + Send,
    ) -> Result<(), Error> {
        assert!(keys.len() <= KEYS_PER_SELECT_MAX, "more keys than one SELECT takes");
        dispatch!(&mut self.0, reader => within(QUERY_TIMEOUT, reader.get(keys, value_bytes_max, on_row)).await)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, SqliteConnection};

    use super::*;

    #[tokio::test]
    async fn a_restored_store_has_another_id_and_a_migration_keeps_it() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let url = format!("sqlite://{}", folder.path().join("id.db").display());
        let store = Store::new(&url, None, false).expect("the URL is valid");
        let id = async || {
            store.migrate(&DatabaseUsers::default()).await.expect("the schema can be made");
            let mut other = SqliteConnection::connect(&url).await.expect("it opens");
            let id = sqlx::query_scalar::<_, i64>("select id from store where one = 0 and floor = 0");
            id.fetch_one(&mut other).await.expect("there is one")
        };
        let first = id().await;
        assert_eq!(id().await, first);
        store.mark_restored().await.expect("it can be changed");
        let second = id().await;
        assert!(first > 0 && second > 0 && first != second, "{first}, {second}");
    }

    #[tokio::test]
    #[should_panic(expected = "more keys than one SELECT takes")]
    async fn a_reader_takes_as_many_keys_as_one_select() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let url = format!("sqlite://{}", folder.path().join("keys.db").display());
        let store = Store::new(&url, None, false).expect("the URL is valid");
        store.migrate(&DatabaseUsers::default()).await.expect("the schema can be made");
        let mut reader = store.reader().await.expect("it opens");
        let keys: Vec<Key> = (0..=KEYS_PER_SELECT_MAX)
            .map(|number| Key::new(number.to_string(), 512).expect("short"))
            .collect();
        reader.get(&keys[1..], None, |_| ControlFlow::Continue(())).await.expect("so many it takes");
        let _ = reader.get(&keys, None, |_| ControlFlow::Continue(())).await;
    }
}
