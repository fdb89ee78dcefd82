//! The writing half of a client: a socket whose answers come in the order of its messages.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::Context as _;

use crate::cli::client::{Answer, Side, Socket};

use super::results::{Answered, Kind, Outcome};

/// A socket and when each of its writes under way fell due.
#[derive(Debug)]
pub(super) struct Writer {
    socket: Socket,
    /// What messages begin with.
    start: &'static str,
    under_way: VecDeque<Instant>,
}

impl Writer {
    /// `ids` says whether each write is to have one.
    pub(super) async fn connect(side: Side<'_>, ids: bool) -> anyhow::Result<Self> {
        let start = if ids { r#"{"id":1,"key":""# } else { r#"{"key":""# };
        Ok(Self { socket: Socket::connect(side).await?, start, under_way: VecDeque::new() })
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Keys and values must need no escape in JSON.
    pub(super) async fn send(&mut self, key: &str, value: &str, due: Instant) -> anyhow::Result<()> {
        let text = [self.start, key, r#"","value":""#, value, r#""}"#].concat();
        self.socket.feed(text).await?;
        self.under_way.push_back(due);
        Ok(())
    }

    pub(super) async fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.socket.flush().await?)
    }

    /// Waits for the next answer. Dropping the future loses none.
    pub(super) async fn answer(&mut self) -> anyhow::Result<Answered> {
        let answer = self.socket.answer().await?;
        self.take(&answer)
    }

    /// The next answer, if it is there already.
    pub(super) fn try_answer(&mut self) -> anyhow::Result<Option<Answered>> {
        if self.under_way.is_empty() {
            return Ok(None);
        }
        self.socket.try_answer()?.map(|answer| self.take(&answer)).transpose()
    }

    fn take(&mut self, answer: &str) -> anyhow::Result<Answered> {
        let due = self.under_way.pop_front().context("an answer to nothing")?;
        Ok(Answered { kind: Kind::Write, took: due.elapsed(), outcome: outcome(answer)? })
    }
}

/// An answer that says 200 after its message needs no parser: keys hold no quotes.
fn outcome(text: &str) -> anyhow::Result<Outcome> {
    if text.ends_with(r#","status":200}"#) || text.contains(r#"","status":200,"id":1,"rev":"#) {
        return Ok(Outcome::Done);
    }
    let answer = Answer::read(text.as_bytes())?;
    Ok(Outcome::Refused(answer.code.with_context(|| format!("not an answer: {text}"))?))
}
