//! An answer of the service: a reply of the socket, or the body of an error over HTTP.

use serde::Deserialize;

use super::Failure;

/// How much of something that is no answer is shown.
const SHOWN_CHARS_MAX: usize = 200;

/// The members every answer has, and those that some have.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) message: String,
    pub(crate) status: u16,
    /// Errors have one, but for a key that is not there.
    pub(crate) code: Option<String>,
    pub(crate) rev: Option<u64>,
}

impl Answer {
    /// Reads an answer; anything else means that no such service is there.
    pub(crate) fn read(text: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(text).map_err(|_| {
            let shown: String = String::from_utf8_lossy(text).chars().take(SHOWN_CHARS_MAX).collect();
            Failure::Unavailable(format!("not an answer of Keywire: {shown}"))
        })
    }

    /// Reads the body of an error over HTTP.
    pub(crate) fn read_error(status: u16, body: &[u8]) -> Failure {
        match Self::read(body) {
            Ok(answer) => answer.refusal(),
            Err(_) => Failure::Unavailable(format!("not an answer of Keywire: status {status}")),
        }
    }

    /// Whether the same again may end otherwise: it was not applied, or perhaps not.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self.status, 429 | 503 | 504)
    }

    /// Success, or why not.
    pub(crate) fn done(self) -> Result<Self, Failure> {
        if self.status == 200 { Ok(self) } else { Err(self.refusal()) }
    }

    fn refusal(self) -> Failure {
        match self.code.as_deref() {
            _ if self.may_pass() => Failure::Unavailable(self.message),
            Some("no_route" | "bad_method") => {
                Failure::Unavailable(format!("{}: this is not where it is served, see --help", self.message))
            }
            _ => Failure::Refused(self.message),
        }
    }
}
