//! Where a running pair is.

use std::path::Path;

use chassis::config::read_secret;
use hyper::header::HeaderValue;
use secrecy::ExposeSecret as _;
use url::Url;

use super::roots::Roots;

/// Where to read.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Place {
    /// Where the pair is
    #[arg(long, env = "KEYWIRE_URL", value_name = "URL", default_value = "http://127.0.0.1:8000", value_parser = origin)]
    url: Url,

    /// File that holds the token to come in with, where one is needed
    #[arg(long = "token-file", env = "KEYWIRE_TOKEN_FILE", value_name = "FILE", value_parser = bearer)]
    bearer: Option<HeaderValue>,

    /// File with the certificates, in PEM, that are to vouch for an https URL; if not given, those that browsers believe
    #[arg(long = "ca-file", env = "KEYWIRE_CA_FILE", value_name = "FILE", value_parser = Roots::read)]
    roots: Option<Roots>,
}

/// One side of a pair, and what lets us in there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) url: &'a Url,
    /// For the header field `Authorization`.
    pub(crate) bearer: Option<&'a HeaderValue>,
    /// Who vouches for it, if it is not who browsers believe.
    pub(crate) roots: Option<&'a Roots>,
}

impl Place {
    /// Where reads go.
    pub(crate) fn side(&self) -> Side<'_> {
        Side { url: &self.url, bearer: self.bearer.as_ref(), roots: self.roots.as_ref() }
    }
}

/// Where to read and where to write.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Pair {
    #[command(flatten)]
    read: Place,

    /// Where to write, if that is another port
    #[arg(long, env = "KEYWIRE_WRITE_URL", value_name = "URL", value_parser = origin)]
    write_url: Option<Url>,
}

impl Pair {
    /// Where reads go.
    pub(crate) fn read_side(&self) -> Side<'_> {
        self.read.side()
    }

    /// Where writes go.
    pub(crate) fn write_side(&self) -> Side<'_> {
        let read = self.read.side();
        Side { url: self.write_url.as_ref().unwrap_or(read.url), ..read }
    }
}

/// The header field that shows the token in the file of this name, and is shown nowhere else.
fn bearer(path: &str) -> Result<HeaderValue, String> {
    let token = read_secret(Path::new(path)).map_err(|error| error.to_string())?;
    let value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()));
    let mut value = value.map_err(|_| format!("{path} holds no token"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn origin(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("not a URL: {e}"))?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let is_known = matches!(url.scheme(), "http" | "https");
    if !is_known || url.host_str().is_none() || !url.username().is_empty() || !bare {
        return Err("must be http://HOST:PORT or https://HOST:PORT".into());
    }
    Ok(url)
}
