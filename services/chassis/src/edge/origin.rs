//! The rule that decides which browser pages may use this service.

mod allowed;

use http::uri::{Authority, Scheme, Uri};

pub use self::allowed::AllowedOrigin;
use crate::problem::{Code, Problem};

/// The most characters of an origin that a refusal repeats.
const QUOTE_CHARS_MAX: usize = 100;

/// Allows pages of the origins in `allowed`, and pages that this service serves itself under one of its `public_hosts`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginRule {
    /// The entries of `ALLOWED_ORIGINS`.
    pub allowed: Vec<AllowedOrigin>,
    /// Host names of this service, without ports. An attacker's host name that resolves to this machine is not among them.
    pub public_hosts: Vec<String>,
}

impl OriginRule {
    /// Checks the `Origin` of a request, and the `host` with its port that the request names.
    ///
    /// # Errors
    /// `forbidden`: the page is neither of a configured origin nor one of our own. The message names the origin and the setting.
    pub fn check(&self, origin: &str, host: Option<&str>) -> Result<(), Problem> {
        let own_host = host.and_then(|host| host_of_own_page(origin, host));
        let is_public = |host: &String| self.public_hosts.iter().any(|name| name.eq_ignore_ascii_case(host));
        if self.lists(origin) || own_host.as_ref().is_some_and(is_public) {
            return Ok(());
        }
        Err(Problem::new(Code::Forbidden, refusal(origin, own_host.as_deref())))
    }

    /// Whether `origin` is configured. Only configured origins get CORS headers.
    #[must_use]
    pub fn lists(&self, origin: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed.includes(origin))
    }
}

/// The host of `origin`, if `origin` has the host and port that the request names: this service may have served the page.
fn host_of_own_page(origin: &str, host: &str) -> Option<String> {
    let (origin, host) = (origin.parse::<Uri>().ok()?, host.parse::<Authority>().ok()?);
    let (scheme, from) = (origin.scheme()?, origin.authority()?);
    let default_port = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default_port);
    // An authority may carry `user@`, which no browser sends here.
    let is_own = !from.as_str().contains('@')
        && !host.as_str().contains('@')
        && from.host().eq_ignore_ascii_case(host.host())
        && port(from) == port(&host);
    is_own.then(|| host.host().to_owned())
}

/// Why a page of `origin` is refused, and which setting would allow it.
fn refusal(origin: &str, own_host: Option<&str>) -> String {
    // Browsers send only visible ASCII. Other characters could change the terminal of whoever reads the message.
    let clean = |c: char| if c.is_ascii_graphic() { c } else { '\u{fffd}' };
    let quoted: String = origin.chars().map(clean).take(QUOTE_CHARS_MAX).collect();
    match own_host {
        _ if origin == "null" => "the origin null is not allowed: it is that of files and sandboxed pages. Serve the page from a web \
                                  server, and add its origin to ALLOWED_ORIGINS"
            .into(),
        Some(host) => {
            format!("the origin {quoted} is not allowed: add {host} to PUBLIC_HOSTS, or the origin to ALLOWED_ORIGINS")
        }
        None => format!("the origin {quoted} is not allowed: add it to ALLOWED_ORIGINS"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> OriginRule {
        OriginRule {
            allowed: vec!["https://app.example".parse().expect("an origin")],
            public_hosts: vec!["localhost".into(), "[::1]".into(), "kv.example".into()],
        }
    }

    #[test]
    fn only_configured_pages_and_our_own_are_allowed() {
        let table = [
            // Listed, wherever it was sent.
            ("https://app.example", Some("kv.example"), true),
            ("https://app.example", None, true),
            ("http://app.example", Some("kv.example"), false),
            ("https://app.example:444", Some("kv.example"), false),
            ("https://app.example.evil", Some("kv.example"), false),
            // Our own page, any port, default ports spelt or not.
            ("http://localhost:8000", Some("localhost:8000"), true),
            ("http://LocalHost:8000", Some("localhost:8000"), true),
            ("http://[::1]:8000", Some("[::1]:8000"), true),
            ("https://kv.example", Some("kv.example"), true),
            ("https://kv.example", Some("kv.example:443"), true),
            ("http://kv.example", Some("kv.example:80"), true),
            // Another port or scheme is another page.
            ("http://localhost:8001", Some("localhost:8000"), false),
            ("http://kv.example", Some("kv.example:443"), false),
            // DNS rebinding: the page and Host agree, but the name is not ours.
            ("http://evil.test:8000", Some("evil.test:8000"), false),
            // Nonsense.
            ("null", Some("localhost"), false),
            ("", Some("localhost"), false),
            ("localhost", Some("localhost"), false),
            ("http://a@localhost", Some("localhost"), false),
            ("http://localhost", Some("a@localhost"), false),
            ("http://localhost:8000", None, false),
        ];
        for (origin, host, allowed) in table {
            let verdict = rule().check(origin, host);
            assert_eq!(verdict.is_ok(), allowed, "{origin:?} to {host:?}");
            if let Err(problem) = verdict {
                assert_eq!(problem.code, Code::Forbidden);
            }
        }
    }

    #[test]
    fn a_refusal_names_the_origin_and_the_setting() {
        let refusal = |origin: &str, host| rule().check(origin, host).expect_err(origin).message;
        assert_eq!(
            refusal("https://other.example", Some("kv.example")),
            "the origin https://other.example is not allowed: add it to ALLOWED_ORIGINS"
        );
        assert_eq!(
            refusal("https://new.example", Some("new.example")),
            "the origin https://new.example is not allowed: add new.example to PUBLIC_HOSTS, or the origin to ALLOWED_ORIGINS"
        );
        assert!(refusal("null", None).ends_with("add its origin to ALLOWED_ORIGINS"));
        let long = refusal(&format!("https://\u{1b}[31m{}", "é".repeat(5000)), None);
        assert!(
            long.starts_with("the origin https://\u{fffd}[31m\u{fffd}") && long.chars().count() < 200,
            "{long}"
        );
    }
}
