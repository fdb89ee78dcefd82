//! The entries of the server, all of one instant, in byte order of their keys.

use std::borrow::Cow;

use serde::Deserialize;

use crate::cli::client::{Failure, Fetched, Target, fetch};

/// The most bytes of a line of an export: every byte of key and value may be escaped.
const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An entry of an export. Its expiry does not matter: an entry that has expired is not in an export.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct StoredEntry<'a> {
    #[serde(borrow)]
    pub(super) key: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) value: Cow<'a, str>,
}

/// An export that is being read.
#[derive(Debug)]
pub(super) struct StoredEntries {
    body: Fetched,
    /// What has arrived and was not used.
    received: Vec<u8>,
    /// Where the current line begins in it, and where it ends.
    line: (usize, usize),
}

impl StoredEntries {
    /// Begins an export of everything.
    pub(super) async fn open(target: Target<'_>) -> Result<Self, Failure> {
        let body = fetch(target, "/export").await?;
        if !body.has_end {
            return Err(Failure::Unavailable("a proxy hides where the export ends".into()));
        }
        Ok(Self { body, received: Vec::new(), line: (0, 0) })
    }

    /// Goes to the next entry. Returns false at the end.
    pub(super) async fn advance(&mut self) -> Result<bool, Failure> {
        let mut begin = self.line.1;
        let mut searched = begin;
        loop {
            if let Some(at) = self.received[searched..].iter().position(|byte| *byte == b'\n') {
                self.line = (begin, searched + at + 1);
                return Ok(true);
            }
            self.received.drain(..begin);
            begin = 0;
            searched = self.received.len();
            if searched > LINE_BYTES_MAX {
                return Err(Failure::Unavailable("not an export of Keywire: a line is too long".into()));
            }
            match self.body.next().await? {
                Some(piece) => self.received.extend_from_slice(&piece),
                None if searched == 0 => {
                    self.line = (0, 0);
                    return Ok(false);
                }
                None => return Err(Failure::Unavailable("the last line of the export is incomplete".into())),
            }
        }
    }

    /// The current entry.
    pub(super) fn entry(&self) -> Result<StoredEntry<'_>, Failure> {
        let (begin, end) = self.line;
        serde_json::from_slice(&self.received[begin..end])
            .map_err(|error| Failure::Unavailable(format!("not an export of Keywire: {error}")))
    }
}
