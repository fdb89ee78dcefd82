//! The rule that decides which browser pages may use this service.

use http::uri::{Authority, Scheme, Uri};

use crate::problem::{Code, Problem};

/// Allows pages of the origins in `allowed`, and pages that this service serves itself under one of its `public_hosts`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginRule {
    /// Origins as browsers send them: `https://example.org`, with a port only if it is not the default.
    pub allowed: Vec<String>,
    /// Host names of this service, without ports. An attacker's host name that resolves to this machine is not among them.
    pub public_hosts: Vec<String>,
}

impl OriginRule {
    /// Checks the `Origin` of a request, and the `host` with its port that the request names. A request without `Origin` is allowed.
    ///
    /// # Errors
    /// `forbidden`: the page is neither of a configured origin nor one of our own.
    pub fn check(&self, origin: Option<&str>, host: Option<&str>) -> Result<(), Problem> {
        let Some(origin) = origin else { return Ok(()) };
        if self.lists(origin) || host.is_some_and(|host| self.is_own(origin, host)) {
            return Ok(());
        }
        Err(Problem::new(Code::Forbidden, "this origin is not allowed"))
    }

    /// Whether `origin` is configured. Only configured origins get CORS headers.
    #[must_use]
    pub fn lists(&self, origin: &str) -> bool {
        self.allowed.iter().any(|listed| listed == origin)
    }

    /// Whether `origin` has the host and port of `Host`, and the host is one of ours.
    fn is_own(&self, origin: &str, host: &str) -> bool {
        let (Ok(origin), Ok(host)) = (origin.parse::<Uri>(), host.parse::<Authority>()) else {
            return false;
        };
        let (Some(scheme), Some(from)) = (origin.scheme(), origin.authority()) else {
            return false;
        };
        let default_port = if *scheme == Scheme::HTTPS { 443 } else { 80 };
        let port = |authority: &Authority| authority.port_u16().unwrap_or(default_port);
        // An authority may carry `user@`, which no browser sends here.
        !from.as_str().contains('@')
            && !host.as_str().contains('@')
            && from.host().eq_ignore_ascii_case(host.host())
            && port(from) == port(&host)
            && self.public_hosts.iter().any(|name| name.eq_ignore_ascii_case(host.host()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_configured_pages_and_our_own_are_allowed() {
        let rule = OriginRule {
            allowed: vec!["https://app.example".into()],
            public_hosts: vec!["localhost".into(), "[::1]".into(), "kv.example".into()],
        };
        let table = [
            // Not a browser.
            (None, Some("anything"), true),
            (None, None, true),
            // Listed, wherever it was sent.
            (Some("https://app.example"), Some("kv.example"), true),
            (Some("https://app.example"), None, true),
            (Some("http://app.example"), Some("kv.example"), false),
            (Some("https://app.example:444"), Some("kv.example"), false),
            (Some("https://app.example.evil"), Some("kv.example"), false),
            // Our own page, any port, default ports spelt or not.
            (Some("http://localhost:8000"), Some("localhost:8000"), true),
            (Some("http://LocalHost:8000"), Some("localhost:8000"), true),
            (Some("http://[::1]:8000"), Some("[::1]:8000"), true),
            (Some("https://kv.example"), Some("kv.example"), true),
            (Some("https://kv.example"), Some("kv.example:443"), true),
            (Some("http://kv.example"), Some("kv.example:80"), true),
            // Another port or scheme is another page.
            (Some("http://localhost:8001"), Some("localhost:8000"), false),
            (Some("http://kv.example"), Some("kv.example:443"), false),
            // DNS rebinding: the page and Host agree, but the name is not ours.
            (Some("http://evil.test:8000"), Some("evil.test:8000"), false),
            // Nonsense.
            (Some("null"), Some("localhost"), false),
            (Some(""), Some("localhost"), false),
            (Some("localhost"), Some("localhost"), false),
            (Some("http://a@localhost"), Some("localhost"), false),
            (Some("http://localhost"), Some("a@localhost"), false),
            (Some("http://localhost:8000"), None, false),
        ];
        for (origin, host, allowed) in table {
            let verdict = rule.check(origin, host);
            assert_eq!(verdict.is_ok(), allowed, "{origin:?} to {host:?}");
            if let Err(problem) = verdict {
                assert_eq!(problem.code, Code::Forbidden);
            }
        }
    }
}
