//! The connection of a load client for sets: a WebSocket, whose replies come in the order of its messages.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::Context as _;

use crate::cli::client::{Reply, Socket, Target};

use super::results::{FinishedOp, LoadKind, OpResult};

/// A socket, and when each of its sets in flight fell due.
#[derive(Debug)]
pub(super) struct SetConnection {
    socket: Socket,
    /// The start of every message.
    start: String,
    due: VecDeque<Instant>,
}

impl SetConnection {
    /// Opens the socket. With `ids` every message has an id, with a `ttl` (in seconds) every entry expires.
    pub(super) async fn connect(target: Target<'_>, ids: bool, ttl: Option<u64>) -> anyhow::Result<Self> {
        let ttl = ttl.map_or(String::new(), |ttl| format!("\"ttl\":{ttl},"));
        let start = format!("{{{}{ttl}\"key\":\"", if ids { "\"id\":1," } else { "" });
        Ok(Self { socket: Socket::connect(target).await?, start, due: VecDeque::new() })
    }

    pub(super) fn in_flight(&self) -> usize {
        self.due.len()
    }

    /// Sends a set. Key and value must not contain characters that JSON escapes.
    pub(super) async fn send(&mut self, key: &str, value: &str, due: Instant) -> anyhow::Result<()> {
        let text = [&self.start, key, r#"","value":""#, value, r#""}"#].concat();
        self.socket.feed(text).await?;
        self.due.push_back(due);
        Ok(())
    }

    pub(super) async fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.socket.flush().await?)
    }

    /// Waits for the next reply. Cancel-safe.
    pub(super) async fn next(&mut self) -> anyhow::Result<FinishedOp> {
        let reply = self.socket.reply().await?;
        self.finish(&reply)
    }

    /// The next reply, if it has arrived.
    pub(super) fn try_next(&mut self) -> anyhow::Result<Option<FinishedOp>> {
        if self.due.is_empty() {
            return Ok(None);
        }
        self.socket.try_reply()?.map(|reply| self.finish(&reply)).transpose()
    }

    fn finish(&mut self, reply: &str) -> anyhow::Result<FinishedOp> {
        let due = self.due.pop_front().context("unexpected reply")?;
        Ok(FinishedOp { kind: LoadKind::Set, latency: due.elapsed(), result: result(reply)? })
    }
}

/// A reply of success is recognized without a parser, because keys contain no quotes.
fn result(text: &str) -> anyhow::Result<OpResult> {
    let shows_rev = [r#"","status":200,"id":1,"rev":"#, r#"","status":200,"rev":"#];
    if text.ends_with(r#","status":200}"#) || shows_rev.iter().any(|shown| text.contains(shown)) {
        return Ok(OpResult::Done);
    }
    let reply = Reply::parse(text.as_bytes())?;
    Ok(OpResult::Refused(reply.code.with_context(|| format!("not a reply of Keywire: {text}"))?))
}
