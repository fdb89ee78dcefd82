//! The configuration that every process shares, and the refusal of an invalid one.

mod collector;
mod command_line;
pub mod file;
pub mod path;
pub mod pem;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::BoolishValueParser;
use secrecy::SecretString;

pub use self::collector::{BadCollector, CollectorArgs};
pub use self::command_line::{parse, usage_error};
use self::file::read_text;
use self::path::file_path;
use crate::access::{Access, BadTokens};
use crate::edge::origin::OriginRule;
use crate::server::ConnectionLimits;
use crate::server::tls::{BadTls, Tls};
use crate::telemetry::{BadAttribute, BadLogFilter, LogFilter, ResourceAttributes};

/// The largest value of an option that is a time in milliseconds: a day. A longer time is probably a mistake, and adding the longest one
/// to the current time would overflow.
pub const TIMEOUT_MS_MAX: u64 = 86_400_000;

/// The options of the public port. Each binary adds the addresses of its ports, whose defaults differ.
#[derive(Debug, Clone, clap::Args)]
pub struct PublicArgs {
    /// Serve everyone, without tokens, on an address that other machines can reach
    #[arg(long, env, value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub allow_anonymous: bool,

    /// File of tokens, made by `keywire token`; with it every request needs a token. /dev/null means no tokens: everyone
    /// has access
    #[arg(long, env, value_parser = file_path())]
    pub tokens_file: Option<PathBuf>,

    /// Certificate of this service and its chain (PEM); the public port then speaks TLS
    #[arg(long, env, value_parser = file_path())]
    pub tls_cert_file: Option<PathBuf>,

    /// Private key of the certificate (PEM)
    #[arg(long, env, value_parser = file_path())]
    pub tls_key_file: Option<PathBuf>,

    /// Rate limit of one connection, in requests and socket operations per second; 0 = none
    #[arg(long, env, default_value_t = 0)]
    pub connection_ops_per_second: u32,

    /// Host names of this service, without ports. Pages under these names may connect. Without tokens, and always on the admin port, a
    /// request for any other name with a dot is a 403
    #[arg(long, env, value_delimiter = ',', default_value = "localhost,127.0.0.1,[::1]")]
    pub public_hosts: Vec<String>,

    /// Origins of other pages that may use this service, such as `https://example.org`, `https://*.example.org` (all subdomains), or
    /// `tauri://localhost` (an app)
    #[arg(long, env, value_delimiter = ',')]
    pub allowed_origins: Vec<String>,

    /// The most open connections, sockets included; further ones are answered 503. Lowered if the limit of open files is too small
    #[arg(long, env, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections_max: u32,

    /// Time limit for the head of a request; an idle connection is closed after the same time
    #[arg(long, env, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=TIMEOUT_MS_MAX))]
    pub header_timeout_ms: u64,

    /// Time limit of the ordered stop, which SIGTERM, SIGINT or SIGHUP begins. It should be at least 3 s longer than
    /// `OP_TIMEOUT_MS`. A process that is not finished in time exits with code 1 within another second
    #[arg(long, env, default_value_t = 15_000, value_parser = clap::value_parser!(u64).range(1..=TIMEOUT_MS_MAX))]
    pub drain_timeout_ms: u64,

    /// Log filter: a level (off, error, warn, info, debug, trace), then `target=level` pairs, as in `info,db=debug`
    #[arg(long, env, default_value = "info")]
    pub log: String,

    /// Options of telemetry.
    #[command(flatten)]
    pub collector: CollectorArgs,
}

/// [`PublicArgs`] after validation.
#[derive(Debug, Clone)]
pub struct Public {
    /// Limits of the connections of the public port.
    pub limits: ConnectionLimits,
    /// Which browser pages may use the public port.
    pub origin: OriginRule,
    /// Who may use the public port, and for which keys.
    pub access: Access,
    /// Certificate and private key of the public port. `None` serves plain HTTP.
    pub tls: Option<Tls>,
    /// Time limit of the ordered stop.
    pub drain_timeout: Duration,
    /// The filter of log lines.
    pub log: LogFilter,
    /// Base URL of the OpenTelemetry collector, if any.
    pub otlp_endpoint: Option<String>,
    /// Name and attributes of the service in telemetry.
    pub attributes: ResourceAttributes,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Other machines can reach the address, there are no tokens, and `ALLOW_ANONYMOUS` is not set.
    #[error(
        "LISTEN_ADDR {0} can be reached from other machines and there are no tokens: set ALLOW_ANONYMOUS=true to serve everyone"
    )]
    NotLoopback(SocketAddr),
    /// The file of tokens is invalid.
    #[error("TOKENS_FILE: {} {reason}", path.display())]
    BadTokens {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: BadTokens,
    },
    /// Only one of the two files is given.
    #[error("TLS_CERT_FILE and TLS_KEY_FILE go together: set both, or none")]
    HalfTls,
    /// The certificate or the private key cannot be used.
    #[error(transparent)]
    BadTls(#[from] BadTls),
    /// An entry of `ALLOWED_ORIGINS` is not an origin as browsers send it. The second text says why.
    #[error("ALLOWED_ORIGINS: {0:?} {1}")]
    BadOrigin(String, String),
    /// An entry of `PUBLIC_HOSTS` is not a host name.
    #[error("PUBLIC_HOSTS: {0:?} is not a host name without a port and without *: list each name")]
    BadHost(String),
    /// Traces would not arrive.
    #[error(transparent)]
    BadCollector(#[from] BadCollector),
    /// The attributes of the service are malformed.
    #[error("OTEL_RESOURCE_ATTRIBUTES: {0}")]
    BadAttributes(#[from] BadAttribute),
    /// `LOG` is not a log filter.
    #[error("LOG: {0}")]
    BadLog(#[from] BadLogFilter),
    /// The file of a secret cannot be read, or is empty.
    #[error("cannot read a secret from {}: {reason}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: io::Error,
    },
}

impl PublicArgs {
    /// Checks the arguments, and reads the files that they name. `listen` is the address of the public port.
    ///
    /// # Errors
    /// The first argument that is invalid.
    pub fn validate(&self, listen: SocketAddr) -> Result<Public, ConfigError> {
        let tls = match (&self.tls_cert_file, &self.tls_key_file) {
            (Some(certificates), Some(key)) => Some(Tls::read(certificates, key)?),
            (None, None) => None,
            _ => return Err(ConfigError::HalfTls),
        };
        let tokens = self.tokens_file.clone();
        let access = tokens.map_or(Ok(Access::default()), |path| {
            Access::read(&path).map_err(|reason| ConfigError::BadTokens { path, reason })
        })?;
        if !listen.ip().is_loopback() && !self.allow_anonymous && !access.is_restricted() {
            return Err(ConfigError::NotLoopback(listen));
        }
        let log = self.log.parse()?;
        let entries = |list: &[String]| -> Vec<String> {
            let trimmed = list.iter().map(|entry| entry.trim().to_owned());
            trimmed.filter(|entry| !entry.is_empty()).collect()
        };
        let allowed = entries(&self.allowed_origins).into_iter();
        let allowed = allowed.map(|entry| entry.parse().map_err(|why| ConfigError::BadOrigin(entry, why)));
        let allowed = allowed.collect::<Result<_, _>>()?;
        let public_hosts = entries(&self.public_hosts);
        if let Some(bad) = public_hosts.iter().find(|host| !is_host(host)) {
            return Err(ConfigError::BadHost(bad.clone()));
        }
        let drain_timeout = Duration::from_millis(self.drain_timeout_ms);
        Ok(Public {
            limits: ConnectionLimits {
                connections_max: self.connections_max as usize,
                header_timeout: Duration::from_millis(self.header_timeout_ms),
                // A quarter is left for what stops after the connections: queue, database, telemetry.
                finish_timeout: drain_timeout / 4 * 3,
                ops_per_second: self.connection_ops_per_second,
                ..ConnectionLimits::default()
            },
            origin: OriginRule { allowed, public_hosts },
            access,
            tls,
            drain_timeout,
            log,
            otlp_endpoint: self.collector.endpoint()?,
            attributes: self.collector.attributes()?,
        })
    }
}

/// Reads the value of an option as the address of a port.
///
/// # Errors
/// It is not an IP address and a port. The text says what is needed.
pub fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "must be an IP address and a port, such as 127.0.0.1:8000, [::1]:8000, or 0.0.0.0:8000 for all addresses of this machine".to_owned()
    })
}

fn is_host(text: &str) -> bool {
    let parsed = text.parse::<http::uri::Authority>();
    // A URL parser allows *, which would match nothing here.
    parsed.is_ok_and(|authority| authority.host() == text) && !text.contains('*')
}

/// Reads a secret from a file. One line end at the end of the file is not part of the secret.
///
/// # Errors
/// The file cannot be read, or is empty.
pub fn read_secret(path: &Path) -> Result<SecretString, ConfigError> {
    let refuse = |reason| ConfigError::Secret { path: path.to_owned(), reason };
    let text = read_text(path).map_err(refuse)?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err(refuse(io::Error::other("it is empty")));
    }
    Ok(SecretString::from(secret))
}

/// The password in `DATABASE_PASSWORD_FILE`, if it is given.
///
/// # Errors
/// One line with the variable, the file and what is wrong with it.
pub fn database_password(file: Option<&Path>) -> Result<Option<SecretString>, String> {
    file.map(read_secret).transpose().map_err(|error| format!("DATABASE_PASSWORD_FILE: {error}"))
}

#[cfg(test)]
mod tests;
