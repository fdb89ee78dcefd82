//! Where a running pair is.

use url::Url;

/// Where to read.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Place {
    /// Where the pair is
    #[arg(long, env = "KEYWIRE_URL", value_name = "URL", default_value = "http://127.0.0.1:8000", value_parser = origin)]
    pub(crate) url: Url,
}

/// Where to read and where to write.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Pair {
    #[command(flatten)]
    pub(crate) read: Place,

    /// Where to write, if that is another port
    #[arg(long, env = "KEYWIRE_WRITE_URL", value_name = "URL", value_parser = origin)]
    write_url: Option<Url>,
}

impl Pair {
    /// Where reads go.
    pub(crate) fn read_url(&self) -> &Url {
        &self.read.url
    }

    /// Where writes go.
    pub(crate) fn write_url(&self) -> &Url {
        self.write_url.as_ref().unwrap_or(&self.read.url)
    }
}

fn origin(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("not a URL: {e}"))?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if url.scheme() != "http" || url.host_str().is_none() || !url.username().is_empty() || !bare {
        return Err("must be http://HOST:PORT".into());
    }
    Ok(url)
}
