//! Connections to `MySQL` and `MariaDB`: session settings, and the checks on each new one.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{ConnectOptions, Connection, MySqlConnection, Row as _};
use url::Url;

use super::error::{classify, number};
use super::{migrate, text};
use crate::engine::clock::{self, StoreClock};
use crate::engine::shapes::SHAPES;
use crate::entry::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::error::{BadUrl, Error};

/// How many statements a connection keeps prepared: every size of five kinds of writes, and the rest.
const STATEMENTS_MAX: usize = 5 * SHAPES + 64;

/// The longest statement over TCP, so that it fits one TLS record. The client library sends record by record with Nagle's algorithm
/// on, so the second record of a statement waits 40 ms for a delayed acknowledgement of the server.
const TLS_RECORD_BYTES: usize = 15 * 1024;

const ACCESS_DENIED: u16 = 1045;

/// A server, by its URL.
#[derive(Debug, Clone)]
pub(crate) struct MySql {
    options: MySqlConnectOptions,
    /// Whether connections go without TLS because they use a Unix socket. Nobody can listen in there, and encryption costs 7 % of
    /// the rate of writes.
    is_plain: bool,
    unsafe_durability: bool,
    /// The time of the store, for all connections.
    pub(super) clock: StoreClock,
}

/// A connection of one start of a server.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) connection: u64,
    server_uuid: Option<String>,
    /// When the server started, in seconds since 1970, exact to one second.
    server_started: i64,
}

/// What the checks of a new connection found.
pub(crate) struct ServerFacts {
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
            return Err(BadUrl("must name a schema, as in mysql://user@host:port/schema".into()));
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
        Ok(Self { options, is_plain, unsafe_durability, clock: StoreClock::new() })
    }

    /// A connection with its settings but without checks, for migrations.
    pub(crate) async fn open_unchecked(&self) -> Result<MySqlConnection, Error> {
        let mut connection = self.login().await.map_err(classify)?;
        for setting in [text::SETTINGS, text::READ_COMMITTED] {
            sqlx::raw_sql(setting).execute(&mut connection).await.map_err(classify)?;
        }
        Ok(connection)
    }

    /// Logs in. Without TLS, the client library can log in only if the server has the password in its cache, since an earlier login
    /// with TLS. So a login that is denied is tried once with TLS.
    async fn login(&self) -> sqlx::Result<MySqlConnection> {
        match self.options.connect().await {
            Err(denied) if self.is_plain && number(&denied) == Some(ACCESS_DENIED) => {
                let encrypted = self.options.clone().ssl_mode(MySqlSslMode::Required);
                let encrypted = match encrypted.connect().await {
                    // The server has no TLS: the first error is the reason.
                    Err(sqlx::Error::Tls(_)) => return Err(denied),
                    encrypted => encrypted?,
                };
                match self.options.connect().await {
                    Ok(plain) => {
                        close(encrypted).await;
                        Ok(plain)
                    }
                    // The account requires TLS.
                    Err(_) => Ok(encrypted),
                }
            }
            connected => connected,
        }
    }

    /// A connection to a server that is durable and whose schema fits.
    pub(crate) async fn open(&self, writes: bool) -> Result<(MySqlConnection, ServerFacts), Error> {
        let mut connection = self.open_unchecked().await?;
        migrate::check(&mut connection).await?;
        super::clock::sample(&mut connection, &self.clock).await?;
        let server = self.inspect(&mut connection).await?;
        if writes {
            sqlx::raw_sql(text::WRITER_SETTINGS).execute(&mut connection).await.map_err(classify)?;
        }
        Ok((connection, server))
    }

    async fn inspect(&self, connection: &mut MySqlConnection) -> Result<ServerFacts, Error> {
        let row = sqlx::query(text::INSPECT).fetch_one(&mut *connection).await.map_err(classify)?;
        let number = |at: usize| {
            let number: i64 = row.try_get_unchecked(at).map_err(classify)?;
            u64::try_from(number).map_err(|_| {
                Error::Internal(
                    format!("the server returned {number} for a number that cannot be negative").into(),
                )
            })
        };

        let durable = (number(1)?, number(2)?, number(3)?, number(7)?) == (1, 1, 1, 1);
        self.judge(durable, "it may lose acknowledged writes: log_bin, sync_binlog, innodb_flush_log_at_trx_commit and sql_log_bin must all be 1")?;
        self.judge(number(6)? == 1, "it runs with --sysdate-is-now, which makes expiry inexact")?;

        // Saturates where usize has 32 bits: a packet of 4 GiB is as good as a larger one.
        let packet = usize::try_from(number(4)?).unwrap_or(usize::MAX);
        if packet / 4 < KEY_BYTES_MAX + VALUE_BYTES_MAX + 4096 {
            let reason = format!("max_allowed_packet is {packet} bytes; at least 8 MiB are needed");
            return Err(Error::NotReady(reason.into()));
        }
        // A statement of one row may be longer: `max_allowed_packet` has room for the largest row.
        let over_tcp = self.options.get_socket().is_none();
        let statement_bytes_max = if over_tcp { TLS_RECORD_BYTES } else { packet / 4 };
        let identity = Identity::read(connection, number(5)?).await?;
        Ok(ServerFacts { identity, statement_bytes_max })
    }

    /// An error with the text `otherwise` unless `is_fine`; only a warning if unsafe durability is allowed.
    fn judge(&self, is_fine: bool, otherwise: &'static str) -> Result<(), Error> {
        if is_fine {
            return Ok(());
        }
        if self.unsafe_durability {
            tracing::warn!(
                "THE DATABASE IS NOT SAFE, BUT IS USED BECAUSE UNSAFE DURABILITY IS ALLOWED: {otherwise}"
            );
            return Ok(());
        }
        Err(Error::NotReady(otherwise.into()))
    }
}

impl Identity {
    async fn read(connection: &mut MySqlConnection, id: u64) -> Result<Self, Error> {
        let uuid = sqlx::query(text::SERVER_UUID).fetch_optional(&mut *connection).await.map_err(classify)?;
        let uptime = sqlx::query(text::UPTIME).fetch_one(&mut *connection).await.map_err(classify)?;
        let uptime: u32 = uptime
            .try_get_unchecked::<String, _>(1)
            .map_err(classify)?
            .parse()
            .map_err(|_| Error::Internal("the uptime of the server is not a number".into()))?;
        let now = i64::try_from(clock::now()? / 1_000_000).expect("a millionth of 64 bits fits 63");
        Ok(Self {
            connection: id,
            server_uuid: uuid.map(|row| row.try_get_unchecked(1)).transpose().map_err(classify)?,
            server_started: now - i64::from(uptime),
        })
    }

    /// Whether `previous` was another connection of the same start of the same server.
    pub(crate) fn is_successor_of(&self, previous: &Self) -> bool {
        self.connection != previous.connection
            && self.server_uuid == previous.server_uuid
            && self.server_started.abs_diff(previous.server_started) <= 1
    }
}

/// Closes a connection and tells the server. A failure does not matter, because the server notices the end by itself.
pub(crate) async fn close(connection: MySqlConnection) {
    let closed = tokio::time::timeout(Duration::from_secs(1), connection.close()).await;
    if !matches!(closed, Ok(Ok(()))) {
        tracing::debug!("the connection could not be closed properly");
    }
}
