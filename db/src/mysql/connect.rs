//! Connections to `MySQL` and `MariaDB`: session settings, and the checks on each new one.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{ConnectOptions, Connection, MySqlConnection, Row as _};

use super::error::{classify, number};
use super::server_check::{FailedChecks, ServerChecker};
use super::url::{self, ServerUrl};
use super::{durability, text};
use crate::engine::clock::StoreClock;
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
    clock: StoreClock,
    /// For all connections, too.
    failed_checks: FailedChecks,
}

/// A connection of one start of a server.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) connection: u64,
    server_uuid: Option<String>,
    /// When the server started by its own clock, in seconds since 1970, exact to one second. `None`: unknown.
    server_started: Option<i64>,
}

/// What the checks of a new connection found.
pub(crate) struct ServerFacts {
    pub(super) checker: ServerChecker,
    pub(crate) statement_bytes_max: usize,
}

impl MySql {
    pub(crate) fn new(
        url: &str,
        password: Option<&SecretString>,
        unsafe_durability: bool,
    ) -> Result<Self, BadUrl> {
        let ServerUrl { options, names_tls } = url::parse(url)?;
        let mut options = options
            .statement_cache_capacity(STATEMENTS_MAX)
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .timezone(None)
            .disable_statement_logging();
        if let Some(password) = password {
            options = options.password(password.expose_secret());
        }
        let is_plain = options.get_socket().is_some() && !names_tls;
        if is_plain {
            options = options.ssl_mode(MySqlSslMode::Disabled);
        }
        let (clock, failed_checks) = (StoreClock::new(), FailedChecks::default());
        Ok(Self { options, is_plain, unsafe_durability, clock, failed_checks })
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

    /// A connection to a primary that is durable and whose schema fits.
    pub(crate) async fn open(&self, writes: bool) -> Result<(MySqlConnection, ServerFacts), Error> {
        // One for each table that is not read by every check.
        let statements = if writes {
            let log = text::changes::LOG_CHANGES.to_owned();
            vec![text::upsert_expiring(1), text::REGISTER.to_owned(), text::add_hints(1), log]
        } else {
            vec![text::get(1), text::changes::READS_LOG.to_owned()]
        };
        self.open_for(statements, writes).await
    }

    /// The same, for a connection that follows the log of changes.
    pub(super) async fn open_to_follow(&self) -> Result<(MySqlConnection, ServerFacts), Error> {
        let log = [text::follower::STATE, text::follower::CHANGES].map(str::to_owned);
        self.open_for([vec![text::get(1)], log.into()].concat(), false).await
    }

    /// The same, for a connection that is to send `statements`, or others with the same needs.
    async fn open_for(
        &self,
        statements: Vec<String>,
        writes: bool,
    ) -> Result<(MySqlConnection, ServerFacts), Error> {
        let mut connection = self.open_unchecked().await?;
        let (clock, failed_checks) = (self.clock.clone(), Arc::clone(&self.failed_checks));
        let mut checker = ServerChecker::new(clock, failed_checks, self.unsafe_durability, statements);
        let found = checker.check(&mut connection).await?;
        if !found.is_durable {
            self.judge(false, &durability::reason(&mut connection).await?)?;
        }
        let statement_bytes_max = self.inspect(&mut connection).await?;
        if writes {
            check_log_format(&mut connection).await?;
            sqlx::raw_sql(text::WRITER_SETTINGS).execute(&mut connection).await.map_err(classify)?;
        }
        Ok((connection, ServerFacts { checker, statement_bytes_max }))
    }

    /// Checks what cannot change while the server runs, or what nobody changes by mistake. Returns the most bytes of a statement.
    async fn inspect(&self, connection: &mut MySqlConnection) -> Result<usize, Error> {
        let row = sqlx::query(text::INSPECT).fetch_one(&mut *connection).await.map_err(classify)?;
        let number = |at: usize| row.try_get_unchecked::<i64, _>(at).map_err(classify);
        self.judge(number(2)? == 1, "it runs with --sysdate-is-now, which makes expiry inexact")?;
        let flush_method: String = row.try_get_unchecked(4).map_err(classify)?;
        self.judge(
            number(3)? == 1,
            &format!("it may lose acknowledged writes: innodb_flush_method is {flush_method}, which syncs nothing, and must be fsync or O_DIRECT"),
        )?;
        let redo_log =
            sqlx::query(text::REDO_LOG).fetch_optional(&mut *connection).await.map_err(classify)?;
        let redo_log: Option<String> =
            redo_log.map(|row| row.try_get_unchecked(1)).transpose().map_err(classify)?;
        let is_logged = redo_log.is_none_or(|is_enabled| is_enabled == "ON");
        self.judge(
            is_logged,
            "it may lose acknowledged writes: Innodb_redo_log_enabled is OFF and must be ON: run `alter instance enable innodb redo_log`",
        )?;

        // Saturates where usize has 32 bits: a packet of 4 GiB is as good as a larger one.
        let packet = usize::try_from(number(1)?).unwrap_or(usize::MAX);
        if packet / 4 < KEY_BYTES_MAX + VALUE_BYTES_MAX + 4096 {
            let reason = format!("max_allowed_packet is {packet} bytes; at least 8 MiB are needed");
            return Err(Error::NotReady(reason.into()));
        }
        // A statement of one row may be longer: `max_allowed_packet` has room for the largest row.
        let over_tcp = self.options.get_socket().is_none();
        Ok(if over_tcp { TLS_RECORD_BYTES } else { packet / 4 })
    }

    /// An error with the text `otherwise` unless `is_fine`; only a warning if unsafe durability is allowed.
    fn judge(&self, is_fine: bool, otherwise: &str) -> Result<(), Error> {
        if is_fine {
            return Ok(());
        }
        if self.unsafe_durability {
            tracing::warn!(
                "THE DATABASE IS NOT SAFE, BUT IS USED BECAUSE UNSAFE DURABILITY IS ALLOWED: {otherwise}"
            );
            return Ok(());
        }
        Err(Error::NotReady(otherwise.to_owned().into()))
    }
}

/// Checks that the server can log what this session writes. The format of a session is that of the server when the session began, and
/// only an administrator may change it later.
pub(super) async fn check_log_format(connection: &mut MySqlConnection) -> Result<(), Error> {
    let found = sqlx::query(text::LOGS_STATEMENTS).fetch_optional(connection).await.map_err(classify)?;
    match found {
        None => Ok(()),
        Some(_) => Err(Error::Refused(
            "binlog_format is STATEMENT, and must be ROW or MIXED: run `set global binlog_format = 'ROW'`"
                .into(),
        )),
    }
}

impl Identity {
    pub(super) async fn read(connection: &mut MySqlConnection) -> Result<Self, Error> {
        let row = sqlx::query(text::IDENTITY).fetch_one(&mut *connection).await.map_err(classify)?;
        let uuid = sqlx::query(text::SERVER_UUID).fetch_optional(&mut *connection).await.map_err(classify)?;
        let uptime = sqlx::query(text::UPTIME).fetch_one(&mut *connection).await.map_err(classify)?;
        let uptime: String = uptime.try_get_unchecked(1).map_err(classify)?;
        Ok(Self {
            connection: row.try_get_unchecked(0).map_err(classify)?,
            server_uuid: uuid.map(|row| row.try_get_unchecked(1)).transpose().map_err(classify)?,
            server_started: started(row.try_get_unchecked(1).map_err(classify)?, &uptime),
        })
    }

    /// Whether `previous` was another connection of the same start of the same server. False if a start is not known.
    pub(crate) fn is_successor_of(&self, previous: &Self) -> bool {
        let starts = self.server_started.zip(previous.server_started);
        self.connection != previous.connection
            && self.server_uuid == previous.server_uuid
            && starts.is_some_and(|(own, previous)| own.abs_diff(previous) <= 1)
    }
}

/// When a server started whose clock shows `now`. Both come from the same clock, so the start stays the same if that clock is set.
/// `None` if `uptime` is no number, or if the clock is behind the start: then a server reports 2^64 less the difference.
fn started(now: i64, uptime: &str) -> Option<i64> {
    now.checked_sub_unsigned(uptime.parse().ok()?)
}

/// Closes a connection and tells the server. A failure does not matter, because the server notices the end by itself.
pub(crate) async fn close(connection: MySqlConnection) {
    let closed = tokio::time::timeout(Duration::from_secs(1), connection.close()).await;
    if !matches!(closed, Ok(Ok(()))) {
        tracing::debug!("the connection could not be closed properly");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(connection: u64, server_started: Option<i64>) -> Identity {
        Identity { connection, server_uuid: None, server_started }
    }

    #[test]
    fn a_connection_is_killed_only_on_the_server_start_that_it_was_made_on() {
        let (before, after) =
            (started(1_800_000_000, "3600"), started(1_700_000_100, "18446744073609555216"));
        assert_eq!(before, Some(1_799_996_400));
        assert_eq!(after, None, "the clock was set back to before the start");
        assert_eq!(started(1_800_000_000, "soon"), None);
        assert!(identity(2, before).is_successor_of(&identity(1, before)));
        assert!(identity(2, before).is_successor_of(&identity(1, started(1_900_000_001, "100003600"))));
        assert!(!identity(1, before).is_successor_of(&identity(1, before)), "it would kill itself");
        assert!(!identity(2, before).is_successor_of(&identity(1, started(1_800_000_000, "3000"))));
        assert!(!identity(2, after).is_successor_of(&identity(1, after)), "both are unknown");
    }
}
