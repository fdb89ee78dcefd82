//! How a socket ends: who says goodbye, and how long the other side is waited for.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::inbound::Fault;
use crate::protocol::Limits;

/// How long the echo of a Close is waited for.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a socket closes.
#[derive(Debug)]
pub(crate) enum Closing {
    /// We leave, and say why.
    Ours(CloseFrame),
    /// The client broke the protocol: it is told how, and what it still sends is thrown away.
    Broken(CloseFrame),
    /// The client said goodbye; nothing may be sent after it but the echo.
    Theirs,
}

impl Closing {
    pub(crate) fn ours(code: CloseCode, reason: &str) -> Self {
        Self::Ours(frame(code, reason))
    }

    /// What `error` is told to the client as; none if the connection is gone. `fault` is what was found about its bytes.
    pub(crate) fn of(error: &Error, fault: Option<Fault>, limits: Limits) -> Option<Self> {
        let (code, reason) = match (error, fault) {
            (Error::Protocol(error), _) => (CloseCode::Protocol, error.to_string()),
            (Error::Utf8(_), _) => (CloseCode::Invalid, "a text message that is not UTF-8".into()),
            (Error::Capacity(_), _) => {
                (CloseCode::Size, format!("a message has at most {} bytes", limits.message_bytes_max()))
            }
            (_, Some(Fault::TooFine)) => (CloseCode::Policy, "a message came in too many fragments".into()),
            (_, Some(Fault::Incomplete)) => (CloseCode::Policy, "a message was incomplete for 10 s".into()),
            (_, None) => return None,
        };
        Some(Self::broken(code, &reason))
    }

    /// Whether replies may still be sent before the Close.
    pub(crate) fn lets_send(&self) -> bool {
        match self {
            Self::Ours(_) | Self::Broken(_) => true,
            Self::Theirs => false,
        }
    }

    fn broken(code: CloseCode, reason: &str) -> Self {
        Self::Broken(frame(code, reason))
    }

    /// Sends the Close and waits a moment for the client's.
    pub(crate) async fn carry_out<S>(self, socket: &mut WebSocketStream<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let goodbye = async {
            match self {
                Self::Ours(frame) => {
                    let mut sent = socket.close(Some(frame)).await.is_ok();
                    while sent {
                        sent = matches!(socket.next().await, Some(Ok(_)));
                    }
                }
                Self::Broken(frame) => {
                    if socket.close(Some(frame)).await.is_ok() {
                        // A socket closed over unread bytes is reset, and the Close is lost with it.
                        let (io, mut rest) = (socket.get_mut(), [0; 1024]);
                        while io.read(&mut rest).await.is_ok_and(|read| read > 0) {}
                    }
                }
                // The library has the echo ready; reading on is what sends it.
                Self::Theirs => while let Some(Ok(_)) = socket.next().await {},
            }
        };
        if timeout(GOODBYE, goodbye).await.is_err() {
            tracing::debug!("a client did not return the Close");
        }
    }
}

fn frame(code: CloseCode, reason: &str) -> CloseFrame {
    CloseFrame { code, reason: reason.to_owned().into() }
}
