//! The entries of `ALLOWED_ORIGINS`. An entry is one origin, all subdomains of a domain, or all pages of an app.

use std::str::FromStr;

use url::Url;

const NO_ORIGIN: &str = "is not an origin such as https://example.org";

/// Origins whose pages may use this service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// This origin, exactly as browsers send it.
    Exact(String),
    /// The subdomains of a domain at any depth, without the domain itself: `https://*.example.org`.
    Subdomains {
        /// What precedes the subdomain: `https://`.
        before: String,
        /// What follows the subdomain: `.example.org`, with a port only if it is not the default.
        after: String,
    },
    /// Every page with the scheme of an app: `ionic://`.
    Scheme(String),
}

impl AllowedOrigin {
    /// Whether a page of `origin`, as browsers send it, may use this service.
    pub(super) fn includes(&self, origin: &str) -> bool {
        match self {
            Self::Exact(exact) => origin == exact,
            Self::Subdomains { before, after } => {
                let subdomain =
                    origin.strip_prefix(before.as_str()).and_then(|rest| rest.strip_suffix(after.as_str()));
                subdomain.is_some_and(|subdomain| subdomain.split('.').all(is_label))
            }
            Self::Scheme(scheme) => origin.starts_with(scheme.as_str()),
        }
    }
}

/// Whether `text` can be a label of a host name.
fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

impl FromStr for AllowedOrigin {
    /// What is wrong with the entry, and what to write.
    type Err = String;

    fn from_str(entry: &str) -> Result<Self, String> {
        match entry.split_once("://") {
            Some(("http" | "https", _)) => web_origin(entry),
            Some((scheme @ ("ws" | "wss"), host)) => {
                let page = scheme.replace("ws", "http");
                Err(format!(
                    "is the address of a socket: name the page that opens it, such as {page}://{host}"
                ))
            }
            Some((scheme, host)) if is_app_scheme(scheme) => app_origin(entry, scheme, host),
            Some(_) | None if entry == "*" => Err("would let every page in: list the origins".into()),
            Some(_) | None if entry == "null" => {
                Err("is the origin of every file and sandboxed page, so it cannot be allowed".into())
            }
            Some(_) | None => Err(NO_ORIGIN.into()),
        }
    }
}

/// Parses an origin of the web. Origins are compared as text, so the entry must be written as browsers write it.
fn web_origin(entry: &str) -> Result<AllowedOrigin, String> {
    let concrete = entry.replacen("://*.", "://x.", 1);
    let origin = Url::parse(&concrete).ok().filter(|_| !concrete.contains('*')).map(|url| url.origin());
    let origin = origin.ok_or(if entry.contains('*') {
        "has a * in a wrong place: only the first label of the host can be a *, as in https://*.example.org"
    } else {
        NO_ORIGIN
    })?;
    let written = origin.ascii_serialization();
    if written != concrete {
        let written = if concrete == entry { written } else { written.replacen("://x.", "://*.", 1) };
        return Err(format!("is not as browsers send it: write {written}"));
    }
    match entry.split_once('*') {
        Some((before, after)) => Ok(AllowedOrigin::Subdomains { before: before.into(), after: after.into() }),
        None => Ok(AllowedOrigin::Exact(written)),
    }
}

/// Whether `scheme` can be that of an app or of a browser extension. `file` is excluded, because all files of the user have it.
fn is_app_scheme(scheme: &str) -> bool {
    let is_scheme =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.');
    scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(is_scheme)
        && !matches!(scheme, "file" | "ftp" | "data" | "blob" | "about" | "javascript")
}

/// Parses the origin of an app or of a browser extension: `tauri://localhost`, `chrome-extension://id`.
fn app_origin(entry: &str, scheme: &str, host: &str) -> Result<AllowedOrigin, String> {
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    if host.is_empty() && scheme.ends_with("-extension") {
        return Err(format!("names no extension: add its id, as in {scheme}://id"));
    }
    match host {
        "" => Ok(AllowedOrigin::Scheme(entry.into())),
        _ if host.bytes().all(is_host) => Ok(AllowedOrigin::Exact(entry.into())),
        _ => Err(format!(
            "is not the origin of an app, such as {scheme}://localhost: an origin has no path and no *"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_includes_the_pages_that_it_names_and_no_others() {
        for (entry, page, included) in [
            ("https://app.example", "https://app.example", true),
            ("https://app.example", "https://app.example:444", false),
            ("https://app.example", "http://app.example", false),
            ("http://localhost:3000", "http://localhost:3000", true),
            ("tauri://localhost", "tauri://localhost", true),
            ("tauri://localhost", "tauri://localhost.evil", false),
            ("capacitor://localhost", "capacitor://localhost", true),
            ("ionic://localhost", "ionic://localhost", true),
            ("ionic://", "ionic://localhost", true),
            ("ionic://", "ionic-evil://localhost", false),
            ("app://-", "app://-", true),
            ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop", true),
            ("chrome-extension://abcdefghijklmnop", "chrome-extension://ponmlkjihgfedcba", false),
            ("moz-extension://3f1c4a2e-1b0d", "moz-extension://3f1c4a2e-1b0d", true),
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://a.b-1.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://.example.com", false),
            ("https://*.example.com", "https://a..example.com", false),
            ("https://*.example.com", "https://aexample.com", false),
            ("https://*.example.com", "https://evil.test/.example.com", false),
            ("https://*.example.com", "https://evil.test:1@a.example.com", false),
            ("https://*.example.com", "https://a.example.com.evil.test", false),
            ("https://*.example.com", "https://a.example.com:8443", false),
            ("https://*.example.com", "http://a.example.com", false),
            ("http://*.localhost:3000", "http://app.localhost:3000", true),
        ] {
            let allowed: AllowedOrigin = entry.parse().unwrap_or_else(|why| panic!("{entry} {why}"));
            assert_eq!(allowed.includes(page), included, "{page} by {entry}");
        }
    }

    #[test]
    fn an_entry_that_no_browser_could_match_is_refused_with_what_to_write() {
        for (entry, advice) in [
            ("https://a.example/", "write https://a.example"),
            ("https://a.example:443", "write https://a.example"),
            ("https://A.example", "write https://a.example"),
            ("https://*.A.example/", "write https://*.a.example"),
            ("https://a.example/path", "write https://a.example"),
            ("https://münchen.example", "write https://xn--mnchen-3ya.example"),
            ("wss://a.example", "such as https://a.example"),
            ("ws://a.example:8000", "such as http://a.example:8000"),
            ("https://*", "only the first label"),
            ("https://a.*.example", "only the first label"),
            ("https://*a.example", "only the first label"),
            ("https://*.*.example", "only the first label"),
            ("*://a.example", "https://example.org"),
            ("*", "list the origins"),
            ("null", "cannot be allowed"),
            ("a.example", "https://example.org"),
            ("Tauri://localhost", "https://example.org"),
            ("file://", "https://example.org"),
            ("https://", "https://example.org"),
            ("tauri://*", "no path and no *"),
            ("tauri://localhost/", "no path and no *"),
            ("chrome-extension://", "add its id"),
        ] {
            let why = entry.parse::<AllowedOrigin>().expect_err(entry);
            assert!(why.contains(advice), "{entry} {why}");
        }
    }
}
