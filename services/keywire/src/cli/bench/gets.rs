//! The connection of a load client for gets: HTTP/1.1, with responses in the order of the requests.
//!
//! An HTTP client library takes longer to read a response than the server takes to send it. So this file uses only the parser
//! that such libraries use.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::cli::client::{Connection, Reply, Target, authority, dial, encoded};

use super::results::{FinishedOp, LoadKind, OpResult};

/// The most headers of a response.
const HEADERS_MAX: usize = 32;

/// The bytes of one read from the connection.
const READ_BYTES: usize = 4096;

/// A connection, and when each of its gets in flight fell due.
#[derive(Debug)]
pub(super) struct GetConnection {
    connection: Connection,
    /// The path of every request before its key.
    path: String,
    /// The headers of every request.
    headers: String,
    /// Requests that are not sent yet.
    requests: Vec<u8>,
    /// Bytes that were received and not parsed yet.
    received: Vec<u8>,
    due: VecDeque<Instant>,
}

impl GetConnection {
    pub(super) async fn connect(target: Target<'_>) -> anyhow::Result<Self> {
        let connection = dial(target, None).await?;
        let mut headers = format!("Host: {}\r\n", authority(target.url));
        if let Some(bearer) = target.bearer {
            write!(headers, "Authorization: {}\r\n", bearer.to_str()?)?;
        }
        let (requests, received, due) = (Vec::new(), Vec::new(), VecDeque::new());
        let path = target.path("/storage/");
        Ok(Self { connection, path, headers, requests, received, due })
    }

    pub(super) fn in_flight(&self) -> usize {
        self.due.len()
    }

    /// Adds a get to the requests that the next flush sends.
    pub(super) fn send(&mut self, key: &str, due: Instant) {
        let (path, key, headers) = (&self.path, encoded(key), &self.headers);
        let request = format!("GET {path}{key} HTTP/1.1\r\n{headers}\r\n");
        self.requests.extend_from_slice(request.as_bytes());
        self.due.push_back(due);
    }

    pub(super) async fn flush(&mut self) -> anyhow::Result<()> {
        if !self.requests.is_empty() {
            self.connection.write_all(&self.requests).await.context("the connection broke")?;
            self.requests.clear();
        }
        Ok(())
    }

    /// Waits for the next response. Cancel-safe.
    pub(super) async fn next(&mut self) -> anyhow::Result<FinishedOp> {
        loop {
            if let Some(op) = self.finish()? {
                return Ok(op);
            }
            self.received.reserve(READ_BYTES);
            let read = self.connection.read_buf(&mut self.received).await.context("the connection broke")?;
            anyhow::ensure!(read > 0, "the connection was closed");
        }
    }

    /// The next response, if it has arrived.
    pub(super) fn try_next(&mut self) -> anyhow::Result<Option<FinishedOp>> {
        if self.due.is_empty() {
            return Ok(None);
        }
        self.next().now_or_never().transpose()
    }

    /// The first received response, if it is complete.
    fn finish(&mut self) -> anyhow::Result<Option<FinishedOp>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(begin) =
            head.parse(&self.received).context("the response is not HTTP")?
        else {
            return Ok(None);
        };
        let status = head.code.context("the response has no status")?;
        let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length = length.context("the response has no length")?.value;
        let end =
            begin + str::from_utf8(length)?.trim().parse::<usize>().context("the length is not a number")?;
        let Some(body) = self.received.get(begin..end) else { return Ok(None) };
        let result = result(status, body)?;
        self.received.drain(..end);
        let due = self.due.pop_front().context("unexpected response")?;
        Ok(Some(FinishedOp { kind: LoadKind::Get, latency: due.elapsed(), result }))
    }
}

fn result(status: u16, body: &[u8]) -> anyhow::Result<OpResult> {
    if status == 200 {
        return Ok(OpResult::Done);
    }
    let reply = Reply::parse(body)?;
    match reply.code {
        Some(code) => Ok(OpResult::Refused(code)),
        None if status == 404 => Ok(OpResult::Missing),
        None => anyhow::bail!("not a reply of Keywire: {status} {}", reply.message),
    }
}
