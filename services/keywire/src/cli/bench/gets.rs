//! The reading half of a client: an HTTP/1.1 connection whose answers come in the order of its requests.
//!
//! A client library takes longer to read an answer than the service takes to give it, so this is the parser below such
//! libraries and nothing else.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::cli::client::{Answer, Side, Stream, authority, dial, encoded};

use super::results::{Answered, Kind, Outcome};

/// Headers of an answer, at most.
const HEADERS_MAX: usize = 32;

/// What a connection asks the kernel for at once.
const READ_BYTES: usize = 4096;

/// A connection and when each of its reads under way fell due.
#[derive(Debug)]
pub(super) struct Reader {
    stream: Stream,
    /// Header fields of every request.
    fields: String,
    requests: Vec<u8>,
    /// What has come and not been understood yet.
    answers: Vec<u8>,
    under_way: VecDeque<Instant>,
}

impl Reader {
    pub(super) async fn connect(side: Side<'_>) -> anyhow::Result<Self> {
        let stream = dial(side, None).await?;
        let mut fields = format!("Host: {}\r\n", authority(side.url));
        if let Some(bearer) = side.bearer {
            write!(fields, "Authorization: {}\r\n", bearer.to_str()?)?;
        }
        let (requests, answers, under_way) = (Vec::new(), Vec::new(), VecDeque::new());
        Ok(Self { stream, fields, requests, answers, under_way })
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    pub(super) fn send(&mut self, key: &str, due: Instant) {
        let (key, fields) = (encoded(key), &self.fields);
        let request = format!("GET /storage/{key} HTTP/1.1\r\n{fields}\r\n");
        self.requests.extend_from_slice(request.as_bytes());
        self.under_way.push_back(due);
    }

    pub(super) async fn flush(&mut self) -> anyhow::Result<()> {
        if !self.requests.is_empty() {
            self.stream.write_all(&self.requests).await.context("the connection broke")?;
            self.requests.clear();
        }
        Ok(())
    }

    /// Waits for the next answer. Dropping the future loses none.
    pub(super) async fn answer(&mut self) -> anyhow::Result<Answered> {
        loop {
            if let Some(answered) = self.take()? {
                return Ok(answered);
            }
            self.answers.reserve(READ_BYTES);
            let read = self.stream.read_buf(&mut self.answers).await.context("the connection broke")?;
            anyhow::ensure!(read > 0, "the connection was closed");
        }
    }

    /// The next answer, if it is there already.
    pub(super) fn try_answer(&mut self) -> anyhow::Result<Option<Answered>> {
        if self.under_way.is_empty() {
            return Ok(None);
        }
        self.answer().now_or_never().transpose()
    }

    /// The first answer of what has come, if it is complete.
    fn take(&mut self) -> anyhow::Result<Option<Answered>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(begin) =
            head.parse(&self.answers).context("an answer that is not HTTP")?
        else {
            return Ok(None);
        };
        let status = head.code.context("an answer without a status")?;
        let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length = length.context("an answer without a length")?.value;
        let end =
            begin + str::from_utf8(length)?.trim().parse::<usize>().context("a length that is no number")?;
        let Some(body) = self.answers.get(begin..end) else { return Ok(None) };
        let outcome = outcome(status, body)?;
        self.answers.drain(..end);
        let due = self.under_way.pop_front().context("an answer to nothing")?;
        Ok(Some(Answered { kind: Kind::Read, took: due.elapsed(), outcome }))
    }
}

fn outcome(status: u16, body: &[u8]) -> anyhow::Result<Outcome> {
    if status == 200 {
        return Ok(Outcome::Done);
    }
    let answer = Answer::read(body)?;
    match answer.code {
        Some(code) => Ok(Outcome::Refused(code)),
        None if status == 404 => Ok(Outcome::Missing),
        None => anyhow::bail!("not an answer: {status} {}", answer.message),
    }
}
