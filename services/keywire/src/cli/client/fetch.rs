//! One GET on a connection of its own, its body as it comes.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use hyper::Request;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Answer, Failure, Side, Stream, authority, dial};

/// How long the service may be silent while its answer is awaited; longer than it gives itself.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What is taken at a time, and what the kernel keeps for us, where a body goes on to somebody slower. The service gives up
/// a client that takes nothing for 10 s, and a kernel left to itself keeps megabytes, of which it asks for more only
/// when most of them are read. So 10 kB a second are enough.
const PIECE_BYTES: usize = 16 * 1024;
const KEPT_BYTES: usize = 64 * 1024;

/// The most bytes of a body that is taken whole: a page of values, every byte of it escaped, and much to spare.
const WHOLE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// An answer whose body may still be on its way.
#[derive(Debug)]
pub(crate) struct Found {
    body: Incoming,
    /// Whether the body says where it ends, so that one that was cut off can be told.
    pub(crate) has_end: bool,
    /// Drives the connection; dropped with the answer.
    _connection: JoinSet<hyper::Result<()>>,
}

/// Asks the pair at `side` for `target`, a path and a query. Anything but a 200 is the failure it tells of.
pub(crate) async fn fetch(side: Side<'_>, target: &str) -> Result<Found, Failure> {
    fetch_over(dial(side, None).await?, side, target, http1::Builder::new()).await
}

/// The same for a body that is taken no faster than somebody else takes it on.
pub(crate) async fn fetch_at_leisure(side: Side<'_>, target: &str) -> Result<Found, Failure> {
    let stream = dial(side, Some(KEPT_BYTES)).await?;
    let mut http = http1::Builder::new();
    http.read_buf_exact_size(Some(PIECE_BYTES));
    fetch_over(stream, side, target, http).await
}

async fn fetch_over(
    stream: Stream,
    side: Side<'_>,
    target: &str,
    http: http1::Builder,
) -> Result<Found, Failure> {
    let mut request = Request::get(target)
        .header(header::HOST, authority(side.url))
        .body(String::new())
        .map_err(|error| Failure::Refused(format!("this cannot be asked for: {error}")))?;
    if let Some(bearer) = side.bearer {
        request.headers_mut().insert(header::AUTHORIZATION, bearer.clone());
    }
    let asking = async {
        let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Ok((sender.send_request(request).await?, driver))
    };
    let (response, driver) = heard(asking).await?;
    let has_end = has_end(response.headers());
    let status = response.status().as_u16();
    let found = Found { body: response.into_body(), has_end, _connection: driver };
    if status == 200 { Ok(found) } else { Err(Answer::read_error(status, &found.whole().await?)) }
}

impl Found {
    /// The next piece of the body; none at its end. A body that breaks off is a failure.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = poll_fn(|context| Pin::new(&mut self.body).poll_frame(context));
            let Some(frame) = heard(async { frame.await.transpose() }).await? else { return Ok(None) };
            // Anything else is trailers, which say nothing to us.
            if let Ok(piece) = frame.into_data() {
                return Ok(Some(piece));
            }
        }
    }

    /// The whole body.
    pub(crate) async fn whole(mut self) -> Result<Vec<u8>, Failure> {
        let mut whole = Vec::new();
        while let Some(piece) = self.next().await? {
            if whole.len() + piece.len() > WHOLE_BYTES_MAX {
                return Err(Failure::Unavailable("an answer of more than 64 MiB".into()));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }
}

/// `text` for a path or a query, every byte encoded that could mean something there.
pub(crate) fn encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

async fn heard<T>(answer: impl Future<Output = hyper::Result<T>>) -> Result<T, Failure> {
    match timeout(SILENCE_MAX, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            Err(Failure::Unavailable(format!("the connection broke: {:#}", anyhow::Error::new(error))))
        }
        Err(_) => Err(Failure::Unavailable(format!("no answer within {} s", SILENCE_MAX.as_secs()))),
    }
}

fn has_end(headers: &HeaderMap) -> bool {
    // Without either a body ends with its connection, however that ended.
    headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING)
}
