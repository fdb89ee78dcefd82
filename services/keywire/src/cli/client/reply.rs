//! A reply of the server: a message of the socket, or the JSON body of an HTTP error.

use serde::Deserialize;

use super::failure::Failure;

/// The most characters shown of a text that is not a reply of Keywire.
const SHOWN_CHARS_MAX: usize = 200;

/// What to do about a missing or unknown token.
const HOW_TO_GIVE_A_TOKEN: &str =
    "name a file that has it with --token-file or KEYWIRE_TOKEN_FILE (`keywire token` makes tokens)";

/// A parsed reply.
#[derive(Debug, Deserialize)]
pub(crate) struct Reply {
    pub(crate) message: String,
    pub(crate) status: u16,
    /// The code of an error. A missing key has none.
    pub(crate) code: Option<String>,
    /// The revision, if the reply shows one.
    pub(crate) rev: Option<u64>,
}

impl Reply {
    /// Parses a reply. A text that is not a reply means that the URL leads to something else than Keywire.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(text).map_err(|_| {
            let shown: String = String::from_utf8_lossy(text).chars().take(SHOWN_CHARS_MAX).collect();
            Failure::Unavailable(format!("not a reply of Keywire: {shown}"))
        })
    }

    /// Parses the body of an HTTP error.
    pub(crate) fn parse_error(status: u16, body: &[u8]) -> Failure {
        match Self::parse(body) {
            Ok(reply) => reply.into_failure(),
            // The HTTP library answers a request without a body if it is far too long.
            Err(_) if matches!(status, 414 | 431) => Failure::Refused(format!(
                "status {status}: the request is too long; 16 KiB are allowed for its path, which has all keys"
            )),
            Err(_) => Failure::Unavailable(format!("not a reply of Keywire: status {status}")),
        }
    }

    /// Whether the same request may succeed later: it was not applied, or its outcome is unknown.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.status, 429 | 503 | 504)
    }

    /// The reply itself if its status is 200.
    pub(crate) fn into_success(self) -> Result<Self, Failure> {
        if self.status == 200 { Ok(self) } else { Err(self.into_failure()) }
    }

    fn into_failure(self) -> Failure {
        match self.code.as_deref() {
            _ if self.is_transient() => Failure::Unavailable(self.message),
            Some("no_route" | "bad_method") => Failure::Unavailable(format!(
                "{}: the server does not take such requests at this URL; check --url (and --write-url, if writes have another port)",
                self.message
            )),
            Some("unauthenticated") => {
                // The rest of the message tells a program which header to send. The user of a command needs other advice.
                let what = self.message.split(':').next().unwrap_or_default();
                Failure::Refused(format!("{what}; {HOW_TO_GIVE_A_TOKEN}"))
            }
            _ => Failure::Refused(self.message),
        }
    }
}
