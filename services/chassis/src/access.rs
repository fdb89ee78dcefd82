//! Who may do what: everyone everything, or the holders of tokens what their tokens allow.

pub(crate) mod rate;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};
use poem::{FromRequest, Request, RequestBody};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::access::rate::Rate;
use crate::problem::{Code, Problem};

/// The most tokens. Each request with a token is compared with all of them.
pub const TOKENS_MAX: usize = 256;
/// The subprotocol of the socket, which is also how a browser carries a token: it cannot set header fields there.
pub const SUBPROTOCOL: &str = "kv.v1";
/// What stands before the token among the subprotocols that a browser offers.
const BEARER_SUBPROTOCOL: &str = "bearer.";

/// Who is let in. Clones share the rates of the tokens.
#[derive(Debug, Clone)]
pub enum Access {
    /// Anyone may read and write everything.
    Everyone(Arc<Grant>),
    /// Only who holds one of these, and what it grants.
    Holders(Arc<[Token]>),
}

/// A token that lets in whoever holds it. The token itself is not known here.
#[derive(Debug)]
pub struct Token {
    sha256: [u8; 32],
    grant: Arc<Grant>,
}

/// What a holder may do.
#[derive(Debug)]
pub struct Grant {
    read: Vec<String>,
    write: Vec<String>,
    /// Of all its connections to this process together.
    rate: Option<Rate>,
}

/// What the sender of a request may do; none if the request does not say who sent it. Extracting it refuses that one.
#[derive(Debug, Clone)]
pub struct Holder(pub Arc<Grant>);

/// Why a file of tokens is refused.
#[derive(Debug, thiserror::Error)]
pub enum BadTokens {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It is not what [`Access::read`] expects.
    #[error("is not a list of tokens, see line {} column {}", .0.line(), .0.column())]
    // Not what stands there: it may be a token.
    Malformed(#[from] serde_json::Error),
    /// It holds nothing, which could mean everyone or nobody.
    #[error("is empty; [] lets nobody in")]
    Empty,
    /// A token that cannot be.
    #[error("token {name:?}: {what}")]
    Token {
        /// Which.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More than [`TOKENS_MAX`].
    #[error("has {0} tokens; at most {TOKENS_MAX} are allowed")]
    TooMany(usize),
}

/// A token as it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    /// Of the token, in hexadecimal digits.
    sha256: String,
    #[serde(default)]
    read: Vec<String>,
    #[serde(default)]
    write: Vec<String>,
    #[serde(default)]
    ops_per_second: Option<u32>,
}

impl Default for Access {
    fn default() -> Self {
        let all = || vec![String::new()];
        Self::Everyone(Arc::new(Grant { read: all(), write: all(), rate: None }))
    }
}

impl Access {
    /// Reads a file of tokens: a JSON array of `{"name", "sha256", "read", "write", "ops_per_second"}`, where `read` and
    /// `write` are prefixes of keys, none if left out. A device without content, such as /dev/null, is no file: everyone is let in.
    ///
    /// # Errors
    /// When it cannot be read, is something else or empty, or two of its tokens are the same.
    pub fn read(path: &Path) -> Result<Self, BadTokens> {
        let text = std::fs::read_to_string(path)?;
        match text.trim() {
            "" if std::fs::metadata(path)?.is_file() => Err(BadTokens::Empty),
            "" => Ok(Self::default()),
            text => Self::parse(text),
        }
    }

    fn parse(text: &str) -> Result<Self, BadTokens> {
        let entries: Vec<Entry> = serde_json::from_str(text)?;
        if entries.len() > TOKENS_MAX {
            return Err(BadTokens::TooMany(entries.len()));
        }
        let (mut names, mut hashes) = (HashSet::new(), HashSet::new());
        let mut tokens = Vec::with_capacity(entries.len());
        for entry in entries {
            let bad = |what| BadTokens::Token { name: entry.name.clone(), what };
            let sha256 =
                hash_of(&entry.sha256).ok_or_else(|| bad("sha256 must have 64 hexadecimal digits"))?;
            if entry.name.is_empty() || entry.name.contains(char::is_control) {
                return Err(bad("a name has at least one character and none that controls"));
            }
            if !names.insert(entry.name.clone()) {
                return Err(bad("the name is there twice"));
            }
            if !hashes.insert(sha256) {
                return Err(bad("another token has the same sha256"));
            }
            if entry.read.is_empty() && entry.write.is_empty() {
                return Err(bad(
                    "it grants nothing: give it prefixes to read or to write, \"\" for all keys",
                ));
            }
            let rate = match entry.ops_per_second.map(Rate::new) {
                Some(None) => return Err(bad("ops_per_second must not be 0")),
                Some(rate) => rate,
                None => None,
            };
            let grant = Grant { read: entry.read, write: entry.write, rate };
            tokens.push(Token { sha256, grant: Arc::new(grant) });
        }
        Ok(Self::Holders(tokens.into()))
    }

    /// Whether a token is needed.
    #[must_use]
    pub fn is_restricted(&self) -> bool {
        matches!(self, Self::Holders(_))
    }

    /// What the sender of a request with these header fields may do.
    ///
    /// # Errors
    /// `unauthenticated` without a token, or with one that is not known.
    pub fn holder(&self, headers: &HeaderMap) -> Result<Holder, Problem> {
        let tokens = match self {
            Self::Everyone(all) => return Ok(Holder(Arc::clone(all))),
            Self::Holders(tokens) => tokens,
        };
        let unauthenticated = |message| Problem::new(Code::Unauthenticated, message);
        let presented = presented(headers)
            .ok_or_else(|| unauthenticated("a token is needed: Authorization: Bearer <token>"))?;
        let sha256: [u8; 32] = Sha256::digest(presented).into();
        // All of them are compared, so that the time tells nothing.
        let known = tokens.iter().fold(None, |known, token| {
            if bool::from(token.sha256.ct_eq(&sha256)) { Some(&token.grant) } else { known }
        });
        let grant = known.ok_or_else(|| unauthenticated("this token is not known"))?;
        Ok(Holder(Arc::clone(grant)))
    }
}

impl Grant {
    /// Whether keys that begin with `prefix`, or the key itself, may be read.
    ///
    /// # Errors
    /// `forbidden`, in words that name what was asked for.
    pub fn read(&self, prefix: &str) -> Result<(), Problem> {
        allow(&self.read, prefix, "read")
    }

    /// The same for writing.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn write(&self, key: &str) -> Result<(), Problem> {
        allow(&self.write, key, "write")
    }

    /// Counts `ops` against the rate of the token.
    ///
    /// # Errors
    /// `slow_down`.
    pub fn spend(&self, ops: usize) -> Result<(), Problem> {
        self.rate.as_ref().map_or(Ok(()), |rate| rate.spend(ops, "token"))
    }
}

fn allow(prefixes: &[String], asked: &str, verb: &str) -> Result<(), Problem> {
    if prefixes.iter().any(|prefix| asked.starts_with(prefix)) {
        return Ok(());
    }
    Err(Problem::new(Code::Forbidden, format!("this token may not {verb} here")))
}

impl<'a> FromRequest<'a> for Holder {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let found = request.extensions().get::<Result<Self, Problem>>();
        Ok(found.expect("the edge puts it there").clone()?)
    }
}

/// The token that a request carries.
fn presented(headers: &HeaderMap) -> Option<&str> {
    if let Some(field) = headers.get(header::AUTHORIZATION) {
        let (scheme, token) = field.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| token.trim());
    }
    offered(headers).find_map(|name| name.strip_prefix(BEARER_SUBPROTOCOL))
}

/// Whether the client speaks the subprotocol, so that the answer must name it.
#[must_use]
pub fn speaks_subprotocol(headers: &HeaderMap) -> bool {
    offered(headers).any(|name| name == SUBPROTOCOL)
}

/// The subprotocols that a handshake offers.
fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let fields = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    fields
        .filter_map(|field: &HeaderValue| field.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
}

fn hash_of(digits: &str) -> Option<[u8; 32]> {
    let digits = Some(digits).filter(|digits| digits.len() == 64 && digits.is_ascii())?;
    let mut hash = [0; 32];
    for (at, byte) in hash.iter_mut().enumerate() {
        let pair = &digits[2 * at..2 * at + 2];
        *byte = u8::from_str_radix(pair, 16).ok().filter(|_| !pair.starts_with('+'))?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests;
