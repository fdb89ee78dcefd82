//! The file of tokens: which grants it gives to which tokens, and why a file is refused.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::rate::Rate;
use super::{Access, Grant, Token};
use crate::config::file::read_text;

/// The only path that means "no tokens": nobody writes it by mistake.
const NO_TOKENS: &str = "/dev/null";
/// The most tokens of a file. Each request with a token is compared with all of them.
pub const TOKENS_MAX: usize = 256;

/// Why a file of tokens is refused.
#[derive(Debug, thiserror::Error)]
pub enum BadTokens {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It is not the JSON that [`Access::read`] expects. The message names the place and not the text there, which may be a
    /// token.
    #[error("is not a list of tokens, see line {} column {}", .0.line(), .0.column())]
    Malformed(#[from] serde_json::Error),
    /// It is empty, which could mean everyone or nobody.
    #[error("is empty; write [] to admit nobody, or name {NO_TOKENS} to admit everyone")]
    Empty,
    /// One of its tokens is invalid.
    #[error("token {name:?}: {what}")]
    Token {
        /// The name of the token.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It has more than [`TOKENS_MAX`].
    #[error("has {0} tokens; at most {TOKENS_MAX} are allowed")]
    TooMany(usize),
}

/// A token as the file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenEntry {
    name: String,
    /// SHA-256 of the token, in hexadecimal digits.
    sha256: String,
    #[serde(default)]
    read: Vec<String>,
    #[serde(default)]
    write: Vec<String>,
    #[serde(default)]
    ops_per_second: Option<u32>,
}

impl Access {
    /// Reads a file of tokens: a JSON array of `{"name", "sha256", "read", "write", "ops_per_second"}`. `read` and `write` are
    /// prefixes of keys; if left out, the token grants none. The path /dev/null, spelt like this, means no tokens: everyone has
    /// access. Everything else that is empty is refused, because its content may have been lost.
    ///
    /// # Errors
    /// The file cannot be read, is malformed or empty, or two of its tokens are the same.
    pub fn read(path: &Path) -> Result<Self, BadTokens> {
        if path == Path::new(NO_TOKENS) {
            return Ok(Self::default());
        }
        match read_text(path) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(BadTokens::Empty),
            Err(error) => Err(BadTokens::Unreadable(error)),
            Ok(text) if text.trim().is_empty() => Err(BadTokens::Empty),
            Ok(text) => Self::parse(&text),
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, BadTokens> {
        let entries: Vec<TokenEntry> = serde_json::from_str(text)?;
        if entries.len() > TOKENS_MAX {
            return Err(BadTokens::TooMany(entries.len()));
        }
        let (mut names, mut hashes) = (HashSet::new(), HashSet::new());
        let mut tokens = Vec::with_capacity(entries.len());
        for entry in entries {
            let name = entry.name.clone();
            let bad = |what| BadTokens::Token { name: name.clone(), what };
            let is_new_name = names.insert(name.clone());
            let token = entry.token().map_err(bad)?;
            if !is_new_name {
                return Err(bad("the name is there twice"));
            }
            if !hashes.insert(token.sha256) {
                return Err(bad("another token has the same sha256"));
            }
            tokens.push(token);
        }
        Ok(Self::Tokens(tokens.into()))
    }
}

impl TokenEntry {
    /// The token, or what is wrong with it.
    fn token(self) -> Result<Token, &'static str> {
        let sha256 = hash_of(&self.sha256).ok_or("sha256 must have 64 hexadecimal digits")?;
        if self.name.is_empty() || self.name.contains(char::is_control) {
            return Err("a name needs at least one character, and no control characters");
        }
        if self.read.is_empty() && self.write.is_empty() {
            return Err("it grants nothing: give it prefixes to read or to write, \"\" for all keys");
        }
        let rate = match self.ops_per_second {
            Some(ops) => Some(Rate::new(ops).ok_or("ops_per_second must not be 0")?),
            None => None,
        };
        let grant = Grant { token: Some(sha256), read: self.read, write: self.write, rate };
        Ok(Token { sha256, grant: Arc::new(grant) })
    }
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
