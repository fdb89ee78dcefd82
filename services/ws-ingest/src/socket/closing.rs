//! How a socket is closed: the code and the reason that the client gets, and how long we wait for its Close.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::frames::Fault;
use super::inbound::WatchedStream;
use crate::protocol::MessageLimits;

/// How long we wait for the client to answer a Close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a socket is closed.
#[derive(Debug)]
pub(crate) enum Closing {
    /// We close it: the frame says why.
    Ours(CloseFrame),
    /// The client broke the protocol: the frame says how, and the rest of what the client sends is discarded.
    Broken(CloseFrame),
    /// The client sent a Close. Only the answering Close may be sent after it.
    Theirs,
}

impl Closing {
    pub(crate) fn ours(code: CloseCode, reason: &str) -> Self {
        Self::Ours(frame(code, reason))
    }

    /// The Close for `error`; `None` if the connection is gone. `fault` is the fault that the stream under the library found.
    pub(crate) fn of(error: &Error, fault: Option<Fault>, limits: MessageLimits) -> Option<Self> {
        let (code, reason) = match (error, fault) {
            (Error::Protocol(error), _) => (CloseCode::Protocol, error.to_string()),
            (Error::Utf8(_), _) => (CloseCode::Invalid, "a text message that is not UTF-8".into()),
            (Error::Capacity(_), _) | (_, Some(Fault::MessageTooLong)) => {
                (CloseCode::Size, format!("a message has at most {} bytes", limits.message_bytes_max()))
            }
            (_, Some(Fault::TooManyFragments)) => {
                (CloseCode::Policy, "a message came in too many fragments".into())
            }
            (_, Some(Fault::ControlFrameTooLong)) => {
                (CloseCode::Protocol, "a control frame has at most 125 bytes".into())
            }
            (_, Some(Fault::GaveWay)) => {
                (CloseCode::Policy, "a large message came too slowly while others waited for memory".into())
            }
            (_, Some(Fault::Incomplete)) => (CloseCode::Policy, "a message was incomplete for 10 s".into()),
            (_, None) => return None,
        };
        Some(Self::broken(code, &reason))
    }

    /// Whether replies may be sent before the Close.
    pub(crate) fn allows_replies(&self) -> bool {
        match self {
            Self::Ours(_) | Self::Broken(_) => true,
            Self::Theirs => false,
        }
    }

    fn broken(code: CloseCode, reason: &str) -> Self {
        Self::Broken(frame(code, reason))
    }

    /// Sends the Close and waits for the client's, for [`CLOSE_TIMEOUT`] at most.
    pub(crate) async fn close<S>(self, socket: &mut WebSocketStream<WatchedStream<S>>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = async {
            match self {
                Self::Ours(frame) => {
                    let mut sent = socket.close(Some(frame)).await.is_ok();
                    while sent {
                        sent = matches!(socket.next().await, Some(Ok(_)));
                    }
                }
                Self::Broken(frame) => {
                    let sent = socket.close(Some(frame)).await.is_ok();
                    if let Some(io) = socket.get_mut().client().filter(|_| sent) {
                        // Closing a socket with unread bytes resets it, and the client would lose the Close: read them first.
                        let mut rest = [0; 1024];
                        while io.read(&mut rest).await.is_ok_and(|read| read > 0) {}
                    }
                }
                // The library has prepared the answering Close; reading on sends it.
                Self::Theirs => while let Some(Ok(_)) = socket.next().await {},
            }
        };
        if timeout(CLOSE_TIMEOUT, handshake).await.is_err() {
            tracing::debug!("the client did not answer the Close");
        }
    }
}

fn frame(code: CloseCode, reason: &str) -> CloseFrame {
    CloseFrame { code, reason: reason.to_owned().into() }
}
