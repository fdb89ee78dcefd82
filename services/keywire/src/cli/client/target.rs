//! The server that a command connects to, and the credentials for it.

use std::path::Path;

use chassis::config::path::check_path;
use chassis::config::read_secret;
use hyper::header::HeaderValue;
use secrecy::ExposeSecret as _;
use url::Url;

use super::roots::Roots;

/// Options of a command that only reads.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ReadTargetArgs {
    /// Base URL of the server; behind a proxy it may have a path
    #[arg(long, env = "KEYWIRE_URL", value_name = "URL", default_value = "http://127.0.0.1:8000", value_parser = base_url)]
    url: Url,

    /// File with the access token, if the server requires one
    #[arg(long = "token-file", env = "KEYWIRE_TOKEN_FILE", value_name = "FILE", value_parser = bearer)]
    bearer: Option<HeaderValue>,

    /// CA certificates to trust, or the server's own certificate (PEM); default: the public CAs
    #[arg(long = "ca-file", env = "KEYWIRE_CA_FILE", value_name = "FILE", value_parser = Roots::read)]
    roots: Option<Roots>,
}

/// Options of a command that writes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TargetArgs {
    #[command(flatten)]
    read: ReadTargetArgs,

    /// Base URL for writes, if it differs from the URL for reads
    #[arg(long, env = "KEYWIRE_WRITE_URL", value_name = "URL", value_parser = base_url)]
    write_url: Option<Url>,
}

/// A server to connect to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) url: &'a Url,
    /// The value of the header `Authorization`.
    pub(crate) bearer: Option<&'a HeaderValue>,
    /// The CAs to trust; `None` means the public CAs.
    pub(crate) roots: Option<&'a Roots>,
}

impl Target<'_> {
    /// The path of a request: `path` below the path of the URL.
    pub(crate) fn path(self, path: &str) -> String {
        self.url.path().trim_end_matches('/').to_owned() + path
    }
}

impl ReadTargetArgs {
    /// The server of reads.
    pub(crate) fn read_target(&self) -> Target<'_> {
        Target { url: &self.url, bearer: self.bearer.as_ref(), roots: self.roots.as_ref() }
    }
}

impl TargetArgs {
    /// The server of reads.
    pub(crate) fn read_target(&self) -> Target<'_> {
        self.read.read_target()
    }

    /// The server of writes.
    pub(crate) fn write_target(&self) -> Target<'_> {
        let read = self.read.read_target();
        Target { url: self.write_url.as_ref().unwrap_or(read.url), ..read }
    }
}

/// The value of `Authorization` with the token in the file at `path`. Its debug form hides the token.
fn bearer(path: &str) -> Result<HeaderValue, String> {
    check_path(path)?;
    let token = read_secret(Path::new(path)).map_err(|error| error.to_string())?;
    let value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()));
    let mut value = value.map_err(|_| format!("{path} does not contain a token"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Parses a URL that consists of scheme, host, port and maybe a path.
fn base_url(text: &str) -> Result<Url, String> {
    check_path(text)?;
    let form = "must be http://HOST:PORT or https://HOST:PORT, with a path or without";
    let url = Url::parse(text).map_err(|_| form)?;
    let is_bare = url.query().is_none() && url.fragment().is_none();
    let has_login = !url.username().is_empty() || url.password().is_some();
    let is_known = matches!(url.scheme(), "http" | "https");
    if !is_known || url.host_str().is_none() || has_login || !is_bare {
        return Err(form.into());
    }
    Ok(url)
}
