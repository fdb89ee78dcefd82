//! Access control: what the sender of a request may read and write, and how many operations a second.

pub(crate) mod rate;
mod token_file;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};
use poem::{FromRequest, Request, RequestBody};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::peer::Peer;
use crate::problem::{Code, Problem};

use self::rate::Rate;
pub use self::token_file::{BadTokens, TOKENS_MAX};

/// The subprotocol of the socket. A browser cannot set header fields of a handshake, so it sends its token as a second
/// subprotocol.
pub const SUBPROTOCOL: &str = "kv.v1";
/// What precedes the token among the subprotocols that a browser offers.
const BEARER_SUBPROTOCOL: &str = "bearer.";

/// Who may use a service. Clones share the rate limits of the tokens.
#[derive(Debug, Clone)]
pub enum Access {
    /// Anyone may read and write everything.
    Everyone(Arc<Grant>),
    /// Only requests with one of these tokens are served.
    Tokens(Arc<[Token]>),
}

/// The hash of a token and what the token grants. The token itself is not stored.
#[derive(Debug)]
pub struct Token {
    sha256: [u8; 32],
    grant: Arc<Grant>,
}

/// The prefixes of keys that may be read and written, and the rate limit of a token.
#[derive(Debug)]
pub struct Grant {
    /// The hash of the token. `None` without tokens.
    token: Option<[u8; 32]>,
    read: Vec<String>,
    write: Vec<String>,
    /// Shared by all connections to this process that use the token.
    rate: Option<Rate>,
}

/// The sender of a request: what it may do, and the connection that it uses. As an extractor it refuses a request without a
/// valid token.
#[derive(Debug, Clone)]
pub struct Caller {
    grant: Arc<Grant>,
    /// Whether the header `Authorization` has a known token.
    has_header_token: bool,
    /// `None` without a connection, as in tests of the routes.
    peer: Option<Arc<Peer>>,
}

impl Default for Access {
    fn default() -> Self {
        let all = || vec![String::new()];
        Self::Everyone(Arc::new(Grant { token: None, read: all(), write: all(), rate: None }))
    }
}

impl Access {
    /// Whether a token is needed.
    #[must_use]
    pub fn is_restricted(&self) -> bool {
        match self {
            Self::Everyone(_) => false,
            Self::Tokens(_) => true,
        }
    }

    /// The sender of a request with these header fields, on the connection of `peer`.
    ///
    /// # Errors
    /// `unauthenticated`: a token is needed, and the request has none or an unknown one.
    pub fn caller(&self, headers: &HeaderMap, peer: Option<&Arc<Peer>>) -> Result<Caller, Problem> {
        let (grant, has_header_token) = match self {
            Self::Everyone(all) => (all, false),
            Self::Tokens(tokens) => grant(tokens, headers)?,
        };
        Ok(Caller { grant: Arc::clone(grant), has_header_token, peer: peer.cloned() })
    }
}

/// The grant of the token that a request carries, and whether the token is in the header `Authorization`.
fn grant<'a>(tokens: &'a [Token], headers: &HeaderMap) -> Result<(&'a Arc<Grant>, bool), Problem> {
    let unauthenticated = |message| Problem::new(Code::Unauthenticated, message);
    let header_token = header_token(headers);
    let presented = header_token
        .or_else(|| offered(headers).find_map(|name| name.strip_prefix(BEARER_SUBPROTOCOL)))
        .ok_or_else(|| unauthenticated("a token is needed: Authorization: Bearer <token>"))?;
    let sha256: [u8; 32] = Sha256::digest(presented).into();
    // All tokens are compared, so that the time taken does not tell which one matched.
    let known = tokens.iter().fold(None, |known, token| {
        if bool::from(token.sha256.ct_eq(&sha256)) { Some(&token.grant) } else { known }
    });
    let known = known.ok_or_else(|| unauthenticated("this token is not known"))?;
    Ok((known, header_token.is_some()))
}

impl Caller {
    /// Checks that all keys that begin with `prefix` may be read. A whole key counts as a prefix.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn may_read(&self, prefix: &str) -> Result<(), Problem> {
        allow(&self.grant.read, prefix, "read")
    }

    /// Checks that `key` may be written.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn may_write(&self, key: &str) -> Result<(), Problem> {
        allow(&self.grant.write, key, "write")
    }

    /// Charges `ops` operations to the rate limits of the connection and of the token.
    ///
    /// # Errors
    /// `slow_down`.
    pub fn spend(&self, ops: usize) -> Result<(), Problem> {
        self.peer.as_ref().map_or(Ok(()), |peer| peer.spend(ops))?;
        self.grant.rate.as_ref().map_or(Ok(()), |rate| rate.spend(ops, "token"))
    }

    /// The SHA-256 of the token of the request. `None` without tokens.
    #[must_use]
    pub fn token(&self) -> Option<&[u8; 32]> {
        self.grant.token.as_ref()
    }

    /// Whether the header `Authorization` has a known token. Then no page of a foreign origin has sent the request: a page cannot add
    /// this header to a handshake, and can add it to another request only if a preflight has allowed it.
    #[must_use]
    pub(crate) fn has_header_token(&self) -> bool {
        self.has_header_token
    }

    /// The connection that the reply is sent on.
    #[must_use]
    pub fn peer(&self) -> Option<&Arc<Peer>> {
        self.peer.as_ref()
    }
}

fn allow(prefixes: &[String], asked: &str, verb: &str) -> Result<(), Problem> {
    if prefixes.iter().any(|prefix| asked.starts_with(prefix)) {
        return Ok(());
    }
    Err(Problem::new(Code::Forbidden, format!("this token may not {verb} here")))
}

impl<'a> FromRequest<'a> for Caller {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let found = request.extensions().get::<Result<Self, Problem>>();
        Ok(found.expect("the edge puts it there").clone()?)
    }
}

/// The token in the header `Authorization`; empty if the header has only the word `Bearer`. Headers of other schemes are ignored, because
/// a proxy may have added them.
fn header_token(headers: &HeaderMap) -> Option<&str> {
    let fields = headers.get_all(header::AUTHORIZATION).into_iter();
    fields.filter_map(|field| field.to_str().ok()).find_map(|field| {
        let (scheme, token) = field.split_once(' ').unwrap_or((field, ""));
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    })
}

/// Whether the client offers the subprotocol, so that the response must name it.
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

#[cfg(test)]
mod tests;
