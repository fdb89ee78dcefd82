//! Connections to `MySQL` and `MariaDB`: session settings, the checks on each new one, error classes.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, MySqlConnection, Row as _};
use url::Url;

use super::MySqlReader;
use crate::engine::clock;
use crate::engine::shapes::SHAPES;
use crate::entry::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::error::{BadUrl, Error};

/// Statements a connection keeps prepared: every size of five kinds of writes, lists and the rest.
const STATEMENTS_MAX: usize = 5 * SHAPES + 64;

/// Set on every connection. Strict, or the server cuts what does not fit; the lock wait ends below
/// the query timeout, or it would look like a lost answer.
const SETTINGS: &str = "set sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
    time_zone = '+00:00', innodb_lock_wait_timeout = 2";

/// A statement of its own: the variable behind it has another name in `MariaDB` 10.11.
const ISOLATION: &str = "set session transaction isolation level read committed";

/// A writer opens its transaction with the fence; a host that dies inside one holds its locks for 30 s.
const WRITER_SETTINGS: &str = "set autocommit = 0, wait_timeout = 30";

/// What fits one TLS record. The client library writes record by record with Nagle's algorithm on, so over TCP a statement
/// of two waits 40 ms for the server's delayed acknowledgement.
const TLS_RECORD_BYTES: usize = 15 * 1024;

const ACCESS_DENIED: u16 = 1045;

/// A server of this family, by its URL.
#[derive(Debug, Clone)]
pub(crate) struct MySql {
    options: MySqlConnectOptions,
    /// They go without TLS because they lead to a Unix socket: nobody can listen in, and encryption takes 7 % of
    /// the rate of writes.
    is_plain: bool,
    unsafe_durability: bool,
}

/// One connection on one start of one server.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) connection: u64,
    server_uuid: Option<String>,
    /// Seconds since 1970, plus or minus one.
    server_started: i64,
}

/// What a new connection found out about its server.
pub(crate) struct Server {
    pub(crate) identity: Identity,
    pub(crate) statement_bytes_max: usize,
}

impl MySql {
    pub(crate) fn new(
        url: &str,
        password: Option<&SecretString>,
        unsafe_durability: bool,
    ) -> Result<Self, BadUrl> {
        let url = Url::parse(url).map_err(|e| BadUrl(format!("is not a URL: {e}")))?;
        if url.path().trim_matches('/').is_empty() {
            return Err(BadUrl("names no schema: mysql://user@host:port/schema".into()));
        }
        let mut options = MySqlConnectOptions::from_url(&url)
            .map_err(|e| BadUrl(format!("cannot be used: {e}")))?
            .statement_cache_capacity(STATEMENTS_MAX)
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .timezone(None)
            .disable_statement_logging();
        if let Some(password) = password {
            options = options.password(password.expose_secret());
        }
        let is_plain =
            options.get_socket().is_some() && !url.query_pairs().any(|(name, _)| name.starts_with("ssl"));
        if is_plain {
            options = options.ssl_mode(MySqlSslMode::Disabled);
        }
        Ok(Self { options, is_plain, unsafe_durability })
    }

    /// A connection with nothing but its settings, for migrations.
    pub(crate) async fn open_unchecked(&self) -> Result<MySqlConnection, Error> {
        let mut connection = self.login().await.map_err(error)?;
        for setting in [SETTINGS, ISOLATION] {
            sqlx::raw_sql(setting).execute(&mut connection).await.map_err(error)?;
        }
        Ok(connection)
    }

    /// Without TLS this client library can only show a password that the server has seen since its start, so a login
    /// that is denied is tried once with TLS.
    async fn login(&self) -> sqlx::Result<MySqlConnection> {
        match self.options.connect().await {
            Err(denied) if self.is_plain && number(&denied) == Some(ACCESS_DENIED) => {
                let encrypted = self.options.clone().ssl_mode(MySqlSslMode::Required);
                let encrypted = match encrypted.connect().await {
                    // A server without TLS: what it said first is the reason.
                    Err(sqlx::Error::Tls(_)) => return Err(denied),
                    encrypted => encrypted?,
                };
                match self.options.connect().await {
                    Ok(plain) => {
                        close(encrypted).await;
                        Ok(plain)
                    }
                    // An account that requires TLS.
                    Err(_) => Ok(encrypted),
                }
            }
            connected => connected,
        }
    }

    /// A connection whose server was found durable and whose schema fits.
    pub(crate) async fn open(&self, writes: bool) -> Result<(MySqlConnection, Server), Error> {
        let mut connection = self.open_unchecked().await?;
        super::migrate::check(&mut connection).await?;
        let server = self.inspect(&mut connection).await?;
        if writes {
            sqlx::raw_sql(WRITER_SETTINGS).execute(&mut connection).await.map_err(error)?;
        }
        Ok((connection, server))
    }

    pub(crate) async fn reader(&self) -> Result<MySqlReader, Error> {
        Ok(MySqlReader::new(self.open(false).await?.0))
    }

    async fn inspect(&self, connection: &mut MySqlConnection) -> Result<Server, Error> {
        // sleep comes first: with --sysdate-is-now the two clocks would still be equal.
        let sql = "select sleep(0.001), @@log_bin + 0, @@sync_binlog + 0, \
            @@innodb_flush_log_at_trx_commit + 0, cast(@@max_allowed_packet as signed), \
            cast(connection_id() as signed), sysdate(6) > now(6)";
        let row = sqlx::query(sql).fetch_one(&mut *connection).await.map_err(error)?;
        let number = |at: usize| {
            let number: i64 = row.try_get_unchecked(at).map_err(error)?;
            u64::try_from(number)
                .map_err(|_| Error::Internal(format!("the server gave {number} for a number of things")))
        };

        let durable = (number(1)?, number(2)?, number(3)?) == (1, 1, 1);
        self.judge(durable, "it may lose acknowledged writes: log_bin, sync_binlog and innodb_flush_log_at_trx_commit must all be 1")?;
        self.judge(number(6)? == 1, "it runs with --sysdate-is-now, which makes expiry inexact")?;

        // Saturates where a usize has 32 bits: a packet of 4 GiB is as good as a larger one.
        let packet = usize::try_from(number(4)?).unwrap_or(usize::MAX);
        if packet / 4 < KEY_BYTES_MAX + VALUE_BYTES_MAX + 4096 {
            let reason = format!("max_allowed_packet is {packet} bytes; at least 8 MiB are needed");
            return Err(Error::NotReady(reason));
        }
        // A row by itself may be longer, up to what was just checked.
        let over_tcp = self.options.get_socket().is_none();
        let statement_bytes_max = if over_tcp { TLS_RECORD_BYTES } else { packet / 4 };
        let identity = Identity::read(connection, number(5)?).await?;
        Ok(Server { identity, statement_bytes_max })
    }

    fn judge(&self, fine: bool, otherwise: &str) -> Result<(), Error> {
        if fine {
            return Ok(());
        }
        if self.unsafe_durability {
            tracing::warn!("THE DATABASE IS NOT SAFE AND IS USED ALL THE SAME: {otherwise}");
            return Ok(());
        }
        Err(Error::NotReady(otherwise.into()))
    }
}

impl Identity {
    async fn read(connection: &mut MySqlConnection, id: u64) -> Result<Self, Error> {
        let shown = |sql: &'static str| sqlx::query(sql);
        let uuid = shown("show global variables like 'server_uuid'");
        let uuid = uuid.fetch_optional(&mut *connection).await.map_err(error)?;
        let uptime = shown("show global status like 'Uptime'");
        let uptime = uptime.fetch_one(&mut *connection).await.map_err(error)?;
        let uptime: u32 = uptime
            .try_get_unchecked::<String, _>(1)
            .map_err(error)?
            .parse()
            .map_err(|_| Error::Internal("an uptime that is no number".into()))?;
        let now = i64::try_from(clock::now()? / 1_000_000).expect("a millionth of 64 bits fits 63");
        Ok(Self {
            connection: id,
            server_uuid: uuid.map(|row| row.try_get_unchecked(1)).transpose().map_err(error)?,
            server_started: now - i64::from(uptime),
        })
    }

    /// Whether `previous` was another connection on this very start of this very server.
    pub(crate) fn is_successor_of(&self, previous: &Self) -> bool {
        self.connection != previous.connection
            && self.server_uuid == previous.server_uuid
            && self.server_started.abs_diff(previous.server_started) <= 1
    }
}

/// What an error of the client library means for the caller.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(crate) fn error(error: sqlx::Error) -> Error {
    let reason = error.to_string();
    match number(&error) {
        // A duplicate of a row found absent, a lock wait that ended, a deadlock, no such thread to kill.
        Some(1062 | 1205 | 1213 | 1094) => Error::Conflict(reason),
        _ => match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_) => {
                Error::Internal(reason)
            }
            _ => Error::Unavailable(reason),
        },
    }
}

/// The server's own number of an error.
fn number(error: &sqlx::Error) -> Option<u16> {
    error.as_database_error()?.try_downcast_ref().map(MySqlDatabaseError::number)
}

/// Closes a connection politely; that it fails is no matter, the server notices.
pub(crate) async fn close(connection: MySqlConnection) {
    let closed = tokio::time::timeout(Duration::from_secs(1), connection.close()).await;
    if !matches!(closed, Ok(Ok(()))) {
        tracing::debug!("the server did not wait for the goodbye");
    }
}

/// Runs one statement that cannot be prepared; `sql` is made of checked names only.
pub(crate) async fn run(connection: &mut MySqlConnection, sql: String) -> Result<(), Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop).map_err(error)
}
