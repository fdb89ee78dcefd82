//! One HTTP GET on a connection of its own. The body is read piece by piece.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use hyper::Request;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::dial::{Connection, authority, dial};
use super::failure::Failure;
use super::reply::Reply;
use super::target::Target;

/// How long the server may send nothing. Longer than the time limits of the server itself.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The bytes of one read, and of the kernel's receive buffer, for a body that is passed on to a slow reader. The server
/// drops a client that takes nothing for 10 s. A kernel with its default buffer of megabytes asks the server for more only
/// when most of the buffer was read. With these sizes 10 kB a second are enough.
const SLOW_READ_BYTES: usize = 16 * 1024;
const SLOW_RECEIVE_BYTES: usize = 64 * 1024;

/// The most bytes of a body that is read into memory: more than the largest page with every byte escaped.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The message when a port answers in another protocol.
pub(super) const NOT_HTTP: &str =
    "the reply is not HTTP; if the port speaks TLS, the URL begins with https://";

/// The media type of a stream of events.
const EVENTS: &str = "text/event-stream";

/// A response. Its body may still be on its way.
#[derive(Debug)]
pub(crate) struct Fetched {
    body: Incoming,
    /// Whether the response says where its body ends. Otherwise a body that was cut off looks complete.
    pub(crate) has_end: bool,
    status: u16,
    is_events: bool,
    /// Drives the connection; dropped with the response.
    _connection: JoinSet<hyper::Result<()>>,
}

/// The response to a request for a stream of events.
#[derive(Debug)]
pub(crate) enum Opened {
    /// The stream has begun.
    Stream(Fetched),
    /// The server refuses it for now, for this reason. The same request may succeed later.
    NotNow(String),
}

/// Sends a GET for `path`, which includes the query. The path of the target's URL is put before `path`. A status other than 200 is a
/// failure.
pub(crate) async fn fetch(target: Target<'_>, path: &str) -> Result<Fetched, Failure> {
    fetch_over(dial(target, None).await?, target, path, http1::Builder::new()).await?.found().await
}

/// The same, for a body that is passed on to a slow reader.
pub(crate) async fn fetch_slowly(target: Target<'_>, path: &str) -> Result<Fetched, Failure> {
    let connection = dial(target, Some(SLOW_RECEIVE_BYTES)).await?;
    let mut http = http1::Builder::new();
    http.read_buf_exact_size(Some(SLOW_READ_BYTES));
    fetch_over(connection, target, path, http).await?.found().await
}

/// Asks for the stream of events at `path`.
pub(crate) async fn fetch_events(target: Target<'_>, path: &str) -> Result<Opened, Failure> {
    let connection = dial(target, None).await?;
    let fetched = fetch_over(connection, target, path, http1::Builder::new()).await?;
    match fetched.status {
        200 if fetched.is_events => Ok(Opened::Stream(fetched)),
        200 => Err(Failure::Unavailable("not a reply of Keywire: this is no stream of events".into())),
        status => {
            let body = fetched.whole().await?;
            match Reply::parse(&body) {
                Ok(reply) if reply.is_transient() => Ok(Opened::NotNow(reply.message)),
                Ok(_) | Err(_) => Err(Reply::parse_error(status, &body)),
            }
        }
    }
}

async fn fetch_over(
    connection: Connection,
    target: Target<'_>,
    path: &str,
    http: http1::Builder,
) -> Result<Fetched, Failure> {
    let mut request = Request::get(target.path(path))
        .header(header::HOST, authority(target.url))
        .body(String::new())
        .map_err(|error| Failure::Refused(format!("not a valid request: {error}")))?;
    if let Some(bearer) = target.bearer {
        request.headers_mut().insert(header::AUTHORIZATION, bearer.clone());
    }
    let exchange = async {
        let (mut sender, connection) = http.handshake(TokioIo::new(connection)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Ok((sender.send_request(request).await?, driver))
    };
    let (response, driver) = in_time(exchange).await?;
    let (has_end, is_events) = (has_end(response.headers()), is_events(response.headers()));
    let status = response.status().as_u16();
    Ok(Fetched { body: response.into_body(), has_end, status, is_events, _connection: driver })
}

impl Fetched {
    /// The response itself if its status is 200.
    async fn found(self) -> Result<Self, Failure> {
        let status = self.status;
        if status == 200 { Ok(self) } else { Err(Reply::parse_error(status, &self.whole().await?)) }
    }

    /// The next piece of the body, or `None` at its end. A body that breaks off is a failure.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = poll_fn(|context| Pin::new(&mut self.body).poll_frame(context));
            let Some(frame) = in_time(async { frame.await.transpose() }).await? else { return Ok(None) };
            // Other frames are trailers, which Keywire does not use.
            if let Ok(piece) = frame.into_data() {
                return Ok(Some(piece));
            }
        }
    }

    /// Reads the whole body into memory and parses it as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<T, Failure> {
        serde_json::from_slice(&self.whole().await?)
            .map_err(|error| Failure::Unavailable(format!("not a reply of Keywire: {error}")))
    }

    /// Reads the whole body into memory.
    async fn whole(mut self) -> Result<Vec<u8>, Failure> {
        let mut whole = Vec::new();
        while let Some(piece) = self.next().await? {
            if whole.len() + piece.len() > BODY_BYTES_MAX {
                return Err(Failure::Unavailable("the reply is larger than 64 MiB".into()));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }
}

/// `text` percent-encoded for a path or a query: every byte but ASCII letters and digits.
pub(crate) fn encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

/// Waits for the next part of the response, up to the time limit.
async fn in_time<T>(part: impl Future<Output = hyper::Result<T>>) -> Result<T, Failure> {
    match timeout(SILENCE_MAX, part).await {
        Ok(Ok(part)) => Ok(part),
        Ok(Err(error)) if error.is_parse() => Err(Failure::Unavailable(NOT_HTTP.into())),
        Ok(Err(error)) => {
            Err(Failure::Unavailable(format!("the connection broke: {:#}", anyhow::Error::new(error))))
        }
        Err(_) => Err(Failure::Unavailable(format!("no reply within {} s", SILENCE_MAX.as_secs()))),
    }
}

fn has_end(headers: &HeaderMap) -> bool {
    // Without these headers the body ends where the connection ends, even if that broke.
    headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING)
}

fn is_events(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next());
    media_type.is_some_and(|value| value.trim().eq_ignore_ascii_case(EVENTS))
}
