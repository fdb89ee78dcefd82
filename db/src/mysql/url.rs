//! Parses the URL of a server. The client library ignores unknown parameters, so that `?tls=true` would connect without TLS. This module
//! refuses such a URL.

use std::collections::HashMap;

use sqlx::ConnectOptions as _;
use sqlx::mysql::MySqlConnectOptions;
use url::{Host, Url};

use crate::error::BadUrl;

/// The parameters of a URL, each with the second name that the client library has for it.
const PARAMETERS: [(&str, &str); 5] = [
    ("ssl-mode", "sslmode"),
    ("ssl-ca", "sslca"),
    ("ssl-cert", "sslcert"),
    ("ssl-key", "sslkey"),
    ("socket", "socket"),
];

/// Parameters that the client library knows, but whose values every connection replaces.
const REPLACED: [&str; 5] = ["charset", "collation", "timezone", "time-zone", "statement-cache-capacity"];

/// The values of `ssl-mode`.
const SSL_MODES: [&str; 5] = ["DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"];

/// The options of the client library for a URL.
pub(super) struct ServerUrl {
    pub(super) options: MySqlConnectOptions,
    /// Whether the URL says anything about TLS.
    pub(super) names_tls: bool,
}

/// Parses a URL.
///
/// # Errors
/// The part of the URL that cannot be used, or that the client library would ignore. The text does not contain the password.
pub(super) fn parse(text: &str) -> Result<ServerUrl, BadUrl> {
    let url = Url::parse(text).map_err(|error| {
        BadUrl(format!(
            "is not a URL: {error} (in a user name or a password, write `/ ? # @ : %` percent-encoded, such as %23 for #)"
        ))
    })?;
    if url.path().trim_matches('/').is_empty() {
        return Err(BadUrl("must name a schema, as in mysql://user@host:port/schema".into()));
    }
    if url.fragment().is_some() {
        return Err(BadUrl("must not contain `#`: in a user name or a password, write it as %23".into()));
    }
    let parameters = parameters(&url)?;
    check_tls(&parameters)?;
    let mut options =
        MySqlConnectOptions::from_url(&url).map_err(|error| BadUrl(format!("cannot be used: {error}")))?;
    if let Some(Host::Ipv6(address)) = url.host() {
        // Without the brackets of the URL: the client library would look up `[::1]` as a name.
        options = options.host(&address.to_string());
    }
    let names_tls = parameters.keys().any(|name| name.starts_with("ssl"));
    Ok(ServerUrl { options, names_tls })
}

/// The parameters of `url` by their first names.
fn parameters(url: &Url) -> Result<HashMap<&'static str, String>, BadUrl> {
    let mut found = HashMap::new();
    for (name, value) in url.query_pairs() {
        let known = PARAMETERS.iter().find(|(first, second)| name == *first || name == *second);
        let Some((first, _)) = known else { return Err(unknown(&name)) };
        if value.is_empty() {
            return Err(BadUrl(format!("has no value for the parameter {first}")));
        }
        if found.insert(*first, value.into_owned()).is_some() {
            return Err(BadUrl(format!("has the parameter {first} twice")));
        }
    }
    Ok(found)
}

/// Why the parameter `name` is refused, and what to write instead.
fn unknown(name: &str) -> BadUrl {
    let lower = name.to_lowercase();
    let instead = if REPLACED.contains(&lower.as_str()) {
        "Keywire sets it itself, so remove it".to_owned()
    } else if lower.contains("tls") || lower.contains("ssl") {
        "for TLS write ssl-mode=REQUIRED, or ssl-mode=VERIFY_IDENTITY&ssl-ca=FILE".to_owned()
    } else {
        let known = PARAMETERS.map(|(first, _)| first).join(", ");
        format!("the parameters are {known}")
    };
    BadUrl(format!("has the unknown parameter {name:?}: {instead}"))
}

/// Checks the value of `ssl-mode`, and that every other parameter of TLS has an effect.
fn check_tls(parameters: &HashMap<&str, String>) -> Result<(), BadUrl> {
    let mode = parameters.get("ssl-mode").map(|mode| mode.to_uppercase());
    if let Some(mode) = mode.as_deref().filter(|mode| !SSL_MODES.contains(mode)) {
        return Err(BadUrl(format!("has ssl-mode={mode}, which must be one of {}", SSL_MODES.join(", "))));
    }
    let verifies = mode.as_deref().is_some_and(|mode| mode.starts_with("VERIFY"));
    if parameters.contains_key("ssl-ca") && !verifies {
        return Err(BadUrl(
            "has ssl-ca, which has no effect without ssl-mode=VERIFY_CA or ssl-mode=VERIFY_IDENTITY".into(),
        ));
    }
    if parameters.contains_key("ssl-cert") != parameters.contains_key("ssl-key") {
        return Err(BadUrl("has only one of ssl-cert and ssl-key, which go together".into()));
    }
    if parameters.contains_key("ssl-cert") && mode.as_deref() == Some("DISABLED") {
        return Err(BadUrl("has ssl-cert, which has no effect with ssl-mode=DISABLED".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_left_out_is_refused_and_the_message_says_what_to_write() {
        for (rest, named) in [
            ("?tls=true", "ssl-mode=REQUIRED"),
            ("?useSSL=true", "ssl-mode=REQUIRED"),
            ("?ssl_mode=REQUIRED", "ssl-mode=REQUIRED"),
            ("?SSL-MODE=required", "ssl-mode=REQUIRED"),
            ("?sockets=/run/mysqld.sock", "ssl-key, socket"),
            ("?ssl-mode=", "no value"),
            ("?ssl-mode=REQUIRED&sslmode=DISABLED", "twice"),
            ("?ssl-mode=yes", "VERIFY_IDENTITY"),
            ("?ssl-ca=/ca.pem", "no effect"),
            ("?ssl-mode=REQUIRED&ssl-ca=/ca.pem", "no effect"),
            ("?ssl-cert=/cert.pem", "go together"),
            ("?ssl-mode=DISABLED&ssl-cert=/cert.pem&ssl-key=/key.pem", "no effect"),
            ("?charset=latin1", "sets it itself"),
            ("?connect_timeout=5", "the parameters are"),
            ("#x", "%23"),
        ] {
            let url = format!("mysql://u:sesame@h:1/x{rest}");
            let refusal = parse(&url).err().expect(rest).to_string();
            assert!(refusal.contains(named) && !refusal.contains("sesame"), "{refusal}");
        }
        for url in ["mysql://u:a/b@h/x", "mysql://u:a#b@h/x", "mysql://h", "mysql://h/", "mysql://h:x/x"] {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn every_parameter_can_be_used() {
        let url = "mysql://u@h/x?sslmode=verify_ca&ssl-ca=/ca&ssl-cert=/c&sslkey=/k&socket=/s";
        let parsed = parse(url).expect("it is valid");
        assert!(parsed.names_tls);
        assert_eq!(parsed.options.get_socket().map(|path| path.display().to_string()), Some("/s".into()));
        assert!(!parse("mysql://u@h/x?socket=/s").expect("it is valid").names_tls);
    }

    #[test]
    fn an_ipv6_address_is_used_without_its_brackets() {
        for (host, used) in
            [("[::1]", "::1"), ("[FE80:0::1]", "fe80::1"), ("127.0.0.1", "127.0.0.1"), ("h", "h")]
        {
            let parsed = parse(&format!("mysql://u@{host}:3306/x")).expect("it is valid");
            assert_eq!((parsed.options.get_host(), parsed.options.get_port()), (used, 3306));
        }
    }
}
