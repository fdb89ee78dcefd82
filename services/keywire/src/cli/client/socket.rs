//! A socket to write at, whose answers come in the order of its messages.

use std::time::Duration;

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use hyper::header;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::{Answer, Failure, Side, Stream, authority, dial};

/// How long the handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How long a goodbye may take to be on its way.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// An open socket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: WebSocketStream<Stream>,
    unflushed: bool,
}

/// Why no more answers come.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// The service said goodbye. Everything it had taken in was answered before.
    #[error("the socket was closed{}", reason(.0.as_ref()))]
    Closed(Option<CloseFrame>),
    /// The connection is gone.
    #[error("the socket broke: {0}")]
    Broken(#[source] Box<Error>),
}

impl Socket {
    /// Opens the socket of the pair at `side`.
    pub(crate) async fn connect(side: Side<'_>) -> Result<Self, Failure> {
        let stream = dial(side, None).await?;
        let address = format!("ws://{}/ws/storage/", authority(side.url));
        let no_socket = |why: String| Failure::Unavailable(format!("no socket at {address}: {why}"));
        let mut request =
            address.as_str().into_client_request().map_err(|error| no_socket(error.to_string()))?;
        if let Some(bearer) = side.bearer {
            request.headers_mut().insert(header::AUTHORIZATION, bearer.clone());
        }
        // One allocation per socket at once would be 128 KiB, which ten thousand of them feel.
        let config = WebSocketConfig::default().read_buffer_size(8 * 1024).write_buffer_size(32 * 1024);
        let handshake = client_async_with_config(request, stream, Some(config));
        match timeout(HANDSHAKE_MAX, handshake).await {
            Ok(Ok((stream, _))) => Ok(Self { stream, unflushed: false }),
            Ok(Err(Error::Http(response))) => match response.body() {
                Some(body) if !body.is_empty() => Err(Answer::read_error(response.status().as_u16(), body)),
                _ => Err(no_socket(format!("status {}", response.status().as_u16()))),
            },
            Ok(Err(error)) => Err(no_socket(error.to_string())),
            Err(_) => Err(no_socket(format!("no answer within {} s", HANDSHAKE_MAX.as_secs()))),
        }
    }

    /// Hands over one message, waiting while too much is unsent. It is on its way after the next flush.
    pub(crate) async fn feed(&mut self, text: impl Into<Utf8Bytes>) -> Result<(), Ended> {
        self.unflushed = true;
        self.stream.feed(Message::Text(text.into())).await.map_err(Ended::broken)
    }

    /// Sends what was handed over.
    pub(crate) async fn flush(&mut self) -> Result<(), Ended> {
        if std::mem::take(&mut self.unflushed) {
            self.stream.flush().await.map_err(Ended::broken)?;
        }
        Ok(())
    }

    /// Waits for the next answer. Dropping the future loses none.
    pub(crate) async fn answer(&mut self) -> Result<Utf8Bytes, Ended> {
        loop {
            let message = self.stream.next().await;
            if let Some(answer) = understood(message)? {
                return Ok(answer);
            }
        }
    }

    /// The next answer, if it is there already.
    pub(crate) fn try_answer(&mut self) -> Result<Option<Utf8Bytes>, Ended> {
        while let Some(message) = self.stream.next().now_or_never() {
            if let Some(answer) = understood(message)? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// Says goodbye. Nothing is owed any more, so it does not matter whether that is heard.
    pub(crate) async fn close(mut self) {
        drop(timeout(GOODBYE_MAX, self.stream.close(None)).await);
    }
}

impl Ended {
    fn broken(error: Error) -> Self {
        Self::Broken(Box::new(error))
    }
}

impl From<Ended> for Failure {
    fn from(ended: Ended) -> Self {
        Self::Unavailable(ended.to_string())
    }
}

/// The text of an answer; none for what keeps the connection alive.
fn understood(message: Option<Result<Message, Error>>) -> Result<Option<Utf8Bytes>, Ended> {
    match message {
        Some(Ok(Message::Text(text))) => Ok(Some(text)),
        Some(Ok(Message::Close(frame))) => Err(Ended::Closed(frame)),
        Some(Ok(_)) => Ok(None),
        Some(Err(error)) => Err(Ended::broken(error)),
        None => Err(Ended::Closed(None)),
    }
}

fn reason(frame: Option<&CloseFrame>) -> String {
    frame.map_or(String::new(), |frame| format!(": {} {}", frame.code, frame.reason))
}
