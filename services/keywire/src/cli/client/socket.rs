//! A WebSocket for writes. Its replies come in the order of its messages.

use std::time::Duration;

use chassis::access::SUBPROTOCOL;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use hyper::header::{self, HeaderValue};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::dial::{Connection, authority, dial};
use super::failure::Failure;
use super::fetch::NOT_HTTP;
use super::reply::Reply;
use super::target::Target;

/// Time limit of the handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Time limit for sending the close frame.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// An open socket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: WebSocketStream<Connection>,
    /// Whether a message was fed and not flushed.
    unflushed: bool,
}

/// Why no more replies come.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// The server closed the socket. It had replied to every message that it took in.
    #[error("the socket was closed{}", reason(.0.as_ref()))]
    Closed(Option<CloseFrame>),
    /// The connection broke.
    #[error("the socket broke: {0}")]
    Broken(#[source] Box<Error>),
}

impl Socket {
    /// Opens a socket to `target`.
    pub(crate) async fn connect(target: Target<'_>) -> Result<Self, Failure> {
        let stream = dial(target, None).await?;
        let address = format!("ws://{}{}", authority(target.url), target.path("/ws/storage/"));
        let no_socket = |why: String| Failure::Unavailable(format!("no socket at {address}: {why}"));
        let mut request =
            address.as_str().into_client_request().map_err(|error| no_socket(error.to_string()))?;
        // With the subprotocol, the server refuses unknown members. Otherwise a misspelt `ttl` in a file would have no effect.
        let subprotocol = HeaderValue::from_static(SUBPROTOCOL);
        request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
        if let Some(bearer) = target.bearer {
            request.headers_mut().insert(header::AUTHORIZATION, bearer.clone());
        }
        // The default buffer of 128 KiB per socket is too large for ten thousand sockets.
        let config = WebSocketConfig::default().read_buffer_size(8 * 1024).write_buffer_size(32 * 1024);
        let handshake = client_async_with_config(request, stream, Some(config));
        match timeout(HANDSHAKE_MAX, handshake).await {
            Ok(Ok((stream, _))) => Ok(Self { stream, unflushed: false }),
            Ok(Err(Error::Http(response))) => match response.body() {
                Some(body) if !body.is_empty() => Err(Reply::parse_error(response.status().as_u16(), body)),
                _ => Err(no_socket(format!("status {}", response.status().as_u16()))),
            },
            Ok(Err(Error::Protocol(ProtocolError::HttparseError(_)))) => Err(no_socket(NOT_HTTP.into())),
            Ok(Err(error)) => Err(no_socket(error.to_string())),
            Err(_) => Err(no_socket(format!("no reply within {} s", HANDSHAKE_MAX.as_secs()))),
        }
    }

    /// Buffers one message, and waits while the buffer is full. The next flush sends it.
    pub(crate) async fn feed(&mut self, text: impl Into<Utf8Bytes>) -> Result<(), SocketError> {
        self.unflushed = true;
        self.stream.feed(Message::Text(text.into())).await.map_err(SocketError::broken)
    }

    /// Sends the buffered messages.
    pub(crate) async fn flush(&mut self) -> Result<(), SocketError> {
        if std::mem::take(&mut self.unflushed) {
            self.stream.flush().await.map_err(SocketError::broken)?;
        }
        Ok(())
    }

    /// Waits for the next reply. Cancel-safe.
    pub(crate) async fn reply(&mut self) -> Result<Utf8Bytes, SocketError> {
        loop {
            let message = self.stream.next().await;
            if let Some(reply) = reply_text(message)? {
                return Ok(reply);
            }
        }
    }

    /// The next reply, if it has arrived.
    pub(crate) fn try_reply(&mut self) -> Result<Option<Utf8Bytes>, SocketError> {
        while let Some(message) = self.stream.next().now_or_never() {
            if let Some(reply) = reply_text(message)? {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// Sends a close frame. Its success does not matter: every reply has come.
    pub(crate) async fn close(mut self) {
        drop(timeout(CLOSE_MAX, self.stream.close(None)).await);
    }
}

impl SocketError {
    fn broken(error: Error) -> Self {
        Self::Broken(Box::new(error))
    }
}

impl From<SocketError> for Failure {
    fn from(error: SocketError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// The text of a reply. `None` for a ping or a pong.
fn reply_text(message: Option<Result<Message, Error>>) -> Result<Option<Utf8Bytes>, SocketError> {
    match message {
        Some(Ok(Message::Text(text))) => Ok(Some(text)),
        Some(Ok(Message::Close(frame))) => Err(SocketError::Closed(frame)),
        Some(Ok(_)) => Ok(None),
        Some(Err(error)) => Err(SocketError::broken(error)),
        None => Err(SocketError::Closed(None)),
    }
}

fn reason(frame: Option<&CloseFrame>) -> String {
    frame.map_or(String::new(), |frame| format!(": {} {}", frame.code, frame.reason))
}
