//! Every statement of `SQLite`: one file, one writer at a time, any number of readers and processes.

mod migrate;
mod reader;
mod scanner;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Row as _, SqliteConnection};

use crate::Error;
use crate::engine::{Engine, Session};
use crate::entry::{Key, Rev};
use crate::plan::{Held, Row, Stored};
use crate::shapes::{SHAPES, Texts, filled, list, pad, padded};
use crate::store::{BadUrl, KEYS_PER_SELECT_MAX, QUERY_TIMEOUT};

pub(crate) use reader::SqliteReader;
pub(crate) use scanner::SqliteScanner;

/// The clock of the machine in microseconds: all processes on a local file share it.
const NOW: &str = "cast(unixepoch('subsec') * 1000000 as integer)";

/// A database file on a local disk; network file systems are not supported.
#[derive(Debug, Clone)]
pub(crate) struct Sqlite {
    path: PathBuf,
    options: SqliteConnectOptions,
}

/// One connection for writes.
#[derive(Debug)]
pub(crate) struct SqliteSession {
    connection: SqliteConnection,
    held: Texts,
    insert: Texts,
    upsert: Texts,
}

impl Sqlite {
    pub(crate) fn new(url: &str) -> Result<Self, BadUrl> {
        let path = url.trim_start_matches("sqlite://").split('?').next().unwrap_or_default();
        if path.is_empty() || path.contains(":memory:") {
            return Err(BadUrl("names no file: sqlite://path/to/file.db".into()));
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(QUERY_TIMEOUT / 2)
            .statement_cache_capacity(2 * SHAPES + 64)
            .disable_statement_logging();
        Ok(Self { path: path.into(), options })
    }

    async fn open(&self) -> Result<SqliteConnection, Error> {
        let existing = self.options.clone().create_if_missing(false);
        let mut connection = existing.connect().await.map_err(error)?;
        migrate::check(&mut connection).await?;
        Ok(connection)
    }

    pub(crate) async fn reader(&self) -> Result<SqliteReader, Error> {
        Ok(SqliteReader::new(self.open().await?))
    }
}

impl Engine for Sqlite {
    type Session = SqliteSession;
    /// Nothing survives a connection to a file but its uncommitted transaction, which it takes along.
    type Identity = ();
    const ROUND_TRIPS: bool = false;

    async fn connect(&self) -> Result<SqliteSession, Error> {
        Ok(SqliteSession {
            connection: self.open().await?,
            held: Texts::new(held),
            insert: Texts::new(insert),
            upsert: Texts::new(upsert),
        })
    }

    fn identity(_session: &SqliteSession) {}

    async fn end(_session: &mut SqliteSession, _previous: &()) -> Result<(), Error> {
        Ok(())
    }
}

impl SqliteSession {
    async fn run(&mut self, sql: &'static str) -> Result<(), Error> {
        sqlx::query(sql).execute(&mut self.connection).await.map(drop).map_err(error)
    }

    async fn write(&mut self, upsert: bool, rows: &[Row<'_>]) -> Result<Vec<Stored>, Error> {
        let texts = if upsert { &mut self.upsert } else { &mut self.insert };
        let sql = texts.of(rows.len());
        let mut arguments = SqliteArguments::default();
        for row in rows {
            bind(&mut arguments, row.key.as_str().as_bytes().to_vec())?;
            bind(&mut arguments, row.value.as_str().as_bytes().to_vec())?;
            bind(&mut arguments, signed(row.rev)?)?;
        }
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
        let returned = query.fetch_all(&mut self.connection).await.map_err(error)?;
        // The order of RETURNING is not promised; that of the keys is known.
        let mut found: Vec<(&[u8], Stored)> = Vec::with_capacity(returned.len());
        for row in &returned {
            let stored = Stored {
                rev: unsigned(row.try_get_unchecked(1).map_err(error)?)?,
                created: row.try_get_unchecked(2).map_err(error)?,
            };
            found.push((row.try_get_unchecked(0).map_err(error)?, stored));
        }
        found.sort_unstable_by_key(|(key, _)| *key);
        if found.len() != rows.len() {
            return Err(Error::Internal("a row just written was not returned".into()));
        }
        Ok(found.into_iter().map(|(_, stored)| stored).collect())
    }
}

impl Session for SqliteSession {
    async fn register(&mut self, lane: u64) -> Result<(), Error> {
        let sql = "insert into writers (id, seq) values (?, 0) on conflict (id) do nothing";
        let add = sqlx::query(sql).bind(signed(lane)?);
        add.execute(&mut self.connection).await.map(drop).map_err(error)
    }

    async fn fence(&mut self, lane: u64, seq: u64, revs: u64) -> Result<Option<Rev>, Error> {
        self.run("begin immediate").await?;
        let pass = sqlx::query("update writers set seq = ?1 where id = ?2 and seq < ?1");
        let pass = pass.bind(signed(seq)?).bind(signed(lane)?);
        if pass.execute(&mut self.connection).await.map_err(error)?.rows_affected() != 1 {
            return Ok(None);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let sql = "update clock set rev = max(rev + ?1, ?2) where id = 0 returning rev";
        let reserve = sqlx::query_scalar::<_, i64>(sql).bind(signed(revs)?);
        let reserve = reserve.bind(i64::try_from(now).unwrap_or(i64::MAX));
        let last = reserve.fetch_one(&mut self.connection).await.map_err(error)?;
        unsigned(last).map(|last| Some(Rev(last)))
    }

    async fn seq(&mut self, lane: u64) -> Result<Option<u64>, Error> {
        let read = sqlx::query_scalar::<_, i64>("select seq from writers where id = ?");
        let read = read.bind(signed(lane)?).fetch_optional(&mut self.connection);
        read.await.map_err(error)?.map(unsigned).transpose()
    }

    async fn held(&mut self, rows: &[Row<'_>]) -> Result<Vec<Held>, Error> {
        let mut held = Vec::with_capacity(rows.len());
        for rows in rows.chunks(KEYS_PER_SELECT_MAX) {
            let sql = self.held.of(padded(rows.len()));
            let query = sqlx::query_with(AssertSqlSafe(sql), key_list(rows.iter().map(|r| r.key))?);
            let found = query.fetch_all(&mut self.connection).await.map_err(error)?;
            let pair = |row: &sqlx::sqlite::SqliteRow| {
                let key: Vec<u8> = row.try_get_unchecked(0).map_err(error)?;
                Ok((key, unsigned(row.try_get_unchecked(1).map_err(error)?)?))
            };
            let found = found.iter().map(pair).collect::<Result<_, Error>>()?;
            held.extend(Held::of(rows, found));
        }
        Ok(held)
    }

    async fn insert(&mut self, mut rows: &[Row<'_>]) -> Result<(), Error> {
        while !rows.is_empty() {
            let part = &rows[..filled(rows.len())];
            self.write(false, part).await?;
            rows = &rows[part.len()..];
        }
        Ok(())
    }

    async fn upsert(&mut self, mut rows: &[Row<'_>]) -> Result<Vec<Stored>, Error> {
        let mut all = Vec::with_capacity(rows.len());
        while !rows.is_empty() {
            let part = &rows[..filled(rows.len())];
            all.extend(self.write(true, part).await?);
            rows = &rows[part.len()..];
        }
        Ok(all)
    }

    async fn commit(&mut self) -> Result<(), Error> {
        self.run("commit").await
    }

    async fn rollback(&mut self) -> Result<(), Error> {
        // A statement that failed may have ended the transaction; then there is nothing to roll back.
        match self.run("rollback").await {
            Err(Error::Internal(reason)) if reason.contains("no transaction is active") => Ok(()),
            done => done,
        }
    }

    async fn touch(&mut self) -> Result<(), Error> {
        self.run("select 0").await
    }
}

fn held(keys: usize) -> String {
    format!("select k, rev from entries where k in ({}) order by k", list("?", keys))
}

/// Values of `rows` rows: key, value, revision, and the revision again as the one it is born with.
fn values(rows: usize) -> String {
    let row = |at| format!("(?{}, ?{}, ?{}, ?{})", 3 * at + 1, 3 * at + 2, 3 * at + 3, 3 * at + 3);
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

fn insert(rows: usize) -> String {
    let values = values(rows);
    format!("insert into entries (k, v, rev, born) values {values} returning k, rev, born = rev")
}

fn upsert(rows: usize) -> String {
    let values = values(rows);
    format!(
        "insert into entries (k, v, rev, born) values {values} on conflict (k) do update set \
         v = excluded.v, rev = max(excluded.rev, rev + 1), \
         born = iif(expires_at <= {NOW}, max(excluded.rev, rev + 1), born), expires_at = null \
         returning k, rev, born = rev"
    )
}

/// `keys` as arguments, padded to a prepared size by repeating the last.
fn key_list<'a>(keys: impl ExactSizeIterator<Item = &'a Key> + Clone) -> Result<SqliteArguments, Error> {
    let mut arguments = SqliteArguments::default();
    for key in pad(keys) {
        bind(&mut arguments, key.as_str().as_bytes().to_vec())?;
    }
    Ok(arguments)
}

fn bind<'t, T>(arguments: &mut SqliteArguments, value: T) -> Result<(), Error>
where
    T: sqlx::Encode<'t, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    arguments.add(value).map_err(|e| Error::Internal(e.to_string()))
}

fn signed(number: u64) -> Result<i64, Error> {
    i64::try_from(number).map_err(|_| Error::Internal(format!("{number} does not fit a column")))
}

fn unsigned(number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| Error::Internal(format!("{number} in a column of revisions")))
}

/// What an error of the client library means for the caller.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn error(error: sqlx::Error) -> Error {
    let reason = error.to_string();
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .and_then(|c| c.parse::<i32>().ok());
    match code.map(|extended| extended & 0xff) {
        // Busy or locked by another process; an entry that appeared.
        Some(5 | 6 | 19) => Error::Conflict(reason),
        Some(1) => Error::Internal(reason),
        _ => Error::Unavailable(reason),
    }
}
