//! Every statement of `MySQL` and `MariaDB`: one SQL text for both, run as prepared statements of few sizes.

mod connect;
mod migrate;
mod reader;
mod scanner;

use std::sync::Arc;

use sqlx::mysql::{MySqlArguments, MySqlQueryResult};
use sqlx::{Arguments, AssertSqlSafe, MySqlConnection, Row as _};

use crate::Error;
use crate::engine::{Engine, Session};
use crate::entry::{Key, Rev};
use crate::plan::{Held, Row, Stored};
use crate::shapes::{Texts, filled, list, pad, padded};

pub(crate) use connect::MySql;
use connect::{Identity, error};
pub(crate) use reader::MySqlReader;
pub(crate) use scanner::MySqlScanner;

/// The database's clock in microseconds. sysdate is read per row, after its lock; `now()` would be the
/// start of the statement and answer "updated" for an entry that expired while the lock was awaited.
macro_rules! now {
    () => {
        "cast(unix_timestamp(sysdate(6)) * 1000000 as unsigned)"
    };
}
use now;

const FENCE: &str = "update writers set seq = ?, rev = last_insert_id(greatest(rev + ?, \
    cast(unix_timestamp(now(6)) * 1000000 as unsigned))) where id = ? and seq < ?";

/// The bytes of a row beside key and value in an upsert.
const ROW_BYTES: usize = 32;

/// One connection for writes: autocommit off, so the fence opens the transaction.
#[derive(Debug)]
pub(crate) struct MySqlSession {
    connection: MySqlConnection,
    identity: Identity,
    /// What a statement of several rows holds at most.
    statement_bytes_max: usize,
    held: Texts,
    insert: Texts,
    upsert: Texts,
    stored: Texts,
}

impl MySqlSession {
    fn new(connection: MySqlConnection, identity: Identity, statement_bytes_max: usize) -> Self {
        Self {
            connection,
            identity,
            statement_bytes_max,
            held: Texts::new(held),
            insert: Texts::new(insert),
            upsert: Texts::new(upsert),
            stored: Texts::new(stored),
        }
    }

    /// The largest part of `rows` that is one statement: of a prepared size, within the bytes.
    fn one_statement<'r, 'a>(&self, rows: &'r [Row<'a>]) -> &'r [Row<'a>] {
        let mut bytes = 0;
        let fits = |row: &&Row<'_>| {
            bytes += row.key.as_str().len() + row.value.as_str().len() + ROW_BYTES;
            bytes <= self.statement_bytes_max
        };
        let count = rows.iter().take_while(fits).count().max(1);
        &rows[..filled(count)]
    }

    async fn write(&mut self, sql: Arc<str>, rows: &[Row<'_>]) -> Result<MySqlQueryResult, Error> {
        let mut arguments = MySqlArguments::default();
        for row in rows {
            bind(&mut arguments, row.key.as_str().as_bytes())?;
            bind(&mut arguments, row.value.as_str().as_bytes())?;
            bind(&mut arguments, row.rev)?;
            bind(&mut arguments, row.rev)?;
        }
        execute(&mut self.connection, sql, arguments).await
    }

    /// What became of rows of which some were there and some were not.
    async fn read_stored(&mut self, rows: &[Row<'_>]) -> Result<Vec<Stored>, Error> {
        let sql = self.stored.of(padded(rows.len()));
        let keys = rows.iter().map(|row| row.key);
        let query = sqlx::query_with(AssertSqlSafe(sql), key_list(keys)?);
        let found = query.fetch_all(&mut self.connection).await.map_err(error)?;
        if found.len() != rows.len() {
            return Err(Error::Internal("a row just written cannot be read".into()));
        }
        let stored = |row: &sqlx::mysql::MySqlRow| {
            Ok(Stored {
                rev: row.try_get_unchecked(0).map_err(error)?,
                created: row.try_get_unchecked::<i64, _>(1).map_err(error)? != 0,
            })
        };
        found.iter().map(stored).collect()
    }
}

impl Engine for MySql {
    type Session = MySqlSession;
    type Identity = Identity;
    const ROUND_TRIPS: bool = true;

    async fn connect(&self) -> Result<MySqlSession, Error> {
        let (connection, server) = self.open(true).await?;
        Ok(MySqlSession::new(connection, server.identity, server.statement_bytes_max))
    }

    fn identity(session: &MySqlSession) -> Identity {
        session.identity.clone()
    }

    async fn end(session: &mut MySqlSession, previous: &Identity) -> Result<(), Error> {
        if !session.identity.is_successor_of(previous) {
            return Ok(());
        }
        tracing::warn!(connection = previous.connection, "ending the half-dead connection of this lane");
        let kill = AssertSqlSafe(format!("kill {}", previous.connection));
        match sqlx::raw_sql(kill).execute(&mut session.connection).await.map_err(error) {
            // It is gone already.
            Ok(_) | Err(Error::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Session for MySqlSession {
    async fn register(&mut self, lane: u64) -> Result<(), Error> {
        // The answer to an earlier try may have been lost: the row may be there.
        let sql = "insert into writers (id, seq, rev) values (?, 0, 0) on duplicate key update id = id";
        sqlx::query(sql).bind(lane).execute(&mut self.connection).await.map_err(error)?;
        self.commit().await
    }

    async fn fence(&mut self, lane: u64, seq: u64, revs: u64) -> Result<Option<Rev>, Error> {
        let fence = sqlx::query(FENCE).bind(seq).bind(revs).bind(lane).bind(seq);
        let done = fence.execute(&mut self.connection).await.map_err(error)?;
        Ok((done.rows_affected() == 1).then(|| Rev(done.last_insert_id())))
    }

    async fn seq(&mut self, lane: u64) -> Result<Option<u64>, Error> {
        let read = sqlx::query_scalar("select seq from writers where id = ?").bind(lane);
        read.fetch_optional(&mut self.connection).await.map_err(error)
    }

    async fn held(&mut self, rows: &[Row<'_>]) -> Result<Vec<Held>, Error> {
        let mut held = Vec::with_capacity(rows.len());
        for rows in rows.chunks(crate::store::KEYS_PER_SELECT_MAX) {
            let sql = self.held.of(padded(rows.len()));
            let query = sqlx::query_with(AssertSqlSafe(sql), key_list(rows.iter().map(|r| r.key))?);
            let found = query.fetch_all(&mut self.connection).await.map_err(error)?;
            let pair = |row: &sqlx::mysql::MySqlRow| {
                let key: Vec<u8> = row.try_get_unchecked(0).map_err(error)?;
                Ok((key, row.try_get_unchecked(1).map_err(error)?))
            };
            let found = found.iter().map(pair).collect::<Result<_, Error>>()?;
            held.extend(Held::of(rows, found));
        }
        Ok(held)
    }

    async fn insert(&mut self, mut rows: &[Row<'_>]) -> Result<(), Error> {
        while !rows.is_empty() {
            let part = self.one_statement(rows);
            let sql = self.insert.of(part.len());
            self.write(sql, part).await?;
            rows = &rows[part.len()..];
        }
        Ok(())
    }

    async fn upsert(&mut self, mut rows: &[Row<'_>]) -> Result<Vec<Stored>, Error> {
        let mut all = Vec::with_capacity(rows.len());
        while !rows.is_empty() {
            let part = self.one_statement(rows);
            let sql = self.upsert.of(part.len());
            let done = self.write(sql, part).await?;
            // An insert counts 1 and an update 2. A last_insert_id tells that a row had expired or
            // that its revision was ahead of the batch's.
            let as_planned = done.last_insert_id() == 0;
            let affected = usize::try_from(done.rows_affected()).unwrap_or(usize::MAX);
            let stored = |created| part.iter().map(move |row| Stored { rev: row.rev, created });
            if as_planned && affected == part.len() {
                all.extend(stored(true));
            } else if as_planned && affected == 2 * part.len() {
                all.extend(stored(false));
            } else {
                all.extend(self.read_stored(part).await?);
            }
            rows = &rows[part.len()..];
        }
        Ok(all)
    }

    async fn commit(&mut self) -> Result<(), Error> {
        sqlx::query("commit").execute(&mut self.connection).await.map(drop).map_err(error)
    }

    async fn rollback(&mut self) -> Result<(), Error> {
        sqlx::query("rollback").execute(&mut self.connection).await.map(drop).map_err(error)
    }

    async fn touch(&mut self) -> Result<(), Error> {
        sqlx::query("do 0").execute(&mut self.connection).await.map_err(error)?;
        self.commit().await
    }
}

fn held(keys: usize) -> String {
    format!("select k, rev from entries where k in ({}) order by k for update", list("?", keys))
}

/// Whether each row was created by this batch: an entry's first revision is the one it was born with.
fn stored(keys: usize) -> String {
    format!("select rev, born = rev from entries where k in ({}) order by k", list("?", keys))
}

fn insert(rows: usize) -> String {
    format!("insert into entries (k, v, rev, born) values {}", list("(?, ?, ?, ?)", rows))
}

/// The assignments run in this order, each seeing the ones before it.
fn upsert(rows: usize) -> String {
    format!(
        concat!(
            "{} on duplicate key update v = values(v), ",
            "born = if(expires_at <= ",
            now!(),
            ", last_insert_id(greatest(values(rev), rev + 1)), born), ",
            "rev = if(rev >= values(rev), last_insert_id(rev + 1), values(rev)), ",
            "expires_at = values(expires_at)"
        ),
        insert(rows)
    )
}

/// `keys` as arguments, padded to a prepared size by repeating the last.
fn key_list<'a>(keys: impl ExactSizeIterator<Item = &'a Key> + Clone) -> Result<MySqlArguments, Error> {
    let mut arguments = MySqlArguments::default();
    for key in pad(keys) {
        bind(&mut arguments, key.as_str().as_bytes())?;
    }
    Ok(arguments)
}

fn bind<'t, T>(arguments: &mut MySqlArguments, value: T) -> Result<(), Error>
where
    T: sqlx::Encode<'t, sqlx::MySql> + sqlx::Type<sqlx::MySql>,
{
    arguments.add(value).map_err(|e| Error::Internal(e.to_string()))
}

async fn execute(
    connection: &mut MySqlConnection,
    sql: Arc<str>,
    arguments: MySqlArguments,
) -> Result<MySqlQueryResult, Error> {
    sqlx::query_with(AssertSqlSafe(sql), arguments).execute(connection).await.map_err(error)
}
